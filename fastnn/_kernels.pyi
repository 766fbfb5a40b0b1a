from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import disjoint_base

_Floating = TypeVar("_Floating", np.float32, np.float64)

__pyx_capi__: dict[str, Any]  # what _engine.pyx cimports

def check_out(out: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None: ...
def built_isas() -> list[str]: ...
def available_isas() -> list[str]: ...
def isa() -> str: ...
def compiler() -> str: ...
def select(name: str) -> None: ...

@disjoint_base
class Workspace: ...

# An array gives an array; anything else, such as a number or a list, gives what its shape asks for.
@overload
def exp(x: NDArray[_Floating], out: NDArray[_Floating] | None = None) -> NDArray[_Floating]: ...
@overload
def exp(x: ArrayLike, out: NDArray[Any] | None = None) -> Any: ...
@overload
def log(x: NDArray[_Floating], out: NDArray[_Floating] | None = None) -> NDArray[_Floating]: ...
@overload
def log(x: ArrayLike, out: NDArray[Any] | None = None) -> Any: ...
@overload
def sqrt(x: NDArray[_Floating], out: NDArray[_Floating] | None = None) -> NDArray[_Floating]: ...
@overload
def sqrt(x: ArrayLike, out: NDArray[Any] | None = None) -> Any: ...
@overload
def sigmoid(x: NDArray[_Floating], out: NDArray[_Floating] | None = None) -> NDArray[_Floating]: ...
@overload
def sigmoid(x: ArrayLike, out: NDArray[Any] | None = None) -> Any: ...
@overload
def sigmoid_derivative(a: NDArray[_Floating], out: NDArray[_Floating] | None = None) -> NDArray[_Floating]: ...
@overload
def sigmoid_derivative(a: ArrayLike, out: NDArray[Any] | None = None) -> Any: ...

ACTIVATIONS: tuple[str, ...]

def activation_forward(
    name: str, a: NDArray[_Floating], z: NDArray[_Floating], slope: NDArray[_Floating] | None = None
) -> None: ...
def activation_backward(
    name: str, delta: NDArray[_Floating], a: NDArray[_Floating], slope: NDArray[_Floating] | None = None
) -> None: ...
@overload
def matmul(
    a: NDArray[_Floating],
    b: NDArray[_Floating],
    out: NDArray[_Floating] | None = None,
    n_threads: int | None = None,
) -> NDArray[_Floating]: ...
@overload
def matmul(a: ArrayLike, b: ArrayLike, out: NDArray[Any] | None = None, n_threads: int | None = None) -> Any: ...
def gemm(
    c: NDArray[_Floating],
    a: NDArray[_Floating],
    b: NDArray[_Floating],
    accumulate: bool = False,
    repeats: int = 1,
    n_threads: int = 1,
) -> None: ...
def sum_squared_error(output: NDArray[_Floating], y: NDArray[_Floating]) -> float: ...
def two_layer_forward(
    x: NDArray[_Floating],
    y: NDArray[_Floating],
    weights1: NDArray[_Floating],
    weights2: NDArray[_Floating],
    layer1: NDArray[_Floating],
    output: NDArray[_Floating],
) -> None: ...
def two_layer_backward(
    x: NDArray[_Floating],
    y: NDArray[_Floating],
    weights1: NDArray[_Floating],
    weights2: NDArray[_Floating],
    layer1: NDArray[_Floating],
    output: NDArray[_Floating],
    learning_rate: float,
) -> None: ...
def two_layer_train(
    x: NDArray[_Floating],
    y: NDArray[_Floating],
    weights1: NDArray[_Floating],
    weights2: NDArray[_Floating],
    layer1: NDArray[_Floating],
    output: NDArray[_Floating],
    learning_rate: float,
    losses: NDArray[_Floating],
) -> None: ...
def peak_flops(bits: int, iterations: int) -> int: ...
