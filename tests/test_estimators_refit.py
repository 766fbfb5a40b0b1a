"""What one fit of an estimator leaves to the next: all of it, or after a wrong argument what was there before."""

import copy
import pickle
import threading

import numpy as np
import pytest
from small_estimators import classifier, regressor, same

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn.exceptions import NotFittedError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
NUMBER = RNG.normal(size=90)
CLASS = np.arange(90) % 3
LETTER, COLOUR = np.array(["a", "b", "c"])[CLASS], np.array(["blue", "green", "red"])[CLASS]


class TestWrongArguments:
    """A fit that its arguments end before the first epoch changes nothing."""

    @pytest.mark.parametrize("solver", ["adam", "lbfgs"])
    @pytest.mark.parametrize(
        ("x", "y", "more", "error"),
        [
            (X, COLOUR, {"sample_weight": np.ones(3)}, "sample_weight"),
            (X, COLOUR, {"sample_weight": -np.ones(90)}, "sample_weight"),
            (X[:, :3], NUMBER, {}, "Unknown label type"),
            (X[:, :3], COLOUR[:5], {}, "inconsistent numbers of samples"),
        ],
        ids=["number of weights", "negative weights", "labels", "rows"],
    )
    def test_of_a_fitted_one(self, solver, x, y, more, error):
        net = classifier(solver=solver).fit(X, LETTER)
        state, prediction = dict(vars(net)), net.predict_proba(X)
        with pytest.raises(ValueError, match=error):
            net.fit(x, y, **more)
        assert vars(net).keys() == state.keys()
        assert all(value is state[name] for name, value in vars(net).items())
        np.testing.assert_array_equal(net.predict_proba(X), prediction)
        np.testing.assert_array_equal(net.predict_proba(X.tolist()), prediction)

    @pytest.mark.parametrize("method", ["fit", "partial_fit"])
    def test_of_a_new_one(self, method):
        net = classifier()
        classes = {"classes": ["a", "b", "c"]} if method == "partial_fit" else {}
        with pytest.raises(ValueError, match="sample_weight must not be negative"):
            getattr(net, method)(X, LETTER, sample_weight=-np.ones(90), **classes)
        with pytest.raises(NotFittedError):
            net.predict(X)

    @pytest.mark.parametrize("is_global", [False, True], ids=["own generator", "global generator"])
    @pytest.mark.parametrize(
        ("make", "y", "arguments", "more", "error"),
        [
            (regressor, NUMBER, {}, {"sample_weight": -np.ones(90)}, "sample_weight must not be negative"),
            (regressor, NUMBER, {"loss": "poisson"}, {}, "y must not be negative"),
            (regressor, NUMBER, {"callbacks": (1,)}, {}, "callbacks must be"),
            (regressor, NUMBER, {"solver": "lbfgs"}, {"sample_weight": -np.ones(90)}, "must not be negative"),
            (regressor, NUMBER, {}, {"X_val": X[:, :3], "y_val": NUMBER}, "X_val, y_val"),
            (regressor, NUMBER, {"early_stopping": True, "validation_fraction": 0.01}, {}, "set is too small"),
            (regressor, NUMBER, {"early_stopping": True, "validation_fraction": 0.0}, {}, "must be above 0"),
            (classifier, np.arange(90) == 0, {"early_stopping": True}, {}, "least populated class"),
        ],
        ids=["weights", "targets", "callbacks", "lbfgs", "validation", "few aside", "none aside", "one of a class"],
    )
    def test_of_the_generator(self, make, y, arguments, more, error, is_global):
        """It is the user's, who may draw other things from it."""
        generator = np.random.mtrand._rand if is_global else np.random.RandomState(0)
        net = make(**arguments | {"random_state": None if is_global else generator})
        before = generator.get_state()
        with pytest.raises((TypeError, ValueError), match=error):
            net.fit(X, y, **more)
        after = generator.get_state()
        assert after[2:] == before[2:]
        np.testing.assert_array_equal(after[1], before[1])

    def test_of_the_generator_in_a_further_fit(self):
        """early_stopping draws the rows that it sets aside, of which a weight shows only then that it counts none."""
        generator = np.random.RandomState(0)
        net = regressor(random_state=generator, early_stopping=True, warm_start=True).fit(X, NUMBER)
        before = generator.get_state()
        with pytest.raises(ValueError, match="the rows that early_stopping sets aside must not all weigh 0"):
            net.fit(X, NUMBER, sample_weight=np.eye(90)[0])
        np.testing.assert_array_equal(generator.get_state()[1], before[1])
        assert generator.get_state()[2:] == before[2:]

    def test_of_validation(self):
        net = regressor().fit(X, NUMBER)
        prediction = net.predict(X)
        with pytest.raises(ValueError, match="features"):
            net.fit(X[:, :3], NUMBER, X_val=X, y_val=NUMBER)
        np.testing.assert_array_equal(net.predict(X), prediction)


