"""One fit: the engine's epochs, and what is done between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn import _engine
from fastnn._engine import HeldInterrupts
from fastnn.descent import Descent
from fastnn.history import LEARNING_RATE, LOSS, VALIDATION_LOSS, History
from fastnn.progress import Progress
from fastnn.schedules import ReduceOnPlateau

MOST_EPOCHS_IN_A_CALL = 1 << 16
MOST_EPOCHS_RESERVED = 1 << 20  # of the history at once
SHOWN_EVERY = 0.1  # seconds, with verbose=1


@dataclass
class Training:
    """What the epochs of one fit have in common, and the history that they write."""

    network: _engine.Network
    descent: Descent
    bit_generator: np.random.BitGenerator
    rows: _engine.Rows
    watch: _engine.Watch
    history: History
    batch_size: int
    shuffle: bool
    deadline: float  # on the clock of _engine.seconds
    n_threads: int
    diverged: bool = False

    def run(self, epochs: int, callbacks: Sequence[Callable[[History], Any]], verbose: int) -> None:
        """Train for so many epochs, or fewer: History.stopped_by says why."""
        history = self.history
        one_by_one = bool(callbacks) or isinstance(self.descent.optimizer.learning_rate, ReduceOnPlateau)
        chunk = 1 if one_by_one or verbose else MOST_EPOCHS_IN_A_CALL
        history.reserve(min(epochs, MOST_EPOCHS_RESERVED))
        try:
            with Progress(epochs, verbose) as progress:
                while history.epochs < epochs and history.stopped_by is None:
                    before, begin = history.epochs, _engine.seconds()
                    with HeldInterrupts() as interrupts:
                        self._run_epochs(min(chunk, epochs - before), interrupts)
                    if interrupts.pending and history.stopped_by is None:  # it came after the engine last looked
                        history.stopped_by = "interrupt"
                    progress.update(history)
                    if history.stopped_by is None and history.epochs < epochs and _engine.seconds() >= self.deadline:
                        history.stopped_by = "max_time"
                    stops = [callback(history) for callback in callbacks if history.epochs > before]
                    if history.stopped_by is None and any(isinstance(s, (bool, np.bool_)) and s for s in stops):
                        history.stopped_by = "callback"
                    if verbose and not one_by_one and _engine.seconds() - begin < SHOWN_EVERY:
                        chunk = min(2 * chunk, MOST_EPOCHS_IN_A_CALL)
        except KeyboardInterrupt:  # in a callback, or between two blocks of epochs
            history.stopped_by = "interrupt"
        finally:
            history.trim()

    def _run_epochs(self, n_epochs: int, interrupts: HeldInterrupts) -> None:
        """Do some epochs, or fewer, and tell the history."""
        history = self.history
        table = history.room(n_epochs)
        table[LEARNING_RATE] = self.descent.learning_rates(n_epochs)
        done, reason = self.network.fit(
            self.rows,
            self.batch_size,
            self.descent.steps,
            table,
            self.bit_generator,
            self.shuffle,
            self.watch,
            self.deadline,
            interrupts,
            self.n_threads,
        )
        validates = len(table) > VALIDATION_LOSS
        self.descent.advance(table[VALIDATION_LOSS if validates else LOSS, :done])
        history.count(done)
        if reason == "not_finite":
            self.diverged = True
            validation = ", that of validation_data" if validates else ""
            restores = self.watch.best_parameters is not None and self.watch.best_epoch >= 0
            kept = f"of epoch {self.watch.best_epoch}, the best one" if restores else "from before that epoch"
            raise FloatingPointError(
                f"the loss{validation} or a parameter is no longer finite in epoch {history.epochs}; the parameters "
                f"are those {kept}. A lower learning rate, clip_norm, or scaled inputs may help"
            )
        if reason != "finished":
            history.stopped_by = reason
