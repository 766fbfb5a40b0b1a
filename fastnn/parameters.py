"""A network's arrays as a user sees them: views that may be edited in place, and assigned."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn import data

Item = TypeVar("Item", bound=NDArray[Any] | None)


class LayerArrays(Sequence[Item]):
    """One array for each layer, a view of the network's own memory, or None where a layer has none.

    An assignment to an element copies the values into the network, as an assignment to a list would not.
    """

    def __init__(self, views: Sequence[Item], name: str, check: Callable[[], object]) -> None:
        self._views = tuple(views)
        self._name = name
        self._check = check

    def __len__(self) -> int:
        return len(self._views)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        try:
            return self._views[index]
        except IndexError:
            raise IndexError(f"{self._name} has {len(self)} elements, one for each layer; got index {index}") from None

    def __setitem__(self, index: int, value: ArrayLike) -> None:
        if isinstance(index, slice):
            raise TypeError(f"{self._name} takes one array at a time; got {index}")
        name = f"{self._name}[{index}]"
        view = self[index]
        if view is None:
            raise TypeError(f"{name} must stay None, for the network has no biases; got {value!r}")
        self._check()
        overwrite(view, value, name)

    def __repr__(self) -> str:
        return repr(list(self._views))

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the network behind: a copy is a list of arrays of its own."""
        return list, (list(self._views),)


def overwrite(array: NDArray[Any], value: ArrayLike, name: str) -> None:
    """Copy finite numbers of the same shape into array, or raise a ValueError or TypeError and leave it alone."""
    values = data.numeric(value, name)
    if values.shape != array.shape:
        raise ValueError(f"{name} must have shape {array.shape}; got {values.shape}")
    data.check_finite(values.reshape(-1, array.shape[-1]), name, array.dtype)
    with np.errstate(under="ignore"):
        array[...] = values


def restore(array: NDArray[Any], saved: NDArray[Any], name: str) -> None:
    """Copy what was in such an array once, be it finite or not."""
    if saved.shape != array.shape or saved.dtype != array.dtype:
        expected = f"shape {array.shape} and dtype {array.dtype}"
        raise ValueError(f"{name} must have {expected}; got {saved.shape} and {saved.dtype}")
    array[...] = saved
