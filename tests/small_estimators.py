"""Estimators that are fitted in milliseconds, for the tests of several subjects."""

import fastnn

QUICK = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0}


def classifier(**arguments):
    return fastnn.MLPClassifier(**QUICK | arguments)


def regressor(**arguments):
    return fastnn.MLPRegressor(**QUICK | arguments)


def same(a, b):
    """Whether two estimators have the same weights, to the bit."""
    return (a.network_.parameters == b.network_.parameters).all()
