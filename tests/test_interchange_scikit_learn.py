"""fastnn.from_sklearn and to_sklearn: what was learned, and training that goes on from where it was."""

import copy
import inspect
import sys
import threading
import warnings

import numpy as np
import pytest

import fastnn

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline

BEFORE_1_7 = "loss" not in inspect.signature(MLPRegressor).parameters
SOLVERS = {
    "adam": {},
    "adam, betas": {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3},
    "sgd": {"solver": "sgd"},
    "sgd, momentum": {"solver": "sgd", "nesterovs_momentum": False, "momentum": 0.5},
    "sgd, no momentum": {"solver": "sgd", "momentum": 0.0},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 2, "max_iter": 12},
    "early stopping": {"early_stopping": True, "max_iter": 12},
    "lbfgs": {"solver": "lbfgs"},
}
RNG = np.random.default_rng(5)
X = RNG.normal(size=(90, 4))
Z = X @ RNG.normal(size=(4, 3))
TARGETS = {
    "binary": (MLPClassifier, (Z[:, 0] > 0).astype(int)),
    "multiclass": (MLPClassifier, Z.argmax(axis=1)),
    "strings": (MLPClassifier, np.array(["red", "green", "blue"])[Z.argmax(axis=1)]),
    "multilabel": (MLPClassifier, (Z > 0).astype(int)),
    "one output": (MLPRegressor, Z[:, 0]),
    "many outputs": (MLPRegressor, Z),
    "poisson": (MLPRegressor, np.floor(np.exp(Z[:, 0] / 4))),
}
LEARNED = ("coefs_", "intercepts_", "loss_curve_", "loss_", "best_loss_", "n_iter_", "t_", "validation_scores_")


def fitted(target, dtype="float64", **options):
    """One of scikit-learn's, fitted in few epochs, and its data."""
    cls, y = TARGETS[target]
    if BEFORE_1_7 and target == "poisson":
        pytest.skip("this scikit-learn has no Poisson loss")
    if target == "strings" and options.get("early_stopping"):
        pytest.importorskip("sklearn", "1.9")  # earlier ones look for NaNs among the labels and raise TypeError
    if target == "poisson":
        options["loss"] = "poisson"
    estimator = cls(**{"hidden_layer_sizes": (7, 5), "max_iter": 8, "random_state": 3, "activation": "tanh", **options})
    x = X.astype(dtype)
    return settle(estimator, x, y), x, y


