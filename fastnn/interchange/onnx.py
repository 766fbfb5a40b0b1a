"""ONNX: the file that MLP.to_onnx and the estimators' to_onnx write.

The graphs use operators as they were in opset 13 (ONNX 1.8, December 2020): the first whose Softmax is that of one
axis, and what runtimes of the years since then read. ONNX Runtime has Relu, Sigmoid, Tanh, Sin, Exp, Log, Softmax, Gemm
and the arithmetic in float64 too, but not LeakyRelu, Elu, Softplus or Erf; these are written there with those that it
has.
"""

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn
from fastnn.extras import import_extra
from fastnn.mlp import MLP
from fastnn.storage import check_path, replacing

OPSET = 13
IR_VERSION = 7  # of the same ONNX 1.8
MOST_BYTES = 2**31 - 2**16  # in a file of Protocol Buffers, with some room for what is not a parameter
OPERATORS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "sin": "Sin", "exp": "Exp"}
FLOAT32_OPERATORS = {"leaky_relu": "LeakyRelu", "elu": "Elu", "softplus": "Softplus"}
PERIOD, TERMS = 12, 23  # of erf's series of sines, see _erf


class Graph:
    """A graph under construction, for inputs X of shape (n, d); the values in it are named by strings."""

    def __init__(self, net: MLP, user: str) -> None:
        self._onnx = import_extra("onnx", "onnx", user)
        self._float = net.dtype
        self._nodes: list[Any] = []
        self._constants: dict[str, NDArray[Any]] = {}
        self._outputs: list[Any] = []
        self._inputs = [self._describe("X", net.dtype, ("n", net.layer_sizes[0]))]

    def _describe(self, name: str, dtype: Any, shape: Sequence[int | str]) -> Any:
        return self._onnx.helper.make_tensor_value_info(name, self.tensor_type(dtype), shape)

    def tensor_type(self, dtype: Any) -> int:
        """Return ONNX's number of a dtype; that of object is its strings."""
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and name its result."""
        result = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, [result], name=f"node_{result}", **attributes))
        return result

    def constant(self, value: Any, dtype: Any = None, name: str | None = None) -> str:
        """Add an array, by default of the network's dtype, and name it."""
        name = name or f"constant_{len(self._constants)}"
        self._constants[name] = np.asarray(value, self._float if dtype is None else dtype)
        return name

    def output(self, value: str, name: str, dtype: Any, shape: Sequence[int | str]) -> None:
        """Make a value an output of this name."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name], name=f"node_{name}"))
        self._outputs.append(self._describe(name, dtype, shape))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file; one that is there already is replaced when the new one is complete."""
        path = check_path(path)
        n_bytes = sum(array.nbytes for array in self._constants.values())
        if n_bytes > MOST_BYTES:
            raise ValueError(f"an ONNX file holds less than 2 GiB; the parameters are {n_bytes} bytes")
        helper = self._onnx.helper
        tensors = [self._onnx.numpy_helper.from_array(array, name) for name, array in self._constants.items()]
        graph = helper.make_graph(self._nodes, "fastnn", self._inputs, self._outputs, tensors)
        model = helper.make_model(
            graph,
            producer_name="fastnn",
            producer_version=fastnn.__version__,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        data = model.SerializeToString(deterministic=True)
        with replacing(path) as file:
            file.write(data)


def write_network(net: MLP, path: str | os.PathLike[str]) -> None:
    """Write a network; `MLP.to_onnx` says what."""
    graph = Graph(net, "MLP.to_onnx")
    graph.output(add_network(graph, net), "output", net.dtype, ("n", net.layer_sizes[-1]))
    graph.write(path)


def write_classifier(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted MLPClassifier; its `to_onnx` says what."""
    net, binarizer = _fitted_network(estimator), estimator._label_binarizer
    graph = Graph(net, "MLPClassifier.to_onnx")
    p, k = add_network(graph, net), net.layer_sizes[-1]
    if binarizer.y_type_.startswith("multilabel"):
        label = graph.add("Cast", graph.add("Greater", p, graph.constant(0.5)), to=graph.tensor_type(np.int64))
        graph.output(label, "label", np.int64, ("n", k))
    else:
        if k == 1:
            p, k = graph.add("Concat", graph.add("Sub", graph.constant(1), p), p, axis=1), 2
        labels = _labels(estimator.classes_)
        if len(labels) == 1:  # where the second column has no class of its own
            labels = np.repeat(labels, 2)
        indices = graph.add("ArgMax", p, axis=1, keepdims=0)
        label = graph.add("Gather", graph.constant(labels, labels.dtype, "classes"), indices)
        graph.output(label, "label", labels.dtype, ("n",))
    graph.output(p, "probabilities", net.dtype, ("n", k))
    graph.write(path)


def write_regressor(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted MLPRegressor; its `to_onnx` says what."""
    net = _fitted_network(estimator)
    graph = Graph(net, "MLPRegressor.to_onnx")
    graph.output(add_network(graph, net), "variable", net.dtype, ("n", net.layer_sizes[-1]))
    graph.write(path)


def _fitted_network(estimator: Any) -> MLP:
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(estimator)
    net: MLP = estimator._synchronize()
    return net


def _labels(classes: NDArray[Any]) -> NDArray[Any]:
    """Return the classes as ONNX has labels: int64, or strings."""
    if classes.dtype.kind in "biuf":
        labels = classes.astype(np.int64)
        if (labels == classes).all():
            return labels
    elif all(isinstance(label, str) for label in classes.tolist()):
        return classes.astype(object)
    raise ValueError(f"classes_ must be strings, or integers of 64 bits, for labels in ONNX; got {classes!r}")


def add_network(graph: Graph, net: MLP) -> str:
    """Add all layers of a network, from X to the result that is named."""
    net._engine.check_idle()
    a = "X"
    for i, (weights, biases, activation) in enumerate(zip(net.weights, net.biases, net.activations, strict=True)):
        parameters = [graph.constant(weights, name=f"weights_{i}")]
        if biases is not None:
            parameters.append(graph.constant(biases, name=f"biases_{i}"))
        a = _activation(graph, activation, graph.add("Gemm", a, *parameters), net.dtype)
    return a


def _activation(graph: Graph, name: str, z: str, dtype: np.dtype[Any]) -> str:
    """Add an activation of z."""
    if name in OPERATORS:
        return graph.add(OPERATORS[name], z)
    if name in FLOAT32_OPERATORS and dtype == np.float32:
        return graph.add(FLOAT32_OPERATORS[name], z)
    match name:
        case "identity":
            return z
        case "softmax":
            return graph.add("Softmax", z, axis=1)
        case "silu":  # z / (1 + exp(-z)): z times ONNX Runtime's sigmoid is off by z times its rounding
            exponential = graph.add("Exp", graph.add("Neg", z))
            return graph.add("Div", z, graph.add("Add", exponential, graph.constant(1)))
        case "leaky_relu":
            return graph.add("Max", z, graph.add("Mul", z, graph.constant(0.01)))
        case "elu":  # max(z, 0) + (exp(min(z, 0)) - 1)
            exponential = graph.add("Exp", graph.add("Min", z, graph.constant(0)))
            return graph.add("Add", graph.add("Relu", z), graph.add("Sub", exponential, graph.constant(1)))
        case "softplus":  # max(z, 0) + log(1 + exp(-abs(z)))
            exponential = graph.add("Exp", graph.add("Neg", graph.add("Abs", z)))
            logarithm = graph.add("Log", graph.add("Add", exponential, graph.constant(1)))
            return graph.add("Add", graph.add("Relu", z), logarithm)
    assert name == "gelu", name
    return _gelu(graph, z, dtype)


def _gelu(graph: Graph, z: str, dtype: np.dtype[Any]) -> str:
    """Add z Phi(z), with Phi(z) = (1 + erf(z / sqrt(2))) / 2."""
    one, half = graph.constant(1), graph.constant(0.5)
    if dtype == np.float32:  # as exporters write it and runtimes know it
        erf = graph.add("Erf", graph.add("Div", z, graph.constant(math.sqrt(2))))
        return graph.add("Mul", graph.add("Mul", z, graph.add("Add", erf, one)), half)
    # max(z, 0) - abs(z) (1 - erf(abs(z) / sqrt(2))) / 2, and what is subtracted is 0, rounded, beyond erf's range
    distance = graph.add("Min", graph.add("Abs", z), graph.constant(PERIOD / 2 * math.sqrt(2)))
    erf = _erf(graph, graph.add("Div", distance, graph.constant(math.sqrt(2))))
    tail = graph.add("Mul", graph.add("Mul", distance, graph.add("Sub", one, erf)), half)
    return graph.add("Sub", graph.add("Relu", z), tail)


def _erf(graph: Graph, x: str) -> str:
    """Add erf(x), in float64, for x from 0 to PERIOD / 2, shape (n, units).

    It is Strecok's (1968) series, 2 / pi * (h x + sum over k = 1, 2, ... of exp(-(k h)**2) / k * sin(2 k h x)), which
    repeats with the period pi / h and so is off by erfc(pi / h - x), here at most erfc(6) = 2.2e-17. What lies beyond
    the terms is less, so rounding is all that counts: 2 eps were seen.
    """
    h = math.pi / PERIOD
    k = np.arange(1, TERMS + 1)
    axis = graph.constant([2], np.int64)
    angles = graph.add("Mul", graph.add("Unsqueeze", x, axis), graph.constant(2 * h * k))  # (n, units, TERMS)
    factors = graph.constant((2 / math.pi * np.exp(-((k * h) ** 2)) / k).reshape(-1, 1))
    sines = graph.add("Squeeze", graph.add("MatMul", graph.add("Sin", angles), factors), axis)
    return graph.add("Add", graph.add("Mul", x, graph.constant(2 * h / math.pi)), sines)