class TestTwoAtOnce:
    """Only one fit of an estimator goes on at a time; MLP says the same of its own."""

    def test_in_another_thread(self):
        begun, end, errors = threading.Event(), threading.Event(), []

        def wait(estimator, history):
            begun.set()
            return end.wait(60)

        def again():
            begun.wait(60)
            try:
                net.fit(X, NUMBER)
            except RuntimeError as error:
                errors.append(str(error))
            end.set()

        net = regressor(callbacks=wait)
        other = threading.Thread(target=again)
        other.start()
        net.fit(X, NUMBER)
        other.join()
        assert len(errors) == 1
        assert errors[0].startswith("the estimator is in use by another thread, or by the fit whose callback this is")
        assert net.n_iter_ == 1
        assert net.set_params(callbacks=()).fit(X, NUMBER).n_iter_ == 5

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_a_prediction_during_lbfgs(self, monkeypatch, dtype):
        refused = []

        def predict():
            with pytest.raises(RuntimeError, match="the network is in use by another thread") as error:
                net.predict(x)
            refused.append(error)

        def predict_in_another_thread(*_):
            other = threading.Thread(target=predict)
            other.start()
            other.join()

        monkeypatch.setattr("fastnn.estimators.lbfgs.LBFGS._after_iteration", predict_in_another_thread)
        x = X.astype(dtype)
        net = regressor(solver="lbfgs", max_iter=3)
        net.fit(x, NUMBER)
        assert len(refused) == 3
        assert net.predict(x).dtype == dtype

    def test_while_another_thread_reads(self):
        net = regressor(warm_start=True).fit(X, NUMBER)
        other = threading.Thread(target=net.network_._engine.acquire)
        other.start()
        other.join()
        before = dict(vars(net))
        with pytest.raises(RuntimeError, match="the network is in use"):
            net.fit(X, NUMBER)
        assert vars(net).keys() == before.keys()
        assert all(value is before[name] for name, value in vars(net).items())

    def test_in_a_callback(self):
        net = regressor(callbacks=lambda estimator, _: estimator.partial_fit(X, NUMBER) and None)
        with pytest.raises(RuntimeError, match="the estimator is in use"):
            net.fit(X, NUMBER)
        assert not hasattr(net.set_params(callbacks=()).fit(X, NUMBER), "_fitting")


class TestPlainArrays:
    """A partial_fit of arrays that scikit-learn's validation could only return goes without it."""

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize(
        ("make", "y"),
        [(regressor, NUMBER), (regressor, CLASS), (classifier, CLASS), (classifier, COLOUR)],
        ids=["numbers", "integers", "class numbers", "labels"],
    )
    def test_the_same_bits(self, monkeypatch, make, y, dtype):
        x = X.astype(dtype)
        classes = {"classes": np.unique(y)} if make is classifier else {}
        long, short = (make().partial_fit(x, y, **classes) for _ in range(2))
        long.partial_fit(np.asfortranarray(x)[:1], y[:1].tolist())
        for function in ("fastnn.estimators.base.validate_data", "fastnn.estimators.classifier.unique_labels"):
            monkeypatch.setattr(function, None)
        short.partial_fit(x[:1], y[:1])
        assert same(short, long)

    @pytest.mark.parametrize(
        ("x", "y", "message"),
        [
            (X[:1] * np.nan, NUMBER[:1], "Input X contains NaN"),
            (X[:1], NUMBER[:1] * np.inf, "Input y contains infinity"),
            (X[:1, :3], NUMBER[:1], "X has 3 features"),
            (X[:2], NUMBER[:1], "inconsistent numbers of samples"),
            (X[:0], NUMBER[:0], "Found array with 0 sample"),
            (X[:1] * 1j, NUMBER[:1], "Complex data not supported"),
            (X[0], NUMBER[:1], "Expected 2D array"),
        ],
    )
    def test_errors_are_scikit_learns(self, x, y, message):
        with pytest.raises(ValueError, match=message):
            regressor().partial_fit(X, NUMBER).partial_fit(x, y)

    @pytest.mark.parametrize("label", ["b", "blue-green", "zebra"], ids=["before", "between", "behind"])
    def test_an_unknown_class(self, label):
        with pytest.raises(ValueError, match=r"`y` has classes not in `self\.classes_`"):
            classifier().partial_fit(X, COLOUR, classes=np.unique(COLOUR)).partial_fit(X[:1], np.array([label]))

    def test_missing_names(self):
        frame = pytest.importorskip("pandas").DataFrame(X, columns=list("abcd"))
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            regressor().partial_fit(frame, NUMBER).partial_fit(X[:1], NUMBER[:1])


