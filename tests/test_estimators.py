"""MLPClassifier and MLPRegressor beside scikit-learn's: the same numbers from the same random_state, and the shape."""

import copy
import inspect
import pickle
import re
import warnings

import numpy as np
import pytest

import fastnn

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn import neural_network
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

PAIRS = [
    (fastnn.MLPClassifier, neural_network.MLPClassifier),
    (fastnn.MLPRegressor, neural_network.MLPRegressor),
]
OWN = ["class_weight", "dropout", "n_threads", "max_time", "callbacks"]
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:scipy.optimize. The `disp` and `iprint` options"),  # of an older scikit-learn
]


def rows(n=83, d=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def targets(kind, n=83, seed=1):
    """Targets of each kind that the estimators know; the test data must not be constant."""
    rng = np.random.default_rng(seed)
    return {
        "binary": lambda: rng.integers(0, 2, n),
        "multiclass": lambda: rng.integers(0, 3, n),
        "strings": lambda: np.array(["b", "c", "a"], object)[rng.integers(0, 3, n)],
        "multilabel": lambda: rng.integers(0, 2, (n, 4)),
        "number": lambda: rng.normal(size=n),
        "numbers": lambda: rng.normal(size=(n, 3)),
        "counts": lambda: rng.poisson(2, n),
        "several counts": lambda: rng.poisson(2, (n, 2)),
    }[kind]()


CLASSES = ["binary", "multiclass", "strings", "multilabel"]
NUMBERS = [("number", {}), ("numbers", {}), ("counts", {"loss": "poisson"}), ("several counts", {"loss": "poisson"})]
CASES = [(*PAIRS[0], kind, {}) for kind in CLASSES] + [(*PAIRS[1], kind, more) for kind, more in NUMBERS]


def both(ours, theirs, x, y, sample_weight=None, **arguments):
    """Our estimator and scikit-learn's, fitted."""
    skip_what_is_new(theirs, arguments, sample_weight)
    arguments = {"random_state": 0, "hidden_layer_sizes": (7, 4), "max_iter": 4} | arguments
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    return [cls(**arguments).fit(x, y, **weights) for cls in (ours, theirs)]


def skip_what_is_new(theirs, arguments, sample_weight=None):
    if "loss" in arguments and "loss" not in inspect.signature(theirs).parameters:
        pytest.skip("MLPRegressor has losses since scikit-learn 1.7")
    if sample_weight is not None and "sample_weight" not in inspect.signature(theirs.fit).parameters:
        pytest.skip("its networks take weights since scikit-learn 1.7")


def assert_same(ours, theirs, rtol=1e-9):
    """Equal but for rounding, which some dozens of steps leave small."""
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=rtol)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        if getattr(theirs, name, None) is None:
            assert getattr(ours, name, None) is None, name
        else:
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=rtol, atol=rtol)