def settle(estimator, x, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # SciPy's, where scikit-learn is older
        return estimator.fit(x, y)


def outputs(estimator, x):
    return estimator.predict_proba(x) if hasattr(estimator, "predict_proba") else estimator.predict(x)


def assert_same(one, other, x, rtol):
    """The same attributes and predictions, within rounding; labels are the same where they are not at the border."""
    for name in ("n_features_in_", "n_layers_", "n_outputs_", "out_activation_", "n_iter_", "t_"):
        assert getattr(one, name) == getattr(other, name), name
    for name in LEARNED:
        assert hasattr(one, name) == hasattr(other, name), name
        values, others = getattr(one, name, None), getattr(other, name, None)
        if name.endswith("s_") and name != "loss_" and isinstance(values, list) and len(np.shape(values[0])):
            assert len(values) == len(others)
            for value, another in zip(values, others, strict=True):
                np.testing.assert_allclose(value, another, rtol=0, atol=rtol * np.abs(another).max(), err_msg=name)
        elif values is None or others is None:
            assert values is others, name
        else:
            np.testing.assert_allclose(values, others, rtol=rtol, err_msg=name)
    expected = outputs(other, x)
    np.testing.assert_allclose(outputs(one, x), expected, rtol=0, atol=rtol * np.abs(expected).max())
    if hasattr(other, "classes_"):
        assert np.array_equal(one.classes_, other.classes_)
        assert np.array_equal(one.predict(x), other.predict(x))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", TARGETS)
def test_there_and_back(target, solver):
    theirs, x, _ = fitted(target, **SOLVERS[solver])
    ours = fastnn.from_sklearn(theirs)
    assert type(ours).__name__ == type(theirs).__name__
    assert type(ours).__module__.startswith("fastnn")
    assert ours.get_params().items() >= theirs.get_params().items()
    assert_same(ours, theirs, x, 1e-13)
    assert np.array_equal(ours._random_state.get_state()[1], theirs._random_state.get_state()[1])
    back = ours.to_sklearn()
    assert type(back) is type(theirs)
    assert back.get_params() == theirs.get_params()
    assert_same(back, theirs, x, 1e-13)
    for one, other in zip([*back.coefs_, *back.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name not in ("lbfgs", "early stopping")])
@pytest.mark.parametrize("target", TARGETS)
def test_partial_fit_goes_on(target, solver):
    """Epochs of ours after theirs, and theirs after ours, are those that scikit-learn alone would have done."""
    theirs, x, y = fitted(target, **SOLVERS[solver])
    ours = fastnn.from_sklearn(theirs)
    for _ in range(3):
        theirs.partial_fit(x, y)
        ours.partial_fit(x, y)
    assert_same(ours, theirs, x, 1e-9)
    back = ours.to_sklearn()
    for _ in range(3):
        theirs.partial_fit(x, y)
        back.partial_fit(x, y)
    assert_same(back, theirs, x, 1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", ["binary", "multiclass", "many outputs"])
def test_warm_start_goes_on(target, solver):
    theirs, x, y = fitted(target, warm_start=True, **SOLVERS[solver])
    # after early stopping scikit-learn's best weights are coefs_ itself, and change with the next fit
    theirs._best_coefs, theirs._best_intercepts = copy.deepcopy((theirs.coefs_, theirs.intercepts_))
    ours = fastnn.from_sklearn(theirs)
    back = ours.to_sklearn()
    for estimator in (theirs, ours, back):
        settle(estimator, x, y)
    tolerance = 1e-4 if solver == "lbfgs" else 1e-9  # whose line searches amplify rounding
    np.testing.assert_allclose(outputs(ours, x), outputs(theirs, x), rtol=0, atol=tolerance)
    np.testing.assert_allclose(outputs(back, x), outputs(theirs, x), rtol=0, atol=tolerance)


def test_the_optimizers_state_matters():
    """Were it lost, the next epochs would be others: what the tests above would then say."""
    for solver in ("adam", "sgd"):
        theirs, x, y = fitted("multiclass", solver=solver)
        ours = fastnn.from_sklearn(theirs)
        forgetful = fastnn.from_sklearn(theirs)
        del forgetful._optimizer
        for estimator in (theirs, ours, forgetful):
            estimator.partial_fit(x, y)
        assert np.abs(ours.coefs_[0] - theirs.coefs_[0]).max() < 1e-12
        assert np.abs(forgetful.coefs_[0] - theirs.coefs_[0]).max() > 1e-6


@pytest.mark.parametrize("target", ["binary", "multilabel", "one output"])
def test_float32(target):
    theirs, x, y = fitted(target, "float32")
    ours = fastnn.from_sklearn(theirs)
    assert ours.network_.dtype == np.float32
    assert outputs(ours, x).dtype == np.float32
    assert_same(ours, theirs, x, 1e-5)
    back = ours.to_sklearn()
    assert back.coefs_[0].dtype == np.float32
    theirs.partial_fit(x, y)
    back.partial_fit(x, y)
    assert_same(back, theirs, x, 1e-5)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_activations(activation):
    theirs, x, _ = fitted("one output", activation=activation)
    assert_same(fastnn.from_sklearn(theirs), theirs, x, 1e-13)
    own = "sigmoid" if activation == "logistic" else activation
    ours = settle(fastnn.MLPRegressor(hidden_layer_sizes=(4,), activation=own, max_iter=3, random_state=0), x, X[:, 0])
    back = ours.to_sklearn()
    assert back.activation == activation
    assert_same(back, ours, x, 1e-13)


def test_copies_share_nothing():
    theirs, x, y = fitted("multiclass", random_state=np.random.RandomState(0))
    ours = fastnn.from_sklearn(theirs)
    back = ours.to_sklearn()
    kept = outputs(theirs, x).copy()
    ours.partial_fit(x, y)
    ours.loss_curve_.append(1.0)
    ours.classes_[0] = 7
    back.coefs_[0][...] = 0
    assert np.array_equal(outputs(theirs, x), kept)
    assert len(theirs.loss_curve_) == 8
    assert theirs.classes_[0] == 0
    assert ours.random_state is not theirs.random_state
    assert ours.random_state is ours._random_state


def test_one_class_and_feature_names():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    theirs = settle(MLPClassifier((3,), max_iter=3, random_state=0), frame, TARGETS["binary"][1])
    ours = fastnn.from_sklearn(theirs)
    assert list(ours.feature_names_in_) == list("abcd")
    assert np.array_equal(ours.predict(frame), theirs.predict(frame))
    assert list(ours.to_sklearn().feature_names_in_) == list("abcd")
    theirs = settle(MLPClassifier((3,), max_iter=3, random_state=0), X, np.full(len(X), 4))
    assert set(fastnn.from_sklearn(theirs).predict(X)) == {4}


def test_many_steps_of_adam():
    """So many that the powers of its betas leave float64."""
    theirs, x, y = fitted("multiclass", beta_1=0.1, beta_2=0.5)
    for steps in (0, 1, 900, 5000):
        theirs._optimizer.t = steps
        back = fastnn.from_sklearn(theirs).to_sklearn()
        assert back._optimizer.t == steps or (steps == 5000 and 0.5**back._optimizer.t == 0)
        back.partial_fit(x, y)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"dropout": 0.5}, "scikit-learn's MLPClassifier has no dropout; got dropout=0.5"),
        ({"class_weight": "balanced"}, "has no class_weight; got class_weight='balanced'"),
        ({"max_time": 5}, "has no max_time; got max_time=5"),
        ({"activation": "gelu"}, "The 'activation' parameter of MLPClassifier must be a str among.*Got 'gelu'"),
        ({"solver": "rmsprop"}, "The 'solver' parameter of MLPClassifier.*Got 'rmsprop'"),
        ({"warm_start": "resume"}, "The 'warm_start' parameter of MLPClassifier"),
    ],
)
def test_what_scikit_learn_lacks(options, match):
    ours = settle(fastnn.MLPClassifier((3,), max_iter=2, **options), X, TARGETS["binary"][1])
    with pytest.raises(ValueError, match=match):
        ours.to_sklearn()
    settle(fastnn.MLPClassifier((3,), max_iter=2, n_threads=1), X, TARGETS["binary"][1]).to_sklearn()