class TestDropout:
    """Each call drops other units: those of one stream, which an int random_state begins only once."""

    def test_partial_fit(self):
        whole = regressor(dropout=0.5, solver="sgd").fit(X, NUMBER)
        parts = regressor(dropout=0.5, solver="sgd")
        for _ in range(5):
            parts.partial_fit(X, NUMBER)
        assert parts.loss_curve_[0] == whole.loss_curve_[0]
        # a constant learning rate of almost 0 leaves what is dropped as the only difference between epochs
        still = regressor(dropout=0.5, solver="sgd", learning_rate_init=1e-300, shuffle=False)
        for _ in range(4):
            still.partial_fit(X, NUMBER)
        assert len(set(still.loss_curve_)) == 4

    def test_warm_start(self):
        still = regressor(dropout=0.5, learning_rate_init=1e-300, shuffle=False, max_iter=1, warm_start=True)
        for _ in range(4):
            still.fit(X, NUMBER)
        assert len(set(still.loss_curve_)) == 4
        again = still.set_params(warm_start=False).fit(X, NUMBER)
        assert same(again, regressor(dropout=0.5, learning_rate_init=1e-300, shuffle=False, max_iter=1).fit(X, NUMBER))


class TestCheckpoints:
    """With warm_start="resume" what a callback saves, or leaves by an exception, goes on to the bits of the whole."""

    ARGUMENTS = pytest.mark.parametrize(
        "arguments",
        [{}, {"early_stopping": True, "n_iter_no_change": 100}, {"solver": "sgd", "dropout": 0.3}, {"shuffle": False}],
        ids=str,
    )

    def whole(self, arguments):
        return regressor(**arguments | {"max_iter": 12}).fit(X, NUMBER)

    @ARGUMENTS
    @pytest.mark.parametrize("fits", [1, 2])
    @pytest.mark.parametrize("again", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
    def test_a_copy(self, arguments, fits, again):
        arguments = {"warm_start": "resume", "batch_size": 16} | arguments
        saved = []

        def save(estimator, history):
            if len(estimator.loss_curve_) == 7:
                callbacks, estimator.callbacks = estimator.callbacks, ()
                saved.append(again(estimator))
                estimator.callbacks = callbacks

        net = regressor(**arguments, callbacks=save)
        for _ in range(fits):
            net.set_params(max_iter=12 // fits).fit(X, NUMBER)
        whole, part = self.whole(arguments), saved[0].set_params(max_iter=5).fit(X, NUMBER)
        assert same(net, whole)
        assert same(part, whole)
        assert part.loss_curve_ == whole.loss_curve_
        assert part.validation_scores_ == whole.validation_scores_

    @ARGUMENTS
    def test_an_exception(self, arguments):
        arguments = {"warm_start": "resume", "batch_size": 16, "max_iter": 12} | arguments

        def fail(estimator, history):
            if len(estimator.loss_curve_) == 7:
                raise LookupError("no more room")

        net = regressor(**arguments, callbacks=fail)
        with pytest.raises(LookupError, match="no more room"):
            net.fit(X, NUMBER)
        net.set_params(max_iter=5, callbacks=()).fit(X, NUMBER)
        assert same(net, self.whole(arguments))

    @pytest.mark.parametrize("n", [60, 89])
    def test_other_rows(self, n):
        """Of another number: the order of the rows, which is shuffled further where they are as many, begins anew."""
        net = regressor(warm_start="resume", batch_size=16, max_iter=2).fit(X, NUMBER)
        twin = copy.deepcopy(net)
        del twin._order
        net.fit(X[:n], NUMBER[:n])
        assert sorted(net._order) == list(range(n))
        assert same(net, twin.fit(X[:n], NUMBER[:n]))

    def test_partial_fit_between(self):
        """What it learned is not taken back by the parameters that early stopping once put aside."""
        net = regressor(warm_start="resume", early_stopping=True, max_iter=3).fit(X, NUMBER)
        net.set_params(early_stopping=False).partial_fit(X, NUMBER)
        start = net.network_.parameters.copy()
        net.set_params(early_stopping=True, learning_rate_init=1e-300, max_iter=1).fit(X, NUMBER)
        np.testing.assert_array_equal(net._last_parameters, start)


class TestChangedRules:
    """set_params of the learning rate's rule between two fits that keep the optimizer."""

    def rates(self, net):
        seen = []
        net.set_params(callbacks=lambda _, history: seen.append(history.learning_rate[-1])).fit(X, NUMBER)
        return seen

    def test_rule(self):
        net = regressor(solver="sgd", warm_start="resume", max_iter=2)
        assert self.rates(net) == [0.001, 0.001]
        net.set_params(learning_rate="invscaling")
        assert self.rates(net) == pytest.approx([0.001, 0.001 / 271**0.5])  # after three epochs of 90 rows in all
        net.set_params(power_t=1.0)
        assert self.rates(net) == pytest.approx([0.001, 0.001 / 451])
        assert self.rates(net) == pytest.approx([0.001 / 541, 0.001 / 631])

    def test_a_power_that_is_not_used(self):
        whole = regressor(warm_start="resume", max_iter=10).fit(X, NUMBER)
        parts = regressor(warm_start="resume").fit(X, NUMBER)
        assert same(whole, parts.set_params(power_t=2.0).fit(X, NUMBER))

    def test_a_large_power(self):
        """The rate falls to 0, at which the weights stay."""
        net = regressor(solver="sgd", momentum=0, learning_rate="invscaling", power_t=400.0)
        assert self.rates(net) == [0.001, 0, 0, 0, 0]
