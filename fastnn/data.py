"""Rows as the training kernels read them: where they lie, in the type they have, without a copy."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn import checks
from fastnn._engine import ELEMENT_TYPES, UNORDERED, UNSOUND, Rows, is_plain_and_finite, row_order

USUAL_EXPONENTS = 32  # of weights, as powers of two
CHECKED_ELEMENTS = 1 << 16  # at a time: a check needs little memory beside the data's own


@dataclass(frozen=True, eq=False)
class SparseTable:
    """Compressed sparse rows: row i has elements[j] in column indices[j], j from row_starts[i] to row_starts[i + 1].

    The arrays are contiguous and aligned, the last two of int32 or both of int64. The columns of a row ascend.
    """

    elements: NDArray[Any]
    indices: NDArray[Any]
    row_starts: NDArray[Any]
    shape: tuple[int, int]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def n_elements(self) -> int:
        """How many are stored."""
        return int(self.row_starts[-1] - self.row_starts[0])


def inputs(x: ArrayLike, name: str, n_inputs: int, dtype: np.dtype[Any]) -> Rows:
    """Check the inputs of a network and describe them to the engine."""
    return Rows(_inputs(x, name, n_inputs, dtype))


def rows(
    x: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    names: tuple[str, str, str],
    layer_sizes: tuple[int, ...],
    loss: str,
    dtype: np.dtype[Any],
) -> Rows:
    """Check inputs, targets and weights, unless these are None, and describe them to the engine."""
    features = _inputs(x, names[0], layer_sizes[0], dtype)
    if len(features) == 0:
        raise ValueError(f"{names[0]} must have at least 1 row; got shape {features.shape}")
    if y is None:
        raise TypeError(f"{names[1]} must be an array of targets; got None")
    values, labels = targets(y, names[1], (len(features), layer_sizes[-1]), loss, dtype)
    if len(values) != len(features):
        raise ValueError(f"{names[1]} must have as many rows as {names[0]} ({len(features)}); got {len(values)}")
    return Rows(features, values, *weights(sample_weight, names[2], len(features), loss, dtype), labels)


def _inputs(x: ArrayLike, name: str, n_inputs: int, dtype: np.dtype[Any]) -> NDArray[Any] | SparseTable:
    array = sparse_table(x, name, dtype) if hasattr(x, "tocsr") else table(x, name, dtype)
    if array.shape[1] != n_inputs:
        raise ValueError(f"{name} must have {n_inputs} columns, the network's inputs; got shape {array.shape}")
    return array


def table(value: ArrayLike, name: str, dtype: np.dtype[Any], *, column: bool = False) -> NDArray[Any]:
    """Return an array (rows, columns) of finite numbers that the engine can read; a column may come one-dimensional."""
    array = numeric(value, name)
    if column and array.ndim == 1:
        array = array[:, np.newaxis]
    checks.two_dimensional(array, name)
    check_finite(array, name, dtype)
    return array


def sparse_table(value: Any, name: str, dtype: np.dtype[Any]) -> SparseTable:
    """Return SciPy's compressed sparse rows as the engine reads them.

    They are copied only where the columns of a row do not ascend, or one comes twice, whose elements then add up. SciPy
    keeps flags for that, but they are not true of an array that was changed since.
    """
    if getattr(value, "format", None) != "csr":
        raise TypeError(f"{name} must be a dense array or compressed sparse rows (csr); got {type(value).__name__}")
    if len(value.shape) != 2:
        raise ValueError(f"{name} must have 2 dimensions, (rows, columns); got shape {value.shape}")
    for part in ("indices", "indptr"):
        array = getattr(value, part)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise TypeError(f"{name}.{part} must be integers, of one dimension; got {array.dtype}, {array.ndim}")
    n_rows, n_columns = value.shape
    elements = np.require(numeric(value.data, f"{name}.data"), None, ["C", "A"])
    index = np.int32 if value.indices.dtype == value.indptr.dtype == np.int32 else np.int64
    indices, starts = (np.require(part, index, ["C", "A"]) for part in (value.indices, value.indptr))
    order = row_order(indices[: len(elements)], starts, n_columns) if starts.shape == (n_rows + 1,) else UNSOUND
    if order == UNSOUND:
        raise ValueError(f"{name} must be sound compressed sparse rows; its indices or indptr reach outside of it")
    if order == UNORDERED:
        ordered = type(value)((value.data, indices, starts), shape=value.shape, copy=True)
        ordered.sum_duplicates()
        return sparse_table(ordered, name, dtype)
    check_finite(elements.reshape(-1, 1), f"{name}.data", dtype)
    return SparseTable(elements, indices, starts, (n_rows, n_columns))


def numeric(value: ArrayLike, name: str) -> NDArray[Any]:
    """Return an array of one of the engine's element types; only other types and byte orders are copied."""
    if type(value) is np.ndarray and value.dtype in ELEMENT_TYPES:
        return value
    array = None
    if hasattr(value, "__array__") and not isinstance(value, np.ma.MaskedArray):
        array = np.asarray(value)  # of a matrix or a memory map a view
    if array is None or array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        array = checks.as_floating(value, name)
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return array if array.dtype in ELEMENT_TYPES else checks.as_floating(array, name)


