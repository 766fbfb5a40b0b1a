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


def compare(name, x, y):
    """The mean over the seeds is not below scikit-learn's by more than its standard deviation over them.

    Scikit-learn's fits, which take the longest, are in float64 and the yardstick of both dtypes.
    """
    x, x_test, y, y_test = model_selection.train_test_split(x, y, test_size=0.25, random_state=0)
    scaler = preprocessing.StandardScaler().fit(x)
    x, x_test = scaler.transform(x), scaler.transform(x_test)
    theirs = scores(neural_network, name, x, y, x_test, y_test)
    spread = np.std(theirs)
    for dtype in ("float64", "float32"):
        ours = scores(fastnn, name, x.astype(dtype), y, x_test.astype(dtype), y_test)
        assert np.mean(ours) >= np.mean(theirs) - spread, dtype
        assert np.min(ours) >= np.min(theirs) - 2 * spread, dtype


class TestScores:
    """On a quarter of the rows, which the fits do not see."""

    def test_flights(self, flights):
        """The delay at the arrival, in hours, from what is known at the departure: 20,000 of 327,346 flights."""
        table = flights.sample(20_000, random_state=0)
        delay = np.clip(table["arr_delay"].to_numpy(np.float64) / 60, -2, 5)
        compare("MLPRegressor", table[COLUMNS].to_numpy(np.float64), delay)

    def test_digits(self):
        compare("MLPClassifier", *datasets.load_digits(return_X_y=True))

    def test_breast_cancer(self):
        compare("MLPClassifier", *datasets.load_breast_cancer(return_X_y=True))
