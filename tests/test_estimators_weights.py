"""sample_weight and class_weight of the estimators."""

import re

import numpy as np
import pytest
from small_estimators import classifier, regressor, same

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

import sklearn
from sklearn import model_selection

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
NUMBER = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
LABEL = np.array(["low", "middle", "high"])[np.digitize(NUMBER, [-0.3, 0.5])]


@pytest.mark.parametrize("class_weight", ["balanced", {"low": 2.0, "middle": 0.5, "high": 1.0}])
def test_class_weight_is_a_sample_weight(class_weight):
    weights = sklearn.utils.compute_sample_weight(class_weight, LABEL)
    own = RNG.uniform(1, 2, len(X))
    assert same(classifier(class_weight=class_weight).fit(X, LABEL), classifier().fit(X, LABEL, weights))
    assert same(classifier(class_weight=class_weight).fit(X, LABEL, own), classifier().fit(X, LABEL, weights * own))
    assert not same(classifier(class_weight=class_weight).fit(X, LABEL), classifier().fit(X, LABEL))


def test_class_weight_of_many_labels():
    y = np.column_stack([NUMBER > 0, X[:, 0] > 0]).astype(int)
    weight = [{0: 1, 1: 3}, {0: 2, 1: 1}]
    expected = np.where(y[:, 0], 3, 1) * np.where(y[:, 1], 1, 2)
    assert same(classifier(class_weight=weight).fit(X, y), classifier().fit(X, y, expected))


def test_partial_fit():
    weight = {"low": 2.0, "middle": 0.5, "high": 1.0}
    weights = sklearn.utils.compute_sample_weight(weight, LABEL)
    a = classifier(class_weight=weight).partial_fit(X, LABEL, classes=np.unique(LABEL))
    b = classifier().partial_fit(X, LABEL, weights, classes=np.unique(LABEL))
    assert same(a, b)
    with pytest.raises(ValueError, match="class_weight must be a dict or None for partial_fit"):
        classifier(class_weight="balanced").partial_fit(X, LABEL, classes=np.unique(LABEL))


def test_wrong_weights():
    with pytest.raises(ValueError, match="sample_weight must not be negative"):
        regressor().fit(X, NUMBER, -np.ones(len(X)))
    with pytest.raises(ValueError, match=re.escape("sample_weight.shape == (3,), expected (90,)!")):
        regressor().fit(X, NUMBER, np.ones(3))


@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_wrong_class_weights(value):
    weight = {"low": value, "middle": 1.0, "high": 1.0}
    with pytest.raises(ValueError, match=r"class_weight must have finite weights of at least 0; got .'low':"):
        classifier(class_weight=weight).fit(X, LABEL)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_no_row_that_counts(solver):
    net, weights = classifier(solver=solver, class_weight={"low": 0, "middle": 0, "high": 0}), LABEL != "high"
    with pytest.raises(ValueError, match="class_weight must not, with sample_weight, give all rows the weight 0"):
        net.fit(X, LABEL)
    net.set_params(class_weight={"low": 0, "middle": 0, "high": 1})
    with pytest.raises(ValueError, match="class_weight must not, with sample_weight, give all rows the weight 0"):
        net.fit(X, LABEL, weights)
    net.fit(X, LABEL)


def test_a_batch_without_the_class_that_is_named():
    few, classes = LABEL != "low", np.unique(LABEL)
    a = classifier(class_weight={"low": 3.0}).partial_fit(X[few], LABEL[few], classes=classes)
    assert same(a, classifier().partial_fit(X[few], LABEL[few], np.ones(few.sum()), classes=classes))
    a.partial_fit(X, LABEL)
    b = classifier().partial_fit(X[few], LABEL[few], np.ones(few.sum()), classes=classes)
    assert same(a, b.partial_fit(X, LABEL, np.where(few, 1, 3)))
    y = np.column_stack([np.zeros(90, int), X[:, 0] > 0])
    a = classifier(class_weight=[{1: 3.0}, {1: 2.0}]).partial_fit(X, y, classes=[0, 1])
    assert same(a, classifier().partial_fit(X, y, 1 + y[:, 1], classes=[0, 1]))
    with pytest.raises(ValueError, match="class_weight"):
        classifier(class_weight={"nonsense": 3.0}).partial_fit(X, LABEL, classes=classes)


@pytest.mark.parametrize("own", [None, RNG.uniform(1, 2, len(X))])
def test_scores_of_early_stopping_are_without_class_weight(own):
    arguments = {"early_stopping": True, "max_iter": 1, "learning_rate_init": 1e-300, "validation_fraction": 0.4}
    a = classifier(class_weight={"low": 50.0, "middle": 1.0, "high": 0.02}, **arguments).fit(X, LABEL, own)
    b = classifier(**arguments).fit(X, LABEL, own)
    assert a.validation_scores_ == b.validation_scores_
    assert a.validation_loss_curve_ != b.validation_loss_curve_


def test_rows_set_aside_that_weigh_nothing():
    state = regressor(solver="lbfgs").fit(X, NUMBER)._random_state  # from which only the weights were drawn
    split = model_selection.train_test_split(np.arange(90), random_state=state, test_size=0.1)
    for part, share in zip(split, ["trains on", "sets aside"], strict=True):
        weights = np.ones(90)
        weights[part] = 0
        with pytest.raises(ValueError, match=f"the rows that early_stopping {share} must not all weigh 0"):
            regressor(early_stopping=True).fit(X, NUMBER, weights)
