"""MLP on data that people know, in seconds each."""

import time

import numpy as np
import pytest

import fastnn

pytestmark = pytest.mark.slow


def folds(x, y):
    """Split the rows into five fifths, each the test of a network that learns from the others; standardize by these."""
    order = np.random.default_rng(0).permutation(len(x))
    for i in range(5):
        test, training = order[i::5], np.delete(order, np.s_[i::5])
        mean, deviation = x[training].mean(axis=0), x[training].std(axis=0)
        scaled = (x - mean) / np.where(deviation > 0, deviation, 1)
        yield scaled[training], y[training], scaled[test], y[test]


def toy(name):
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn, which has the data, is not installed")
    return getattr(datasets, name)(return_X_y=True)


def test_digits(dtype):
    """At least 97 % of the rows are recognized by a network that did not see them."""
    right = []
    for seed, (x, y, x_test, y_test) in enumerate(folds(*toy("load_digits"))):
        net = fastnn.MLP([64, 128, 10], loss="cross_entropy", l2=1e-3, dtype=dtype, seed=seed)
        start = time.perf_counter()
        net.fit(x, y, epochs=40)
        assert time.perf_counter() - start < 20
        right.extend(net.predict(x_test).argmax(axis=1) == y_test)
    assert len(right) == 1797
    assert np.mean(right) >= 0.97


def test_breast_cancer(dtype):
    """Early stopping leaves the weights whose loss the history has."""
    right = []
    for seed, (x, y, x_test, y_test) in enumerate(folds(*toy("load_breast_cancer"))):
        net = fastnn.MLP([30, 16, 1], loss="binary_cross_entropy", l2=1e-2, dtype=dtype, seed=seed)
        stopping = fastnn.EarlyStopping(20)
        history = net.fit(x, y, epochs=300, validation_data=(x_test, y_test), early_stopping=stopping)
        assert history.validation_loss.min() == net.loss(x_test, y_test)
        right.extend((net.predict(x_test)[:, 0] > 0.5) == y_test)
    assert np.mean(right) >= 0.96


def test_diabetes_progression(dtype):
    """A linear prediction is hard to better here; the errors are at most 5 % above its."""
    errors, linear = [], []
    for seed, (x, y, x_test, y_test) in enumerate(folds(*toy("load_diabetes"))):
        mean, scale = y.mean(), y.std()
        net = fastnn.MLP([10, 32, 16, 1], activation="tanh", l2=3e-2, dtype=dtype, seed=seed)
        net.fit(x, (y - mean) / scale, epochs=40)
        errors.extend(net.predict(x_test)[:, 0] * scale + mean - y_test)
        line = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y)[0]
        linear.extend(x_test @ line[:-1] + line[-1] - y_test)
    assert np.mean(np.square(errors)) < 1.05 * np.mean(np.square(linear))


def columns(flights):
    """Distance, time of the day and of the year, delay at the departure, and the three airports of origin."""
    day = 2 * np.pi * (flights["month"] * 30 + flights["day"]) / 365
    hour = 2 * np.pi * (flights["hour"] + flights["minute"] / 60) / 24
    parts = [flights["distance"], np.sin(day), np.cos(day), np.sin(hour), np.cos(hour), flights["dep_delay"]]
    parts += [flights["origin"] == name for name in ("EWR", "JFK", "LGA")]
    parts += [flights["carrier"] == name for name in ("UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E")]
    return np.column_stack([np.asarray(part, float) for part in parts])


@pytest.mark.parametrize(
    ("target", "explained"), [("air_time", 0.98), ("arr_delay", 0.8)], ids=["air time", "arrival delay"]
)
def test_flights(flights, target, explained):
    """327,346 rows, 17 columns, the taxi chapter's network: the share of the variance that it explains."""
    x, y, x_test, y_test = next(folds(columns(flights), flights[target].to_numpy(float)))
    scale = y.std()
    net = fastnn.MLP([17, 128, 64, 32, 8, 1], seed=0)
    start = time.perf_counter()
    net.fit(x, (y - y.mean()) / scale, epochs=3, batch_size=256, optimizer=fastnn.Adam(3e-3))
    seconds = time.perf_counter() - start
    error = net.predict(x_test)[:, 0] * scale + y.mean() - y_test
    assert 1 - error.var() / y_test.var() > explained
    assert seconds < 60


def test_books_diabetes_architecture(dtype):
    """8-32-16-1, two classes, on data made like the book's: a function of eight columns with noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(768, 8))
    y = (x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(scale=0.5, size=768) > 0).astype(int)
    net = fastnn.MLP([8, 32, 16, 1], loss="binary_cross_entropy", dtype=dtype, seed=0)
    history = net.fit(x[:600], y[:600], epochs=100, validation_data=(x[600:], y[600:]))
    assert history.loss[-1] < 0.3 < history.loss[0]
    assert ((net.predict(x[600:])[:, 0] > 0.5) == y[600:]).mean() > 0.78
