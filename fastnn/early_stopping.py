"""When a fit stops because it no longer gets better."""

from dataclasses import KW_ONLY, dataclass

from fastnn import checks
from fastnn.options import Option

MONITORS = ("validation_loss", "loss")


@dataclass(frozen=True)
class EarlyStopping(Option):
    """Stop a fit when the loss has not fallen for a while (Prechelt 1998).

    An epoch is bad unless its loss is below ``best - min_delta``, best being the lowest loss that counted so far. The
    fit stops when more than `patience` epochs in a row were bad.

    Parameters
    ----------
    patience : int
        Bad epochs in a row that are borne; the next one stops the fit. At least 0.
    min_delta : float, default 0.0
        Smallest fall of the loss that counts, at least 0.
    restore_best : bool, default True
        Leave the network with the parameters of the epoch whose monitored loss was the lowest, however small its lead
        and however the fit ends, be it by an exception; else with those of the last epoch.
    monitor : {"validation_loss", "loss"}
        Which loss is meant; "validation_loss" needs validation data.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.

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
        if not isinstance(self.monitor, str) or self.monitor not in MONITORS:
            raise ValueError(f"monitor must be 'validation_loss' or 'loss'; got {self.monitor!r}")
