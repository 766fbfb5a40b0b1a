"""scikit-learn's judgement of the estimators: its checks for any estimator, and its own tests of its own classes."""

import inspect

import pytest

import fastnn

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
checks = pytest.importorskip("sklearn.utils.estimator_checks")
theirs = pytest.importorskip("sklearn.neural_network.tests.test_mlp")

pytestmark = pytest.mark.isa_independent

NOT_OURS = {
    "test_gradient": "calls a private method of scikit-learn's class; tests/test_mlp_gradient.py differentiates ours",
}
INSTEAD = {"MLPClassifier": fastnn.MLPClassifier, "MLPRegressor": fastnn.MLPRegressor}


@pytest.fixture(autouse=True)
def _our_classes(monkeypatch):
    for name, cls in INSTEAD.items():
        monkeypatch.setattr(theirs, name, cls)


def _ours_in(mark):
    """The same parametrization with our classes among its values."""
    names, values = mark.args
    return pytest.mark.parametrize(names, [INSTEAD.get(getattr(v, "__name__", None), v) for v in values])


def _adapted(name, test):
    """A copy of the function, whose marks are our own, under the warnings of scikit-learn's test suite."""

    def run(**arguments):
        test(**arguments)

    run.__name__, run.__signature__ = name, inspect.signature(test)
    for mark in getattr(test, "pytestmark", []):
        run = _ours_in(mark)(run) if mark.name == "parametrize" else getattr(pytest.mark, mark.name)(*mark.args)(run)
    if name in NOT_OURS:
        run = pytest.mark.skip(reason=NOT_OURS[name])(run)
    return pytest.mark.filterwarnings("default")(run)


globals().update(
    {name: _adapted(name, test) for name, test in vars(theirs).items() if name.startswith("test_") and callable(test)}
)


@pytest.fixture
def global_random_seed():
    return 42


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("estimator", "check"),
    [pair for cls in INSTEAD.values() for pair in checks.estimator_checks_generator(cls(), mark=None)],
    ids=lambda value: getattr(getattr(value, "func", value), "__name__", type(value).__name__),
)
def test_check_estimator(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "estimator", [fastnn.MLPClassifier(solver="lbfgs"), fastnn.MLPRegressor(solver="sgd", tol=1e-2, random_state=42)]
)
def test_a_weight_is_a_repetition(estimator):
    """With the arguments that scikit-learn's own tests give this check for its two classes."""
    checks.check_sample_weight_equivalence_on_dense_data(type(estimator).__name__, estimator)
