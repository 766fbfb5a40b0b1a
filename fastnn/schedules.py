"""Schedules: the learning rate as a function of the epoch, or of the losses so far."""

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.options import Option


class Schedule(Option, ABC):
    """A learning rate for each epoch: `schedule(epoch)`, for the epoch 0, 1, 2, ... or an array of such numbers.

    A subclass defines `at`. Array or not, each epoch's rate is computed by itself, so it does not depend on the
    epochs beside it, and training can be cut anywhere.
    """

    @abstractmethod
    def at(self, epoch: int) -> float:
        """Return the learning rate of one epoch."""

    @overload
    def __call__(self, epoch: int) -> float: ...
    @overload
    def __call__(self, epoch: NDArray[np.integer[Any]]) -> NDArray[np.float64]: ...
    def __call__(self, epoch: int | NDArray[np.integer[Any]]) -> float | NDArray[np.float64]:
        """Return the learning rate of an epoch as a float, or those of an array of epochs as an array of its shape.

        Raises
        ------
        TypeError
            If the epochs are not integers.
        ValueError
            If one is negative.
        """
        if not isinstance(epoch, (np.ndarray, list, tuple)):
            return self.at(checks.integer(epoch, "epoch", minimum=0))
        try:
            epochs = np.asarray(epoch)
        except ValueError as error:
            raise ValueError(f"epoch is not a rectangular array: {error}") from None
        if epochs.dtype.kind not in "iu":
            raise TypeError(f"epoch must hold integers; got dtype {epochs.dtype}")
        if epochs.size and epochs.min() < 0:
            raise ValueError(f"epoch must be at least 0; got {epochs.min()}")
        rates = [self.at(number) for number in epochs.ravel().tolist()]
        wrong = [rate for rate in rates if not isinstance(rate, numbers.Real)]
        if wrong:
            raise TypeError(f"learning_rate must be a number in every epoch; {self!r} gave {wrong[0]!r}")
        return np.array(rates, np.float64).reshape(epochs.shape)


@dataclass(frozen=True)
class Constant(Schedule):
    """The same learning rate in every epoch.

    Parameters
    ----------
    learning_rate : float
        At least 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.
    """

    learning_rate: float

    def __post_init__(self) -> None:
        self._set(learning_rate=checks.number(self.learning_rate, "learning_rate", minimum=0))

    def at(self, epoch: int) -> float:
        """Return the learning rate of one epoch."""
        return self.learning_rate