def check_finite(array: NDArray[Any], name: str, dtype: np.dtype[Any]) -> None:
    """Raise a ValueError unless all numbers are finite in dtype; integers always are."""
    if is_plain_and_finite(array, dtype) or array.dtype.kind != "f" or array.size == 0:
        return
    largest = np.finfo(dtype).max
    step = max(1, CHECKED_ELEMENTS // array.shape[1])
    for first in range(0, len(array), step):
        block = array[first : first + step]
        if not (-largest <= block.min() and block.max() <= largest):  # False for NaN too
            row, column = np.argwhere(~((-largest <= block) & (block <= largest)))[0]
            where = f"row {first + row}, column {column}"
            raise ValueError(f"{name} must be finite in {dtype}; got {block[row, column]} in {where}")


def targets(
    y: ArrayLike, name: str, shape: tuple[int, int], loss: str, dtype: np.dtype[Any]
) -> tuple[NDArray[Any], bool]:
    """Return the targets, of shape (n, k), or class numbers (n, 1), and which of the two they are."""
    n_rows, n_outputs = shape
    values = table(y, name, dtype, column=True)
    if loss == "cross_entropy" and values.shape[1] == 1:
        check_labels(values, name, n_outputs, dtype)
        return values, True
    if values.shape[1] != n_outputs:
        labels = f", or integer labels of shape ({n_rows},)" if loss == "cross_entropy" else ""
        raise ValueError(f"{name} must have shape {shape}{labels}; got {np.shape(y)}")
    if loss not in ("poisson", "binary_cross_entropy", "cross_entropy"):
        return values, False
    lowest, highest = values.min(initial=0), values.max(initial=0)
    if lowest < 0:
        raise ValueError(f"{name} must not be negative with loss {loss!r}; got {lowest}")
    if loss != "poisson" and highest > 1:
        raise ValueError(f"{name} must be at most 1 with loss {loss!r}; got {highest}")
    if loss == "cross_entropy":
        check_probabilities(values, name)
    return values, False


def check_labels(labels: NDArray[Any], name: str, n_classes: int, dtype: np.dtype[Any]) -> None:
    """Raise a ValueError unless all are whole numbers from 0 to n_classes - 1, and exact in dtype."""
    if len(labels) == 0:
        return
    lowest, highest = labels.min(), labels.max()
    if lowest < 0 or highest >= n_classes:
        wrong = lowest if lowest < 0 else highest
        raise ValueError(f"{name} must hold class numbers from 0 to {n_classes - 1}, the outputs less one; got {wrong}")
    most = 2 ** (np.finfo(dtype).nmant + 1)  # above which the kernels would round them to other classes
    if highest > most:
        raise ValueError(f"{name} must hold class numbers of at most {most}, which are exact in {dtype}; got {highest}")
    if labels.dtype.kind == "f" and (labels != np.floor(labels)).any():
        raise ValueError(f"{name} must hold whole class numbers; got {labels[labels != np.floor(labels)][0]}")


def check_probabilities(values: NDArray[Any], name: str) -> None:
    """Raise a ValueError unless each row sums to 1, within the rounding of a float32."""
    sums = values.sum(axis=1, dtype=np.float64)
    wrong = np.flatnonzero(np.abs(sums - 1) > 1e-4)
    if len(wrong):
        raise ValueError(
            f"{name} must have rows that sum to 1, as probabilities do; row {wrong[0]} has {sums[wrong[0]]}"
        )


def weights(
    value: ArrayLike | None, name: str, n_rows: int, loss: str, dtype: np.dtype[Any]
) -> tuple[NDArray[np.float64] | None, float]:
    """Return the weight of each row as a column of float64, and the power of two by which they were scaled.

    All losses but sse divide by the sum of the weights, so huge and tiny ones may be scaled.
    """
    if value is None:
        return None, 1.0
    array = numeric(value, name)
    if array.ndim > 0:
        array = table(array, name, dtype if loss == "sse" else np.dtype(np.float64), column=True)
    if array.shape != (n_rows, 1):
        raise ValueError(f"{name} must have shape ({n_rows},), one weight for each row; got {np.shape(value)}")
    if array.min(initial=0) < 0:
        raise ValueError(f"{name} must not be negative; got {array.min()}")
    array = np.require(array, np.float64, ["C", "A"])
    exponent = int(np.frexp(array.max(initial=0))[1])
    if loss != "sse" and abs(exponent) > USUAL_EXPONENTS:
        with np.errstate(under="ignore"):
            return np.ldexp(array, -exponent), math.ldexp(1.0, -exponent)
    return array, 1.0