class TestSameNumbers:
    """The same random_state gives scikit-learn's steps up to rounding: weights, order of the rows, arithmetic."""

    @pytest.mark.parametrize(("ours", "theirs", "kind", "more"), CASES, ids=[case[2] for case in CASES])
    @pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
    @pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
    def test_full_batch(self, ours, theirs, kind, more, activation, solver):
        a, b = both(
            ours, theirs, rows(), targets(kind), activation=activation, solver=solver, shuffle=False, alpha=0.1, **more
        )
        assert_same(a, b)

    @pytest.mark.parametrize(("ours", "theirs", "kind", "more"), CASES, ids=[case[2] for case in CASES])
    @pytest.mark.parametrize("solver", ["sgd", "adam"])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_shuffled_batches(self, ours, theirs, kind, more, solver, weighted):
        weights = np.random.default_rng(2).uniform(0.1, 3, 83) if weighted else None
        a, b = both(ours, theirs, rows(), targets(kind), weights, solver=solver, batch_size=20, alpha=0.1, **more)
        assert_same(a, b)

    @pytest.mark.parametrize(
        "more",
        [
            {"momentum": 0},
            {"nesterovs_momentum": False},
            {"momentum": 1.0, "learning_rate_init": 1e-4},
            {"learning_rate": "invscaling", "power_t": 0.3},
            {"learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1, "max_iter": 11},
            {"tol": 10.0, "n_iter_no_change": 2, "max_iter": 11},
            {"early_stopping": True, "batch_size": 10},
            {"early_stopping": True, "validation_fraction": 0.3, "tol": 0.5, "n_iter_no_change": 1, "max_iter": 9},
            {"early_stopping": True, "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1, "max_iter": 9},
            {"solver": "adam", "beta_1": 0.5, "beta_2": 0.6, "epsilon": 0.01},
        ],
        ids=str,
    )
    @pytest.mark.parametrize(("ours", "theirs", "kind"), [(*PAIRS[0], "binary"), (*PAIRS[1], "numbers")])
    def test_rules(self, ours, theirs, kind, more):
        assert_same(*both(ours, theirs, rows(), targets(kind), **{"solver": "sgd", "learning_rate_init": 0.05} | more))

    @pytest.mark.parametrize(("ours", "theirs", "kind", "more"), CASES, ids=[case[2] for case in CASES])
    def test_predictions(self, ours, theirs, kind, more):
        a, b = both(ours, theirs, rows(), targets(kind), max_iter=20, **more)
        x = rows(31, seed=3)
        if ours is fastnn.MLPClassifier:
            np.testing.assert_array_equal(a.predict(x), b.predict(x))
            np.testing.assert_allclose(a.predict_proba(x), b.predict_proba(x), rtol=1e-8)
            np.testing.assert_allclose(a.predict_log_proba(x), b.predict_log_proba(x), rtol=1e-8)
            np.testing.assert_array_equal(a.classes_, b.classes_)
        else:
            np.testing.assert_allclose(a.predict(x), b.predict(x), rtol=1e-8)
        assert a.predict(x).shape == b.predict(x).shape
        assert a.predict(x).dtype == b.predict(x).dtype
        np.testing.assert_allclose(a.score(rows(), targets(kind)), b.score(rows(), targets(kind)), rtol=1e-8)

    @pytest.mark.parametrize(("ours", "theirs", "kind", "more"), CASES, ids=[case[2] for case in CASES])
    def test_partial_fit_and_warm_start(self, ours, theirs, kind, more):
        skip_what_is_new(theirs, more)
        x, y = rows(), targets(kind)
        a, b = (cls(hidden_layer_sizes=6, random_state=3, batch_size=30, **more) for cls in (ours, theirs))
        classes = {}
        if ours is fastnn.MLPClassifier:
            classes["classes"] = np.arange(4) if kind == "multilabel" else np.unique(y)
        for part in (slice(50), slice(50, 83), slice(83)):
            for each in (a, b):
                each.partial_fit(x[part], y[part], **classes)
        assert_same(a, b)
        for each in (a, b):
            each.set_params(warm_start=True, max_iter=3, alpha=0.5).fit(x, y)
        assert_same(a, b)

    def test_float32(self):
        x = rows().astype(np.float32)
        a, b = both(*PAIRS[0], x, targets("multiclass"))
        assert a.network_.dtype == a.coefs_[0].dtype == a.predict_proba(x).dtype == np.float32
        assert_same(a, b, rtol=1e-4)

    def test_a_generator_goes_on(self):
        """A RandomState that is passed in is left where scikit-learn leaves it."""
        states = [np.random.RandomState(5), np.random.RandomState(5)]
        for cls, state in zip(PAIRS[0], states, strict=True):
            cls(random_state=state, max_iter=2, early_stopping=True).fit(rows(), targets("binary"))
        assert states[0].random_sample() == states[1].random_sample()


class TestShape:
    """The constructor, the attributes and the errors."""

    @pytest.mark.parametrize(("ours", "theirs"), PAIRS)
    def test_the_constructor_is_scikit_learns_and_ours_after_it(self, ours, theirs):
        mine, yours = (inspect.signature(cls).parameters for cls in (ours, theirs))
        if "loss" in set(mine) - set(yours):
            pytest.skip("MLPRegressor's first parameter is the loss since scikit-learn 1.7")
        assert [(p.name, p.kind, p.default) for p in yours.values()] == [
            (p.name, p.kind, p.default) for p in list(mine.values())[: len(yours)]
        ]
        assert set(mine) - set(yours) <= set(OWN)
        assert repr(ours(alpha=0.5)) == repr(theirs(alpha=0.5))

    @pytest.mark.parametrize(("ours", "theirs", "kind", "more"), CASES[:5], ids=[case[2] for case in CASES[:5]])
    @pytest.mark.parametrize("solver", ["adam", "lbfgs"])
    def test_attributes(self, ours, theirs, kind, more, solver):
        a, b = both(ours, theirs, rows(), targets(kind), solver=solver, **more)
        public = [{n for n in vars(each) if n.endswith("_") and not n.startswith("_")} for each in (a, b)]
        assert public[0] == public[1] | {"network_"}

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"alpha": -1}, "alpha"),
            ({"activation": "softsign"}, "activation"),
            ({"activation": ["relu", "nonsense"]}, "activation must be one of"),
            ({"activation": ["relu"]}, "one for each of the 2 hidden layers"),
            ({"solver": "newton"}, "solver"),
            ({"dropout": 1.0}, "dropout"),
            ({"max_time": -1}, "max_time"),
            ({"n_threads": 0}, "n_threads"),
            ({"hidden_layer_sizes": (3, 0)}, re.escape("hidden_layer_sizes must be > 0, got [3, 0].")),
            ({"warm_start": "cold"}, "warm_start"),
            ({"loss": "hinge"}, "loss"),
        ],
        ids=str,
    )
    def test_wrong_arguments(self, arguments, error):
        with pytest.raises(ValueError, match=error):
            fastnn.MLPRegressor(**{"hidden_layer_sizes": (4, 3)} | arguments).fit(rows(), targets("number"))

    def test_a_size_that_is_no_integer(self):
        with pytest.raises(TypeError, match=r"hidden_layer_sizes\[1\] must be an integer; got 3.5"):
            fastnn.MLPRegressor(hidden_layer_sizes=(4, 3.5)).fit(rows(), targets("number"))

    def test_negative_counts(self):
        with pytest.raises(ValueError, match="y must not be negative with loss 'poisson'"):
            fastnn.MLPRegressor(loss="poisson").fit(rows(), targets("number"))

    def test_many_labels_after_classes(self):
        y = targets("multiclass")
        one_hot, message = np.eye(3, dtype=int)[y], "The object was not fitted with multilabel input."
        net = fastnn.MLPClassifier(4, max_iter=1, warm_start=True).fit(rows(), y)
        prediction = net.predict_proba(rows())
        with pytest.raises(ValueError, match=message):
            net.partial_fit(rows(), one_hot)
        with pytest.raises(ValueError, match=message):
            net.fit(rows(), one_hot)
        with pytest.raises(ValueError, match=message):
            net.fit(rows(), y, X_val=rows(), y_val=one_hot)
        np.testing.assert_array_equal(net.predict_proba(rows()), prediction)

    def test_the_loss_of_a_classifier(self):
        net = fastnn.MLPClassifier()
        assert net.loss == "log_loss"
        assert "loss" not in net.get_params()
        assert clone(net).fit(rows(), targets("binary")).loss == "log_loss"

    def test_not_fitted(self):
        with pytest.raises(NotFittedError):
            fastnn.MLPRegressor().predict(rows())

    def test_a_layer_of_another_size_after_warm_start(self):
        net = fastnn.MLPRegressor(hidden_layer_sizes=4, warm_start=True, max_iter=1).fit(rows(), targets("number"))
        with pytest.raises(ValueError, match="a further fit needs layers of the sizes of coefs_"):
            net.set_params(hidden_layer_sizes=5).fit(rows(), targets("number"))

    def test_a_diverged_fit_says_when_and_keeps_the_weights(self):
        net = fastnn.MLPRegressor(solver="sgd", learning_rate_init=1e6, activation="identity", random_state=0)
        with pytest.raises(ValueError, match=r"Solver produced non-finite parameter weights.* in epoch \d+;"):
            net.fit(rows(), 1e6 * targets("number"))
        assert np.isfinite(net.network_.parameters).all()

    @pytest.mark.parametrize("solver", ["sgd", "adam"])
    def test_one_class_and_early_stopping(self, solver):
        """All rows are right, for only that class can be predicted, whatever the output."""
        y = np.full(83, 7)  # letters make scikit-learn 1.6 look for a NaN among them
        for state in range(3):  # outputs on either side of a half
            a, b = both(*PAIRS[0], rows(), y, solver=solver, early_stopping=True, max_iter=2, random_state=state)
            assert_same(a, b)
            assert a.validation_scores_ == [1.0, 1.0]
            assert a.score(rows(), y) == 1

    def test_a_diverged_fit_with_early_stopping_keeps_the_best(self):
        net = fastnn.MLPRegressor(solver="sgd", learning_rate_init=1e3, activation="identity", early_stopping=True)
        with pytest.warns(ConvergenceWarning, match="no longer finite in epoch"):
            net.fit(rows(), targets("number"))
        assert np.isnan(net.validation_scores_[-1])
        assert np.isfinite(net.predict(rows())).all()


