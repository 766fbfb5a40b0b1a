"""When a fit stops because it no longer gets better."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

from fastnn import checks
from fastnn.options import Option

MONITORS = ("validation_loss", "loss")


class StoppingState(NamedTuple):
    """Where an EarlyStopping stands: plain numbers, which JSON keeps exactly."""

    best: float | None  # the lowest loss that counted; None before the first
    bad_epochs: int  # epochs since


@dataclass(frozen=True)
class EarlyStopping(Option):
    """Stop a fit when the loss has not fallen for a while (Prechelt 1998).

    An epoch is bad unless its loss is below ``best - min_delta``, best being the lowest loss that counted so far; a
    loss that is not finite is always bad. The fit stops when more than `patience` epochs in a row were bad. It keeps
    nothing itself: `start` gives its state before the first epoch, `next` the one after an epoch.

    Parameters
    ----------
    patience : int
        Bad epochs in a row that are borne; the next one stops the fit. At least 0.
    min_delta : float, default 0.0
        Smallest fall of the loss that counts, at least 0.
    restore_best : bool, default True
        Leave the network with the parameters of the epoch whose monitored loss was the lowest, however small its lead;
        else with those of the last epoch.
    monitor : {"validation_loss", "loss"}
        Which loss is meant; "validation_loss" needs validation data.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.EarlyStopping(10)
    EarlyStopping(patience=10, min_delta=0.0, restore_best=True, monitor='validation_loss')
    """

    patience: int
    _: KW_ONLY
    min_delta: float = 0.0
    restore_best: bool = True
    monitor: str = "validation_loss"

    def __post_init__(self) -> None:
        self._set(
            patience=checks.integer(self.patience, "patience", minimum=0),
            min_delta=checks.number(self.min_delta, "min_delta", minimum=0),
            restore_best=checks.boolean(self.restore_best, "restore_best"),
        )
        if self.monitor not in MONITORS:
            raise ValueError(f"monitor must be 'validation_loss' or 'loss'; got {self.monitor!r}")

    def start(self) -> StoppingState:
        """Return the state before the first epoch."""
        return StoppingState(None, 0)

    def next(self, state: Sequence[Any], loss: float) -> StoppingState:
        """Return the state after an epoch with this loss; `state` is what `start` or `next` returned."""
        best, bad_epochs = state
        if math.isfinite(loss) and (best is None or loss < best - self.min_delta):
            return StoppingState(float(loss), 0)
        return StoppingState(best, bad_epochs + 1)

    def stops(self, state: Sequence[Any]) -> bool:
        """Whether the fit is over."""
        _, bad_epochs = state
        return bool(bad_epochs > self.patience)
