"""MLP.to_onnx: valid models, and ONNX Runtime's outputs within rounding of ours."""

import os
import sys
import threading

import networks
import numpy as np
import pytest
import rounding

import fastnn

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

CASES = [
    *((sizes, "tanh", "mse", None) for sizes in networks.SIZES),
    *(((3, 9, 5, 2), activation, "mse", activation) for activation in networks.ACTIVATIONS),
    *(((3, 9, 2), "gelu", loss, output) for loss, output in networks.OWN_OUTPUT.items()),
]


def runtime_error(name, z, a):
    """How many eps ONNX Runtime's functions may be off.

    Its tanh, exp and what is made of them are off by some eps of the function's scale, 1, also where they are small.
    For our own erf there are 2 eps times abs(z) / 2 < 4.3, and as many for other orders of its sum.
    """
    own = 4 * np.maximum(np.abs(a), 1)
    return 4 * own if name == "gelu" else own


def run(path, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": x})


def rows(described, dtype, n=40):
    """Rows, some of them far out, and the bound on the difference of ONNX Runtime's outputs and ours."""
    x = networks.data(described, n)[0] * np.logspace(-2, 1.5, n)[:, None]
    x = x.astype(np.float32).astype(float)
    parameters, eps = networks.parameters(described), np.finfo(dtype).eps
    bounds = [rounding.output(described, parameters, x, eps, own) for own in (rounding.own_error, runtime_error)]
    return x.astype(dtype), sum(bounds)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs(case, bias, dtype, tmp_path):
    sizes, activation, loss, output = case
    described = networks.network(sizes, activation, loss, output, bias=bias)
    net = networks.mlp(described, dtype)
    path = tmp_path / "net.onnx"
    net.to_onnx(path)
    x, bound = rows(described, dtype)
    (outputs,) = run(path, x)
    assert outputs.dtype == dtype
    rounding.assert_within(outputs, net.predict(x), bound)


@pytest.mark.parametrize("activation", networks.ACTIVATIONS)
def test_activations_far_out_and_at_zero(activation, dtype, tmp_path):
    """One unit of weight 1, so that inputs are its z; sin's range ends where its argument's rounding would show."""
    net = fastnn.MLP([1, 1], output_activation=activation, dtype=dtype)
    net.parameters = [1, 0]
    net.to_onnx(tmp_path / "net.onnx")
    far = 100 if activation == "sin" else 1e4
    z = np.concatenate([np.linspace(-12, 12, 4801), np.geomspace(1e-30, far), -np.geomspace(1e-30, far), [0]])
    z = z.astype(dtype).reshape(-1, 1)
    (outputs,) = run(tmp_path / "net.onnx", z)
    expected = net.predict(z)
    scale = np.maximum(runtime_error(activation, z.astype(float), expected.astype(float)), rounding.OWN)
    rounding.assert_within(outputs, expected, 2 * np.finfo(dtype).eps * scale)


@pytest.mark.parametrize("loss", ["mse", "poisson", "binary_cross_entropy", "cross_entropy"])
@pytest.mark.parametrize("activation", networks.ACTIVATIONS)
def test_models_are_valid_and_named(activation, loss, dtype, tmp_path):
    net = fastnn.MLP([3, 4, 2], activation=activation, loss=loss, dtype=dtype, seed=0)
    path = tmp_path / "net.onnx"
    net.to_onnx(path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    for (value,), name, width in ((inferred.graph.input, "X", 3), (inferred.graph.output, "output", 2)):
        rows, columns = value.type.tensor_type.shape.dim
        assert (value.name, rows.dim_param, columns.dim_value) == (name, "n", width)
        assert onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type) == dtype
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 13)]
    assert model.ir_version == 7
    assert (model.producer_name, model.producer_version) == ("fastnn", fastnn.__version__)


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_any_number_of_rows(n, dtype, tmp_path):
    for activation in ("relu", "gelu"):
        net = fastnn.MLP([3, 4, 2], activation=activation, dtype=dtype, seed=0)
        net.to_onnx(tmp_path / "net.onnx")
        (outputs,) = run(tmp_path / "net.onnx", np.zeros((n, 3), dtype))
        assert outputs.shape == (n, 2)


def test_the_file(tmp_path, monkeypatch):
    net = fastnn.MLP([3, 4, 2], seed=0)
    path = tmp_path / "net.onnx"
    net.to_onnx(str(path))
    content = path.read_bytes()
    net.to_onnx(path)
    assert path.read_bytes() == content  # the same network, the same bytes

    def refuse(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", refuse)
    other = fastnn.MLP([3, 4, 2], seed=1)
    with pytest.raises(OSError, match="no space left"):
        other.to_onnx(path)
    monkeypatch.undo()
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["net.onnx"]
    with pytest.raises(ValueError, match="path must name a file"):
        net.to_onnx(tmp_path)
    with pytest.raises(TypeError, match=r"path must be a str or os.PathLike; got 3"):
        net.to_onnx(3)


def test_parameters_beyond_what_a_file_holds(tmp_path, monkeypatch):
    monkeypatch.setattr("fastnn.interchange.onnx.MOST_BYTES", 4 * 23 - 1)
    with pytest.raises(ValueError, match="holds less than 2 GiB; the parameters are 92 bytes"):
        fastnn.MLP([3, 3, 2, 1]).to_onnx(tmp_path / "net.onnx")
    assert not os.listdir(tmp_path)


def test_dropout_is_for_training(tmp_path):
    net = fastnn.MLP([3, 4, 2], dropout=0.5, seed=0)
    net.to_onnx(tmp_path / "net.onnx")
    x = np.ones((5, 3), "float32")
    np.testing.assert_allclose(run(tmp_path / "net.onnx", x)[0], net.predict(x), rtol=1e-6)


def test_while_another_thread_trains(tmp_path):
    net = fastnn.MLP([2, 3, 1])
    other = threading.Thread(target=net._engine.acquire)
    other.start()
    other.join()
    with pytest.raises(RuntimeError, match="in use by another thread"):
        net.to_onnx(tmp_path / "net.onnx")


def test_without_onnx(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'^MLP.to_onnx needs onnx; run: pip install "fastnn-cpu\[onnx\]"$'):
        fastnn.MLP([2, 1]).to_onnx(tmp_path / "net.onnx")