def test_a_loss_that_scikit_learn_lacks():
    ours = settle(fastnn.MLPRegressor("mae", (3,), max_iter=2), X, X[:, 0])
    with pytest.raises(ValueError, match=r"MLPRegressor has no loss|The 'loss' parameter of MLPRegressor"):
        ours.to_sklearn()


@pytest.mark.parametrize("other", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_another_solver_after_the_fit(solver, other):
    """It begins anew, as the next epoch here does."""
    ours = settle(fastnn.MLPClassifier((5,), solver=solver, max_iter=5, random_state=0), X, TARGETS["multiclass"][1])
    theirs = ours.set_params(solver=other).to_sklearn()
    assert_same(theirs, ours, X, 1e-13)
    assert theirs.solver == other
    if other == "lbfgs":
        return
    for estimator in (ours, theirs):
        estimator.partial_fit(X, TARGETS["multiclass"][1])
    assert_same(theirs, ours, X, 1e-9)


CHANGES = pytest.mark.parametrize(
    ("solver", "changes"),
    [
        ("adam", {"beta_1": 0.5}),
        ("adam", {"beta_2": 0.9}),
        ("adam", {"epsilon": 1e-3}),
        ("adam", {"learning_rate_init": 0.1}),
        ("adam", {"alpha": 3.0}),
        ("adam", {"solver": "sgd"}),
        ("sgd", {"momentum": 0.1}),
        ("sgd", {"nesterovs_momentum": False}),
        ("sgd", {"learning_rate": "invscaling"}),
    ],
    ids=str,
)


@CHANGES
def test_changes_after_the_fit(solver, changes):
    ours = settle(fastnn.MLPClassifier((5,), solver=solver, max_iter=5, random_state=0), X, TARGETS["multiclass"][1])
    theirs = ours.set_params(**changes).to_sklearn()
    for _ in range(2):
        ours.partial_fit(X, TARGETS["multiclass"][1])
        theirs.partial_fit(X, TARGETS["multiclass"][1])
    assert_same(theirs, ours, X, 1e-9)


@CHANGES
def test_changes_before_the_conversion(solver, changes):
    """They are as good as those after it, and when taken back the optimizer is as it was."""
    labels = TARGETS["multiclass"][1]
    theirs = settle(MLPClassifier((5,), solver=solver, max_iter=5, random_state=0), X, labels)
    before = {name: theirs.get_params()[name] for name in changes}
    after = fastnn.from_sklearn(theirs).set_params(**changes)
    ours = fastnn.from_sklearn(theirs.set_params(**changes))
    again = fastnn.from_sklearn(theirs).set_params(**before)
    for _ in range(2):
        after.partial_fit(X, labels)
        ours.partial_fit(X, labels)
        again.partial_fit(X, labels)
        theirs.set_params(**before).partial_fit(X, labels)
    assert np.array_equal(ours.network_.parameters, after.network_.parameters)
    assert_same(again, theirs, X, 1e-9)


def test_another_network_after_the_fit():
    ours = settle(fastnn.MLPClassifier((3,), max_iter=2), X, TARGETS["binary"][1]).set_params(activation="tanh")
    with pytest.raises(ValueError, match=r"activation must be that of the fitted network, \['relu'\].*got 'tanh'"):
        ours.to_sklearn()
    ours = settle(fastnn.MLPRegressor("mae", (3,), max_iter=2), X, X[:, 0]).set_params(loss="squared_error")
    with pytest.raises(ValueError, match=r"loss must be what the network minimized, 'mae'; got 'mse'"):
        ours.to_sklearn()


@pytest.mark.parametrize(
    "options",
    [
        {"callbacks": []},
        {"callbacks": ()},
        {"class_weight": None},
        {"activation": ["relu"]},
        {"hidden_layer_sizes": (3, 4), "activation": ("sigmoid", "logistic")},
        {"hidden_layer_sizes": (), "activation": []},
    ],
    ids=str,
)
def test_what_changes_nothing(options):
    options = {"hidden_layer_sizes": (3,), "max_iter": 2, **options}
    ours = settle(fastnn.MLPClassifier(**options), X, TARGETS["binary"][1])
    assert_same(ours.to_sklearn(), ours, X, 1e-13)


def test_requests_for_metadata():
    pytest.importorskip("sklearn", "1.7", reason="before 1.7 scikit-learn's fit takes no sample_weight")
    with config_context(enable_metadata_routing=True):
        theirs = fitted("binary")[0].set_fit_request(sample_weight="mass").set_score_request(sample_weight=False)
        ours = fastnn.from_sklearn(theirs)
        ours.set_fit_request(X_val=True)
        for estimator in (ours, ours.to_sklearn()):
            requests = estimator.get_metadata_routing()
            assert requests.fit.requests["sample_weight"] == "mass"
            assert requests.score.requests["sample_weight"] is False
        assert ours.get_metadata_routing().fit.requests["X_val"] is True
        theirs.set_fit_request(sample_weight=True)
        assert ours.get_metadata_routing().fit.requests["sample_weight"] == "mass"  # it is a copy


class Added(MLPClassifier):
    """A subclass with a parameter of its own."""

    def __init__(self, extra=1, hidden_layer_sizes=(3,)):
        super().__init__(hidden_layer_sizes, max_iter=2)
        self.extra = extra


class Narrowed(MLPClassifier):
    """A subclass that decides on the activation itself."""

    def __init__(self, alpha=1e-4):
        super().__init__((3,), "tanh", alpha=alpha, max_iter=2)


class AddedToOurs(fastnn.MLPClassifier):
    """A subclass with a parameter of its own."""

    def __init__(self, extra=1):
        super().__init__((3,), max_iter=2)
        self.extra = extra


def test_subclasses():
    y = TARGETS["binary"][1]
    with pytest.raises(ValueError, match="no parameters beyond MLPClassifier's; Added adds extra"):
        fastnn.from_sklearn(settle(Added(), X, y))
    with pytest.raises(ValueError, match="no parameters beyond MLPClassifier's; AddedToOurs adds extra"):
        settle(AddedToOurs(), X, y).to_sklearn()
    theirs = settle(Narrowed(), X, y)
    assert_same(fastnn.from_sklearn(theirs), theirs, X, 1e-13)


def test_what_cannot_be_taken():
    with pytest.raises(TypeError, match=r"must be scikit-learn's MLPClassifier or MLPRegressor; got Pipeline"):
        fastnn.from_sklearn(make_pipeline(MLPClassifier()))
    with pytest.raises(NotFittedError):
        fastnn.from_sklearn(MLPClassifier())
    with pytest.raises(NotFittedError):
        fastnn.MLPClassifier().to_sklearn()
    theirs, _, _ = fitted("binary")
    theirs.coefs_[0][0, 0] = np.nan
    with pytest.raises(ValueError, match="parameters must be finite"):
        fastnn.from_sklearn(theirs)


def test_while_another_thread_trains():
    ours = fastnn.from_sklearn(fitted("binary")[0])
    other = threading.Thread(target=ours.network_._engine.acquire)
    other.start()
    other.join()
    with pytest.raises(RuntimeError, match="in use by another thread"):
        ours.to_sklearn()


def test_without_scikit_learn(monkeypatch):
    from_sklearn = fastnn.from_sklearn
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.neural_network", None)
    with pytest.raises(
        ImportError, match=r'^fastnn.from_sklearn needs scikit-learn >= 1.6; run: pip install "fastnn-cpu\[sklearn\]"$'
    ):
        from_sklearn(None)