class TestNetwork:
    """`network_` holds all; `coefs_` and `intercepts_` are views that may be edited or replaced."""

    def fitted(self, **arguments):
        return fastnn.MLPRegressor(hidden_layer_sizes=(6, 3), max_iter=3, random_state=0, **arguments).fit(
            rows(), targets("numbers")
        )

    def test_views(self):
        net = self.fitted()
        assert isinstance(net.network_, fastnn.MLP)
        for mine, views in ((net.coefs_, net.network_.weights), (net.intercepts_, net.network_.biases)):
            assert isinstance(mine, list)
            assert all(np.shares_memory(a, b) and a.shape == b.shape for a, b in zip(mine, views, strict=True))

    def test_an_edit_and_a_replacement_count(self):
        net = self.fitted()
        before = net.predict(rows())
        net.intercepts_[-1] += 1
        np.testing.assert_allclose(net.predict(rows()), before + 1)
        net.intercepts_[-1] = net.intercepts_[-1] + 1
        np.testing.assert_allclose(net.predict(rows()), before + 2)
        assert np.shares_memory(net.intercepts_[-1], net.network_.parameters)
        net.coefs_ = [2 * coef for coef in net.coefs_]
        assert not np.allclose(net.predict(rows()), before + 2)

    @pytest.mark.parametrize("again", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
    @pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs", "rmsprop"])
    def test_copies_go_on_alike_and_apart(self, again, solver):
        net = self.fitted(solver=solver, batch_size=20)
        twin = again(net)
        np.testing.assert_array_equal(twin.predict(rows()), net.predict(rows()))
        assert np.shares_memory(twin.coefs_[0], twin.network_.parameters)
        assert not np.shares_memory(twin.coefs_[0], net.coefs_[0])
        if solver != "lbfgs":
            for each in (net, twin):
                each.partial_fit(rows(), targets("numbers"))
            np.testing.assert_array_equal(twin.predict(rows()), net.predict(rows()))

    def test_clone_is_unfitted(self):
        twin = clone(self.fitted(callbacks=[print], solver=fastnn.SGD(0.1)))
        assert not hasattr(twin, "network_")
        assert twin.solver == fastnn.SGD(0.1)


class TestPredict:
    """The short way of plain arrays, and the long one through scikit-learn's validation."""

    @pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
    @pytest.mark.parametrize("n", [1, 2, 33])
    def test_both_ways_have_the_same_bits(self, kind, n):
        net = fastnn.MLPClassifier(6, max_iter=3, random_state=0).fit(rows(), targets(kind))
        x = rows(n, seed=4)
        wide = np.zeros((n, 2 * x.shape[1]))
        wide[:, ::2] = x
        for other in (x.tolist(), wide[:, ::2], np.asfortranarray(x), x.astype(">f8"), x[::-1].copy()[::-1]):
            np.testing.assert_array_equal(net.predict_proba(other), net.predict_proba(x))
            np.testing.assert_array_equal(net.predict(other), net.predict(x))

    @pytest.mark.parametrize("dtype", ["f4", "f8"])
    @pytest.mark.parametrize("n", [1, 33])
    def test_any_floats_take_the_short_way(self, monkeypatch, dtype, n):
        net = fastnn.MLPRegressor(hidden_layer_sizes=6, max_iter=3, random_state=0).fit(
            rows().astype(dtype), targets("number")
        )
        x = rows(n, seed=4).astype("f4")
        wide = np.zeros((n, 10))
        wide[:, ::2] = x
        expected = net.predict(x.tolist())
        monkeypatch.delattr("fastnn.estimators.fitted.validate_data")
        for other in (x, x.astype("f8"), wide[:, ::2], np.asfortranarray(x), x.astype(">f8"), x[::-1].copy()[::-1]):
            np.testing.assert_array_equal(net.predict(other), expected)

    def test_too_large_for_float32(self):
        net = fastnn.MLPRegressor(hidden_layer_sizes=6, max_iter=3).fit(rows().astype("f4"), targets("number"))
        for x in (np.full((1, 5), 1e300), np.full((1, 5), 1e300).tolist()):
            with pytest.raises(ValueError, match=r"X must be finite in float32; got 1e\+300 in row 0, column 0"):
                net.predict(x)

    @pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
    @pytest.mark.parametrize("n", [1, 33])
    def test_probabilities_that_are_no_numbers_have_no_class(self, kind, n):
        """The products overflow to infinities of both signs, and what they add up to is not a number."""
        net = fastnn.MLPClassifier(6, max_iter=3, activation="identity", random_state=0)
        net.fit(rows().astype("f4"), targets(kind))
        x = rows(n).astype("f4")
        x[-1] = 3e38
        assert np.isnan(net.predict_proba(x)[-1]).any()
        for other in (x, x.tolist()):
            with pytest.raises(
                ValueError, match=rf"rows whose probabilities are finite in float32; those of row {n - 1} are \["
            ):
                net.predict(other)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("n", [1, 40])
    def test_not_finite(self, value, n):
        net = fastnn.MLPRegressor(hidden_layer_sizes=6, max_iter=3).fit(rows(), targets("number"))
        x = rows(n)
        x[-1, -1] = value
        with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
            net.predict(x)

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (rows(3, 4), "X has 4 features, but MLPRegressor is expecting 5 features as input"),
            (rows(3)[:0], "Found array with 0 sample"),
            (rows(1)[0], "Expected 2D array, got 1D array instead"),
            (rows(1)[np.newaxis], "Found array with dim 3"),
            (rows(1).astype(complex), "Complex data not supported"),
        ],
    )
    def test_wrong_shapes(self, x, message):
        net = fastnn.MLPRegressor(hidden_layer_sizes=6, max_iter=3).fit(rows(), targets("number"))
        with pytest.raises(ValueError, match=message):
            net.predict(x)

    def test_missing_feature_names(self):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(rows(), columns=list("abcde"))
        net = fastnn.MLPRegressor(hidden_layer_sizes=6, max_iter=3).fit(frame, targets("number"))
        assert net.feature_names_in_.tolist() == list("abcde")
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            net.predict(rows())

    def test_one_class(self):
        net = fastnn.MLPClassifier(6, max_iter=3).fit(rows(), np.full(83, "a"))
        assert net.predict(rows(2)).tolist() == ["a", "a"]


class TestVerbose:
    """True prints scikit-learn's lines, 1 a bar."""

    def test_lines_are_scikit_learns(self, capsys):
        printed = []
        for cls in PAIRS[0]:
            cls(max_iter=9, random_state=0, verbose=True, tol=1e9, n_iter_no_change=3).fit(rows(), targets("binary"))
            printed.append(capsys.readouterr().out)
        assert printed[0] == printed[1]
        assert printed[0].count("Iteration") == 5

    def test_bar(self, capsys):
        fastnn.MLPClassifier(max_iter=3, verbose=1).fit(rows(), targets("binary"))
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "3/3" in captured.err

    def test_silence(self, capsys):
        with warnings.catch_warnings():
            fastnn.MLPClassifier(max_iter=3).fit(rows(), targets("binary"))
        assert capsys.readouterr() == ("", "")
