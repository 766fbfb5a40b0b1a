"""A pickle that another version of fastnn wrote is read with a warning, which names both."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from small_estimators import classifier

import fastnn

pytestmark = pytest.mark.isa_independent

X = np.random.default_rng(0).normal(size=(20, 3))
CLASS = (X[:, 0] > 0).astype(int)


def estimator():
    pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
    return classifier(solver="lbfgs", tol=1.0)


CASES = {
    "MLP": lambda: fastnn.MLP([3, 4, 1], seed=0),
    "NeuralNetwork": lambda: fastnn.NeuralNetwork(X, CLASS.reshape(-1, 1), rng=0),
    "MLPClassifier": estimator,
    "MLPClassifier, fitted": lambda: estimator().fit(X, CLASS),
}


@pytest.fixture(params=CASES)
def made(request):
    return CASES[request.param]()


def test_of_another_version(made, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(fastnn, "__version__", "0.0.1")
        text = pickle.dumps(made)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        twin = pickle.loads(text)
    (warning,) = caught
    is_fitted = hasattr(made, "network_")  # which then speaks for the estimator
    name = "MLP" if is_fitted else type(made).__name__
    assert warning.filename == __file__
    assert str(warning.message).startswith(
        f"this {name} was pickled by fastnn 0.0.1, and fastnn {fastnn.__version__} reads it: it may fail"
    )
    assert vars(twin).keys() == vars(made).keys()
    if name != "MLPClassifier":
        assert np.array_equal(twin.predict(X), made.predict(X))


@pytest.mark.parametrize("made", [name for name in CASES if not name.endswith("fitted")], indirect=True)
def test_of_a_version_that_left_no_word(made):
    state = made.__getstate__()
    stamped = state if isinstance(state, dict) else state[-1]
    del stamped["_fastnn_version"]
    with pytest.warns(UserWarning, match="by fastnn of an unknown version, and fastnn"):
        copy.copy(made).__setstate__(state)


def test_of_this_version(made):
    """No warning, which would be an error."""
    for twin in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
        assert vars(twin).keys() == vars(made).keys()