@dataclass(frozen=True)
class StepDecay(Schedule):
    """A learning rate that falls by a factor every so many epochs: ``initial * factor**(epoch // every)``.

    PyTorch calls it StepLR.

    Parameters
    ----------
    initial : float
        Learning rate of the first epochs, at least 0.
    factor : float
        What is left of it after each fall, above 0 and at most 1.
    every : int
        Epochs from one fall to the next, at least 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> schedule = fastnn.StepDecay(0.8, factor=0.5, every=2)
    >>> schedule(np.arange(6))
    array([0.8, 0.8, 0.4, 0.4, 0.2, 0.2])
    """

    initial: float
    factor: float
    every: int

    def __post_init__(self) -> None:
        self._set(
            initial=checks.number(self.initial, "initial", minimum=0),
            factor=checks.number(self.factor, "factor", above=0, maximum=1),
            every=checks.integer(self.every, "every", minimum=1),
        )

    def at(self, epoch: int) -> float:
        """Return the learning rate of one epoch."""
        return self.initial * math.pow(self.factor, epoch // self.every)


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """A learning rate that falls by a factor in every epoch: ``initial * rate**epoch``.

    The rate is a factor, such as 0.95, as it is for Keras's ExponentialDecay and PyTorch's ExponentialLR.

    Parameters
    ----------
    initial : float
        Learning rate of the first epoch, at least 0.
    rate : float
        What is left of it after each epoch, above 0 and at most 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.
    """

    initial: float
    rate: float

    def __post_init__(self) -> None:
        self._set(
            initial=checks.number(self.initial, "initial", minimum=0),
            rate=checks.number(self.rate, "rate", above=0, maximum=1),
        )

    def at(self, epoch: int) -> float:
        """Return the learning rate of one epoch."""
        return self.initial * math.pow(self.rate, epoch)


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """A learning rate that falls with a power of the number of epochs: ``initial / (epoch + 1)**power``.

    Powers above 0.5 and up to 1 are those for which Robbins and Monro's (1951) conditions hold; scikit-learn calls the
    schedule "invscaling" and counts steps where this one counts epochs.

    Parameters
    ----------
    initial : float
        Learning rate of the first epoch, at least 0.
    power : float, default 0.5
        At least 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.
    """

    initial: float
    power: float = 0.5

    def __post_init__(self) -> None:
        self._set(
            initial=checks.number(self.initial, "initial", minimum=0),
            power=checks.number(self.power, "power", minimum=0),
        )

    def at(self, epoch: int) -> float:
        """Return the learning rate of one epoch."""
        return self.initial * math.pow(epoch + 1, -self.power)


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """A learning rate that falls along half a cosine and then stays where it is.

    It is ``final + (initial - final) * (1 + cos(pi * min(epoch, epochs) / epochs)) / 2``: equation 5 of Loshchilov and
    Hutter (2017), without restarts.

    Parameters
    ----------
    initial : float
        Learning rate of the first epoch.
    epochs : int
        The first epoch whose learning rate is `final`, at least 1.
    final : float, default 0.0
        At least 0 and at most `initial`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.
    """

    initial: float
    epochs: int
    final: float = 0.0

    def __post_init__(self) -> None:
        self._set(
            initial=checks.number(self.initial, "initial", minimum=0),
            epochs=checks.integer(self.epochs, "epochs", minimum=1),
            final=checks.number(self.final, "final", minimum=0),
        )
        if self.final > self.initial:
            raise ValueError(f"final must be at most initial, {self.initial}; got {self.final}")

    def at(self, epoch: int) -> float:
        """Return the learning rate of one epoch."""
        if epoch == 0:
            return self.initial  # which rounding could miss
        fallen = min(epoch, self.epochs) / self.epochs
        return self.final + (self.initial - self.final) * (1 + math.cos(math.pi * fallen)) / 2


@dataclass(frozen=True)
class WarmUp(Schedule):
    """A learning rate that grows linearly over the first epochs, and then is another's.

    With `first` the number `then`, or the schedule's first learning rate, it is ``first * (epoch + 1) / epochs`` in the
    first `epochs` epochs, the last of which reaches `first`. The schedule begins after them: the rate of a later epoch
    is ``then(epoch - epochs)``. This is the gradual warm-up of Goyal et al. (2017), section 2.2.

    Parameters
    ----------
    epochs : int
        How many epochs the growth takes, at least 1.
    then : float or schedule
        Learning rate afterwards, at least 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> schedule = fastnn.WarmUp(4, then=fastnn.StepDecay(0.8, factor=0.5, every=1))
    >>> schedule(np.arange(7))
    array([0.2, 0.4, 0.6, 0.8, 0.8, 0.4, 0.2])
    """

    epochs: int
    then: float | Schedule

    def __post_init__(self) -> None:
        then = check_learning_rate(self.then, "then")
        if isinstance(then, ReduceOnPlateau):
            raise TypeError(f"then must be a number or a schedule of epochs alone; got {then!r}")
        self._set(epochs=checks.integer(self.epochs, "epochs", minimum=1), then=then)

    def at(self, epoch: int) -> float:
        """Return the learning rate of one epoch."""
        begun = max(epoch - self.epochs, 0)
        rate = self.then.at(begun) if isinstance(self.then, Schedule) else self.then
        return rate * ((epoch + 1) / self.epochs) if epoch < self.epochs else rate


class PlateauState(NamedTuple):
    """Where a ReduceOnPlateau stands: plain numbers, which JSON keeps exactly."""

    learning_rate: float
    best: float | None  # the lowest loss that counted; None before the first
    bad_epochs: int  # epochs since


@dataclass(frozen=True)
class ReduceOnPlateau(Option):
    """A learning rate that is multiplied by a factor whenever the loss has stopped falling.

    An epoch is bad unless its loss is below ``best - threshold * abs(best)``, best being the lowest loss that counted
    so far; a loss that is not finite is always bad. When more than `patience` epochs in a row were bad, the learning
    rate becomes ``max(learning_rate * factor, minimum)`` and the count of bad epochs 0. For positive losses this is
    PyTorch's ReduceLROnPlateau with threshold_mode="rel", without its cooldown and eps.

    Unlike the other schedules this one is no function of the epoch. It keeps nothing itself: `start` gives its state
    before the first epoch and `next` the one after an epoch.

    Parameters
    ----------
    initial : float
        Learning rate of the first epoch, at least 0.
    factor : float, default 0.1
        What is left of the learning rate after a reduction, in [0, 1).
    patience : int, default 10
        Bad epochs in a row that are borne; the next one reduces. At least 0.
    threshold : float, default 1e-4
        Smallest fall of the loss that counts, relative to the best, in [0, 1).
    minimum : float, default 0.0
        The learning rate is not reduced below it; at least 0 and at most `initial`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.

    Examples
    --------
    >>> import fastnn
    >>> schedule = fastnn.ReduceOnPlateau(0.1, factor=0.5, patience=1)
    >>> state = schedule.start()
    >>> for loss in [3.0, 2.0, 2.0, 2.0]:
    ...     state = schedule.next(state, loss)
    >>> state
    PlateauState(learning_rate=0.05, best=2.0, bad_epochs=0)
    """

    initial: float
    _: KW_ONLY
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    minimum: float = 0.0

    def __post_init__(self) -> None:
        self._set(
            initial=checks.number(self.initial, "initial", minimum=0),
            factor=checks.number(self.factor, "factor", minimum=0, below=1),
            patience=checks.integer(self.patience, "patience", minimum=0),
            threshold=checks.number(self.threshold, "threshold", minimum=0, below=1),
            minimum=checks.number(self.minimum, "minimum", minimum=0),
        )
        if self.minimum > self.initial:
            raise ValueError(f"minimum must be at most initial, {self.initial}; got {self.minimum}")

    def start(self) -> PlateauState:
        """Return the state before the first epoch."""
        return PlateauState(self.initial, None, 0)

    def next(self, state: Sequence[Any], loss: float) -> PlateauState:
        """Return the state after an epoch with this loss; its `learning_rate` is that of the epoch to come.

        `state` is what `start` or `next` returned, or what JSON made of it.

        Raises
        ------
        TypeError
            If state is something else, or loss is not a number.
        """
        try:
            learning_rate, best, bad_epochs = state
        except (TypeError, ValueError):
            raise TypeError(f"state must be what start or next returned; got {state!r}") from None
        if not isinstance(loss, numbers.Real):
            raise TypeError(f"loss must be a number; got {loss!r}")
        if math.isfinite(loss) and (best is None or loss < best - self.threshold * abs(best)):
            return PlateauState(learning_rate, float(loss), 0)
        if bad_epochs < self.patience:
            return PlateauState(learning_rate, best, bad_epochs + 1)
        return PlateauState(max(learning_rate * self.factor, self.minimum), best, 0)


def learning_rates(value: float | Schedule, first_epoch: int, n_epochs: int) -> NDArray[np.float64]:
    """Return the learning rates of n_epochs epochs from first_epoch on, for a number or a schedule without a state."""
    if not isinstance(value, Schedule):
        return np.full(n_epochs, value)
    return value(np.arange(first_epoch, first_epoch + n_epochs))


def check_learning_rate(value: object, name: str) -> float | Schedule | ReduceOnPlateau:
    """Return value if it is a schedule, else as a float that can be a learning rate."""
    if isinstance(value, (Schedule, ReduceOnPlateau)):
        return value
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number or a schedule, such as fastnn.StepDecay; got {value!r}")
    return checks.number(value, name, minimum=0)
