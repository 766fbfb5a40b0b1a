"""Warnings name the line of the user's code, through whatever of fastnn and scikit-learn lies between."""

import sys
import warnings

import numpy as np
import pytest
from small_estimators import classifier, regressor

import fastnn

X = np.random.default_rng(0).normal(size=(40, 3))
NUMBER = X @ [1.0, 2.0, 3.0]
CLASS = (NUMBER > 0).astype(int)


def lines_warned_of(call):
    """Return where the warnings of a call of this module point to, after where the call itself stands."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert caught
    return call.__code__.co_firstlineno, {(each.filename, each.lineno) for each in caught}


def test_a_training_that_diverges():
    net = fastnn.NeuralNetwork(X, X, learning_rate=1e200, rng=0)
    net.weights1[...] = np.inf
    line, warned = lines_warned_of(lambda: net.train(2))
    assert warned == {(__file__, line)}


class TestEstimators:
    @pytest.fixture(autouse=True)
    def _needs_scikit_learn(self):
        pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

    @pytest.mark.parametrize(
        ("make", "arguments", "y"),
        [
            (regressor, {}, NUMBER),
            (regressor, {"solver": "lbfgs", "max_iter": 1}, NUMBER),
            (classifier, {"batch_size": 1000}, CLASS),
            (classifier, {}, CLASS.reshape(-1, 1)),
            (regressor, {"solver": "sgd", "learning_rate_init": 1e9, "early_stopping": True}, NUMBER),
        ],
        ids=["not converged", "lbfgs", "batch size", "column", "diverged"],
    )
    def test_of_a_fit(self, make, arguments, y):
        net = make(**arguments)
        line, warned = lines_warned_of(lambda: net.fit(X, y))
        assert warned == {(__file__, line)}

    def test_of_a_partial_fit(self):
        net = regressor(batch_size=1000)
        line, warned = lines_warned_of(lambda: net.partial_fit(X, NUMBER))
        assert warned == {(__file__, line)}

    def test_an_interrupt(self):
        def interrupt(*_):
            raise KeyboardInterrupt

        net = regressor(callbacks=interrupt)
        line, warned = lines_warned_of(lambda: net.fit(X, NUMBER))
        assert warned == {(__file__, line)}

    def test_through_scikit_learn(self):
        from sklearn.model_selection import GridSearchCV
        from sklearn.pipeline import make_pipeline

        pipeline = make_pipeline(regressor())
        line, warned = lines_warned_of(lambda: pipeline.fit(X, NUMBER))
        assert warned == {(__file__, line)}
        search = GridSearchCV(regressor(), {"alpha": [0.1, 1]}, cv=2)
        line, warned = lines_warned_of(lambda: search.fit(X, NUMBER))
        assert warned == {(__file__, line)}

    def test_of_a_subclass(self):
        """Its own line calls fastnn."""

        class Own(fastnn.MLPRegressor):
            def fit(self, X, y):  # noqa: N803
                nonlocal line
                line = sys._getframe().f_lineno + 1
                return super().fit(X, y)

        line = 0
        _, warned = lines_warned_of(lambda: Own(max_iter=1).fit(X, NUMBER))
        assert warned == {(__file__, line)}
