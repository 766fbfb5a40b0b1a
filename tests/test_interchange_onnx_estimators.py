"""The estimators' to_onnx: ONNX Runtime's labels and probabilities, beside skl2onnx's of the same network."""

import sys
import warnings

import numpy as np
import pytest

import fastnn

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")
import onnx
import onnxruntime
from sklearn.exceptions import ConvergenceWarning, NotFittedError

RNG = np.random.default_rng(6)
X = RNG.normal(size=(80, 4))
Z = X @ RNG.normal(size=(4, 3))
CLASSES = {
    "binary": (Z[:, 0] > 0).astype(int),
    "binary strings": np.array(["no", "yes"])[(Z[:, 0] > 0).astype(int)],
    "multiclass": 3 * Z.argmax(axis=1) - 2,
    "strings": np.array(["red", "green", "größer"])[Z.argmax(axis=1)],
    "objects": np.array(["red", "green", "blue"], object)[Z.argmax(axis=1)],
    "booleans": Z[:, 0] > 0,
    "floats": Z.argmax(axis=1).astype(float),
    "multilabel": (Z > 0).astype(int),
    "two labels": (Z[:, :2] > 0).astype(int),
    "one class": np.full(len(X), "always"),
}
TARGETS = {"one output": Z[:, 0], "many outputs": Z, "poisson": np.floor(np.exp(Z[:, 0] / 4))}
WRONG = ("two labels", "one class", "many outputs", "poisson")  # in skl2onnx, see test_skl2onnx


def classifier(target, dtype, **options):
    return settle(fastnn.MLPClassifier((6, 5), max_iter=20, random_state=0, **options), dtype, CLASSES[target])


def regressor(target, dtype, **options):
    if target == "poisson":
        options["loss"] = "poisson"
    estimator = fastnn.MLPRegressor(hidden_layer_sizes=(6, 5), max_iter=20, random_state=0, **options)
    return settle(estimator, dtype, TARGETS[target])


def settle(estimator, dtype, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X.astype(dtype), y)


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # skl2onnx describes some shapes wrongly
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(model, dtype, x=X):
    """Return the outputs by name."""
    runtime = session(model)
    names = [output.name for output in runtime.get_outputs()]
    return dict(zip(names, runtime.run(None, {"X": x.astype(dtype)}), strict=True))


def near(one, other, dtype):
    """Within what rounding makes of sums of six terms and a few functions of order one, in three layers."""
    scale = max(1, np.abs(other).max())
    np.testing.assert_allclose(one, other, rtol=0, atol=100 * np.finfo(dtype).eps * scale)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("target", CLASSES)
def test_classifiers(target, activation, dtype, tmp_path):
    ours, path = classifier(target, dtype, activation=activation), tmp_path / "net.onnx"
    ours.to_onnx(path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    outputs = run(path, dtype)
    labels, expected = outputs["label"], ours.predict(X.astype(dtype))
    assert list(outputs) == ["label", "probabilities"]
    assert labels.dtype == (object if expected.dtype.kind in "OU" else np.int64)
    assert np.array_equal(labels, expected)
    assert outputs["probabilities"].dtype == dtype
    near(outputs["probabilities"], ours.predict_proba(X.astype(dtype)), dtype)


@pytest.mark.parametrize("target", TARGETS)
def test_regressors(target, dtype, tmp_path):
    ours, path = regressor(target, dtype), tmp_path / "net.onnx"
    ours.to_onnx(path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    outputs = run(path, dtype)
    assert list(outputs) == ["variable"]
    assert outputs["variable"].dtype == dtype
    near(outputs["variable"], ours.network_.predict(X), dtype)


@pytest.mark.parametrize("target", [name for name in (*CLASSES, *TARGETS) if name not in WRONG])
def test_skl2onnx(target, dtype, tmp_path):
    """The same inputs and outputs as skl2onnx's model of the same network.

    It is wrong itself for two labels, whose probabilities it takes for those of two classes; where there is one class,
    it gives one column of scikit-learn's two; a regressor's outputs it makes into one column; poisson it does not know.
    """
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    if target == "multilabel" and dtype == np.float64:
        pytest.skip("ONNX Runtime lacks the Binarizer of float64 that skl2onnx writes")
    ours = classifier(target, dtype) if target in CLASSES else regressor(target, dtype)
    options = {"zipmap": False} if target in CLASSES else None
    theirs = skl2onnx.to_onnx(ours.to_sklearn(), X[:1].astype(dtype), options=options).SerializeToString()
    path = tmp_path / "net.onnx"
    ours.to_onnx(path)
    inputs = [[(each.name, each.type) for each in session(model).get_inputs()] for model in (path, theirs)]
    assert inputs[0] == inputs[1]
    outputs, expected = run(path, dtype), run(theirs, dtype)
    assert list(outputs) == list(expected)
    for name, values in expected.items():
        assert outputs[name].dtype == values.dtype
        if name == "label":
            assert np.array_equal(outputs[name], values)
        else:
            near(outputs[name], values, dtype)


def test_labels_at_the_border(tmp_path):
    """A probability of 1/2 is the first class's, as in predict; so are equal ones of several classes."""
    for target in ("binary", "multiclass", "multilabel"):
        ours = classifier(target, "float64")
        for array in (*ours.coefs_, *ours.intercepts_):
            array[...] = 0
        ours.to_onnx(tmp_path / "net.onnx")
        outputs = run(tmp_path / "net.onnx", "float64")
        assert np.array_equal(outputs["label"], ours.predict(X))
        assert len(np.unique(outputs["label"], axis=0)) == 1


def test_weights_that_a_user_put_in(tmp_path):
    ours = regressor("one output", "float64")
    ours.coefs_[-1] = np.zeros_like(ours.coefs_[-1])
    ours.to_onnx(tmp_path / "net.onnx")
    assert np.array_equal(run(tmp_path / "net.onnx", "float64")["variable"], np.full((80, 1), ours.intercepts_[-1]))


def test_any_number_of_rows(dtype, tmp_path):
    classifier("strings", dtype).to_onnx(tmp_path / "net.onnx")
    for n in (0, 1, 1000):
        outputs = run(tmp_path / "net.onnx", dtype, np.zeros((n, 4)))
        assert (outputs["label"].shape, outputs["probabilities"].shape) == ((n,), (n, 3))


def test_errors(tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    for estimator in (fastnn.MLPClassifier(), fastnn.MLPRegressor()):
        with pytest.raises(NotFittedError):
            estimator.to_onnx(path)
    ours = classifier("binary", "float64")
    for classes in (np.array([0, 2**63], np.uint64), np.array(["a", 1], object)):
        ours.classes_ = classes
        with pytest.raises(ValueError, match=r"classes_ must be strings, or integers of 64 bits.*got array"):
            ours.to_onnx(path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"^MLPClassifier.to_onnx needs onnx; run: pip install"):
        ours.to_onnx(path)
