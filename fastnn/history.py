"""What happened in a fit, epoch by epoch."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS = ("loss", "learning_rate", "seconds", "validation_loss")  # the last one only with validation data
MOST_LEFT = 1024  # epochs for which a history that is kept has room to no purpose
LOSS, LEARNING_RATE, SECONDS, VALIDATION_LOSS = range(len(ROWS))
STOPS = (None, "early_stopping", "max_time", "callback", "interrupt")


class History:
    """The losses, learning rates and times of the epochs of one fit.

    `fastnn.MLP.fit` makes it, fills it as it goes, shows it to the callbacks and returns it. Epochs are counted from 0,
    the first of this fit.

    Parameters
    ----------
    validation : bool, default False
        Whether the fit has validation data.
    monitor : {"validation_loss", "loss"}, optional
        The loss by which epochs are better than others; by default that of the validation data if there are any.

    Raises
    ------
    ValueError
        If monitor is none of these, or "validation_loss" without validation data.

    Attributes
    ----------
    loss : ndarray, shape (epochs,)
        Mean of the objective over the batches of the epoch, each before its update and weighted by its rows.
    validation_loss : ndarray, shape (epochs,), or None
        The objective on the validation data after the epoch; None without such data.
    learning_rate : ndarray, shape (epochs,)
    seconds : ndarray, shape (epochs,)
        What each epoch took.
    epochs : int
        How many there were.
    best_epoch : int or None
        The first with the lowest monitored loss; None if no epoch has a finite one.
    monitor : str
    stopped_by : {None, "early_stopping", "max_time", "callback", "interrupt"}
        Why the fit ended before its last epoch; None if it did not.

    Notes
    -----
    The arrays are float64 and read-only.
    """

    def __init__(self, *, validation: bool = False, monitor: str | None = None) -> None:
        if monitor is None:
            monitor = "validation_loss" if validation else "loss"
        if monitor not in ("validation_loss", "loss") or (monitor == "validation_loss" and not validation):
            expected = "'validation_loss' or 'loss'" if validation else "'loss' without validation data"
            raise ValueError(f"monitor must be {expected}; got {monitor!r}")
        self.monitor = monitor
        self.epochs = 0
        self.best_epoch: int | None = None
        self.stopped_by: str | None = None
        self._best = math.inf
        n_rows = len(ROWS) if validation else len(ROWS) - 1
        self._table = np.empty((n_rows, 0))  # a row for each of ROWS, as long as there is room

    @property
    def loss(self) -> NDArray[np.float64]:
        """The objective in training, shape (epochs,)."""
        return self._row("loss")

    @property
    def validation_loss(self) -> NDArray[np.float64] | None:
        """The objective on the validation data, shape (epochs,), or None."""
        return self._row("validation_loss") if self._validates else None

    @property
    def learning_rate(self) -> NDArray[np.float64]:
        """The learning rates, shape (epochs,)."""
        return self._row("learning_rate")

    @property
    def seconds(self) -> NDArray[np.float64]:
        """What each epoch took, shape (epochs,)."""
        return self._row("seconds")

    @property
    def _validates(self) -> bool:
        return len(self._table) == len(ROWS)

    def _row(self, name: str) -> NDArray[np.float64]:
        row = self._table[ROWS.index(name), : self.epochs]
        row.flags.writeable = False
        return row

    def append(
        self,
        loss: ArrayLike,
        learning_rate: ArrayLike,
        seconds: ArrayLike,
        validation_loss: ArrayLike | None = None,
    ) -> None:
        """Add a block of epochs, as many as there are losses.

        The others are arrays of that length or one number for all. `seconds` is what each epoch took;
        `validation_loss` is given if, and only if, the fit has validation data.

        Raises
        ------
        ValueError
            If validation_loss is given where it should not be, or not where it should, or the lengths differ.
        """
        if (validation_loss is not None) != self._validates:
            raise ValueError(f"validation_loss must {'' if self._validates else 'not '}be given for this history")
        n_epochs = np.size(loss)
        for row, values in zip(self.room(n_epochs), (loss, learning_rate, seconds, validation_loss), strict=False):
            row[:] = values
        self.count(n_epochs)

    def room(self, n_epochs: int) -> NDArray[np.float64]:
        """Return the place of the next epochs, a row for each of ROWS, to be written to before they are counted."""
        end = self.epochs + n_epochs
        self.reserve(end)
        return self._table[:, self.epochs : end]

    def count(self, n_epochs: int) -> None:
        """Add so many epochs that are written down in their `room`."""
        end = self.epochs + n_epochs
        self._look_for_the_best(self._table[ROWS.index(self.monitor), self.epochs : end])
        self.epochs = end

    def reserve(self, epochs: int) -> None:
        """Make room for so many epochs, or twice what there is, so that the cost of an epoch stays constant."""
        capacity = self._table.shape[1]
        if epochs > capacity:
            table = np.empty((len(self._table), max(epochs, 2 * capacity, 16)))
            if self.epochs > 0:
                table[:, : self.epochs] = self._table[:, : self.epochs]
            self._table = table

    def trim(self) -> None:
        """Give back the room of epochs that a fit was to have and that it ended before."""
        if self._table.shape[1] - self.epochs > MOST_LEFT:
            self._table = self._table[:, : self.epochs].copy()

    def _look_for_the_best(self, losses: NDArray[np.float64]) -> None:
        """Update best_epoch by the losses of the epochs from self.epochs on; not a number and -inf are none."""
        if len(losses) == 0:
            return
        first = int(losses.argmin())
        if not losses[first] > -math.inf:  # which hides the others
            losses = np.where(losses > -math.inf, losses, math.inf)
            first = int(losses.argmin())
        if losses[first] < self._best:
            self._best = float(losses[first])
            self.best_epoch = self.epochs + first

    def to_dict(self) -> dict[str, Any]:
        """Return all that is needed to make this history again: strings and None under their names, and arrays."""
        arrays = {name: getattr(self, name).copy() for name in ROWS[: len(self._table)]}
        return {"monitor": self.monitor, "stopped_by": self.stopped_by, **arrays}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "History":
        """Make the history that `to_dict` described.

        Raises
        ------
        TypeError, ValueError
            If the values are not of a history.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"values must be a mapping, as of to_dict; got {values!r}")
        names = {"monitor", "stopped_by", *ROWS}
        if values.keys() not in (names, names - {"validation_loss"}):
            raise ValueError(f"a history has {', '.join(sorted(names))}; got {', '.join(sorted(values))}")
        if values["stopped_by"] not in STOPS:
            raise ValueError(f"stopped_by must be one of {', '.join(map(repr, STOPS))}; got {values['stopped_by']!r}")
        rows = {name: np.asarray(values[name]) for name in ROWS if name in values}
        shapes = {row.shape for row in rows.values()}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1 or any(row.dtype != np.float64 for row in rows.values()):
            raise ValueError("the arrays of a history must be float64, one-dimensional and of one length")
        history = cls(validation="validation_loss" in rows, monitor=values["monitor"])
        history.append(**rows)
        history.stopped_by = values["stopped_by"]
        return history

    def __repr__(self) -> str:
        parts = [f"{self.epochs} epoch{'s' if self.epochs != 1 else ''}"]
        if self.epochs:
            for name in ("loss", "validation_loss"):
                losses = getattr(self, name)
                if losses is not None:
                    parts.append(f"{name} {losses[0]:.4g} -> {losses[-1]:.4g}")
            parts += [f"best_epoch {self.best_epoch}", f"{self.seconds.sum():.3g} s"]
        if self.stopped_by:
            parts.append(f"stopped by {self.stopped_by}")
        return f"History({', '.join(parts)})"

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw training and validation loss against the epoch, and mark the best epoch.

        The losses stand on a logarithmic axis if they span more than two decades.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default in a new figure.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        if ax is None:
            ax = _new_axes()
        shown = {"loss": "training"}
        if self._validates:
            shown["validation_loss"] = "validation"
        marker = "." if self.epochs < 30 else None
        for name, label in shown.items():
            ax.plot(np.arange(self.epochs), self._row(name), marker=marker, label=label)
        if self.best_epoch is not None:
            label = f"best epoch: {self.best_epoch}"
            ax.plot(self.best_epoch, self._best, "o", mfc="none", mec="black", ms=9, ls="none", label=label)
        losses = np.concatenate([self._row(name) for name in shown])
        losses = losses[np.isfinite(losses)]
        if len(losses) and losses.min() > 0 and losses.max() > 100 * losses.min():
            ax.set_yscale("log")
        ax.locator_params(axis="x", integer=True)
        ax.set(xlabel="epoch", ylabel="loss")
        ax.grid(alpha=0.3)
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
        return ax


def _new_axes() -> "Axes":
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError('History.plot needs matplotlib; run: pip install "fastnn-cpu[plot]"') from None
    return pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")[1]
