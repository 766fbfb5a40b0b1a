"""The estimators on data that people know: scikit-learn's scores, within the spread of its own seeds."""

import numpy as np
import pytest

import fastnn

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn import datasets, model_selection, neural_network, preprocessing

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]
SEEDS = range(10)


COLUMNS = ["month", "day", "hour", "minute", "dep_delay", "air_time", "distance"]


def scores(package, name, x, y, x_test, y_test):
    """Of the estimators of ten seeds."""
    return [getattr(package, name)(random_state=s, max_iter=40).fit(x, y).score(x_test, y_test) for s in SEEDS]


def compare(name, x, y, dtype):
    """The mean over the seeds is not below scikit-learn's by more than its standard deviation over them."""
    x, x_test, y, y_test = model_selection.train_test_split(x, y, test_size=0.25, random_state=0)
    scaler = preprocessing.StandardScaler().fit(x)
    parts = scaler.transform(x).astype(dtype), y, scaler.transform(x_test).astype(dtype), y_test
    ours, theirs = (scores(package, name, *parts) for package in (fastnn, neural_network))
    spread = np.std(theirs)
    assert np.mean(ours) >= np.mean(theirs) - spread
    assert np.min(ours) >= np.min(theirs) - 2 * spread


@pytest.mark.parametrize("dtype", ["float64", "float32"])
class TestScores:
    """On a quarter of the rows, which the fits do not see."""

    def test_digits(self, dtype):
        compare("MLPClassifier", *datasets.load_digits(return_X_y=True), dtype)

    def test_breast_cancer(self, dtype):
        compare("MLPClassifier", *datasets.load_breast_cancer(return_X_y=True), dtype)

    def test_flights(self, flights, dtype):
        """The delay at the arrival, in hours, from what is known at the departure: 20,000 of 327,346 flights."""
        table = flights.sample(20_000, random_state=0)
        delay = np.clip(table["arr_delay"].to_numpy(np.float64) / 60, -2, 5)
        compare("MLPRegressor", table[COLUMNS].to_numpy(np.float64), delay, dtype)
