"""Turn what a user passes into what the engine takes, or say which argument is wrong, its value and what was due."""

import inspect
import itertools
import math
import numbers
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_floating(value: Any, name: str) -> NDArray[Any]:
    """Turn anything numeric into an aligned float32 or float64 array whose strides are whole elements.

    float32 stays, float16 becomes float32, integers and booleans become float64. No copy is made that is not needed.
    """
    if np.ma.is_masked(value) or (
        isinstance(value, (list, tuple)) and any(isinstance(element, np.ma.MaskedArray) for element in value)
    ):
        raise TypeError(f"{name} has masked elements, which would be taken at face value; fill or drop them first")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array: {error}") from None
    kind = array.dtype.kind
    if kind == "O":
        if any(element is None or isinstance(element, (str, bytes)) for element in array.flat):
            raise TypeError(f"{name} must hold real numbers; got strings or None")
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            what = error if array.ndim else f"got {type(value).__name__}"
            raise TypeError(f"{name} must hold real numbers: {what}") from None
    elif kind not in "fiub" or array.dtype.itemsize > 8:
        raise TypeError(f"{name} must hold real numbers, at most 64 bits wide; got dtype {array.dtype}")
    dtype = np.dtype(np.float32 if array.dtype.kind == "f" and array.dtype.itemsize <= 4 else np.float64)
    array = np.require(array, dtype, "A")
    if any(stride % dtype.itemsize for stride in array.strides):
        array = array.copy()
    return array


def matrix(
    value: object, name: str, dtype: np.dtype[Any], *, n_rows: int | None = None, n_columns: int | None = None
) -> NDArray[Any]:
    """Copy a table of finite real numbers into a C-ordered array of dtype, shape (rows, columns)."""
    array = as_floating(value, name)
    two_dimensional(array, name)
    rows, columns = array.shape
    if n_rows is not None and rows != n_rows:
        raise ValueError(f"{name} must have {n_rows} rows; got {rows}")
    if n_columns is not None and columns != n_columns:
        raise ValueError(f"{name} must have {n_columns} columns; got {columns}")
    if columns == 0:
        raise ValueError(f"{name} must have at least 1 column; got shape {array.shape}")
    with np.errstate(over="ignore", under="ignore"):
        array = np.array(array, dtype, order="C", copy=True, subok=False)
    finite = np.isfinite(array)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ValueError(f"{name} must be finite; got {array[row, column]} ({dtype}) in row {row}, column {column}")
    return array


def two_dimensional(array: NDArray[Any], name: str) -> None:
    """Raise a ValueError unless an array has rows and columns."""
    if array.ndim != 2:
        hint = f"; use {name}.reshape(-1, 1) for a single column, (1, -1) for a single row" if array.ndim == 1 else ""
        raise ValueError(f"{name} must have 2 dimensions, (rows, columns); got shape {array.shape}{hint}")


def integer(value: Any, name: str, *, minimum: int) -> int:
    """Return value as an int of at least minimum."""
    if isinstance(value, (bool, np.bool_)):  # first, for NumPy 1 warns where its own is an index
        raise TypeError(f"{name} must be an integer; got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer; got {value!r}") from None
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}; got {number}")
    if number >= 2**63:
        raise ValueError(f"{name} must fit in 64 bits; got {number}")
    return number


def finite_number(value: Any, name: str, dtype: np.dtype[Any]) -> float:
    """Return value as a float that is finite in dtype too; truth values are no numbers here."""
    if type(value) is not float and (
        isinstance(value, (bool, np.bool_, str, bytes, np.ma.MaskedArray)) or np.iscomplexobj(value)
    ):
        raise TypeError(f"{name} must be a number; got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number; got {value!r}") from None
    finite = math.isfinite(number)
    if finite and dtype != np.float64:
        with np.errstate(over="ignore", under="ignore"):
            finite = bool(np.isfinite(dtype.type(number)))
    if not finite:
        raise ValueError(f"{name} must be finite; got {number} in {dtype}")
    return number


def number(
    value: Any,
    name: str,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
) -> float:
    """Return value as a finite float within the given bounds; arrays are no numbers here either."""
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number; got {value!r}")
    result = finite_number(value, name, np.dtype(np.float64))
    if not (
        (minimum is None or result >= minimum)
        and (above is None or result > above)
        and (maximum is None or result <= maximum)
        and (below is None or result < below)
    ):
        bounds = {"at least": minimum, "above": above, "at most": maximum, "below": below}
        expected = " and ".join(f"{words} {bound}" for words, bound in bounds.items() if bound is not None)
        raise ValueError(f"{name} must be {expected}; got {result}")
    return result


def boolean(value: Any, name: str) -> bool:
    """Return value as a bool, if it is one."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False; got {value!r}")
    return bool(value)


def floating_dtype(value: Any) -> np.dtype[Any]:
    """Return the float32 or float64 dtype that value names."""
    try:
        dtype: np.dtype[Any] | None = np.dtype(value)
    except TypeError:
        dtype = None
    if value is None or dtype is None or dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype must be 'float32' or 'float64'; got {value!r}")
    return np.dtype(dtype.type)  # NumPy's own object, by which the kernels' short ways know it


def layer_sizes(value: object, *, bias: bool) -> tuple[int, ...]:
    """Return the widths of a network's layers, inputs first, as ints."""
    scalar = isinstance(value, (str, bytes)) or getattr(value, "ndim", 1) == 0
    if scalar or not isinstance(value, (Sequence, np.ndarray)):
        raise TypeError(f"layer_sizes must be a sequence of integers; got {value!r}")
    sizes = tuple(integer(size, f"layer_sizes[{i}]", minimum=1) for i, size in enumerate(value))
    if len(sizes) < 2:
        raise ValueError(f"layer_sizes must have at least 2 elements, the inputs and the outputs; got {value!r}")
    n_parameters = sum((n_in + bias) * n_out for n_in, n_out in itertools.pairwise(sizes))
    if n_parameters > 2**48:  # so that no size in the engine leaves 64 bits
        raise ValueError(f"layer_sizes must make at most 2**48 parameters; got {value!r}, which makes {n_parameters}")
    return sizes


def functions(value: Any, name: str) -> tuple[Callable[..., Any], ...]:
    """Return one function or several as a tuple; what a call of one would only begin, as of a generator, is none."""
    elements = (value,) if callable(value) or not isinstance(value, Iterable) else tuple(value)
    for element in elements:
        if not callable(element):
            raise TypeError(f"{name} must be a function or several; got {element!r}")
        if inspect.isgeneratorfunction(element) or inspect.iscoroutinefunction(element):
            raise TypeError(f"{name} must be a function or several, without yield and not async; got {element!r}")
    return elements
