"""The display of a running fit."""

import importlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import numpy as np

from fastnn.history import History


class Progress:
    """A context manager around a fit: a bar if tqdm is installed, else lines, both on stderr; nothing if verbose is 0.

    The first and the last state are always shown, also when the fit ends early or with an exception. Between them
    passes a tenth of a second at least, and a hundredth of the time since the start: an hour's fit writes some 700
    lines, however many epochs it has.
    """

    def __init__(self, epochs: int, verbose: int) -> None:
        self._epochs = epochs
        self._verbose = check_verbose(verbose)
        self._history: History | None = None
        self._bar: Any = None
        self._shown = 0  # epochs on display
        self._start = self._due = 0.0

    def __enter__(self) -> "Progress":
        self._verbose = self._verbose and sys.stderr is not None
        if self._verbose:
            with self._ends_here_if_gone():
                self._bar = _new_bar(self._epochs)
            self._start = time.monotonic()
        return self

    @contextmanager
    def _ends_here_if_gone(self) -> Iterator[None]:
        """Show nothing any more where stderr takes nothing any more; that is no reason to end a fit."""
        try:
            yield
        except (OSError, ValueError):
            self._verbose = False
            if self._bar is not None:
                self._bar.disable, self._bar = True, None

    def update(self, history: History) -> None:
        """Show where the fit is, if it is time; called after each epoch or block of epochs."""
        if not self._verbose:
            return
        self._history = history
        now = time.monotonic()
        if now >= self._due and history.epochs > self._shown:
            with self._ends_here_if_gone():
                self._show(history, now - self._start)
            self._due = now + max(0.1, (now - self._start) / 100)

    def _show(self, history: History, elapsed: float) -> None:
        losses = {"loss": history.loss, "validation_loss": history.validation_loss}
        text = ", ".join(f"{name} {row[-1]:.4g}" for name, row in losses.items() if row is not None)
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(history.epochs - self._shown)
        else:
            left = elapsed / history.epochs * (self._epochs - history.epochs)
            print(f"epoch {history.epochs}/{self._epochs}, {text}, {_duration(left)} left", file=sys.stderr, flush=True)
        self._shown = history.epochs

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._verbose:
            return
        with self._ends_here_if_gone():
            try:
                if self._history is not None and self._history.epochs > self._shown:
                    self._show(self._history, time.monotonic() - self._start)
            finally:
                if self._bar is not None:
                    self._bar.close()


def say(line: str) -> None:
    """Print a line; where stdout takes nothing any more, a fit goes on without."""
    with suppress(OSError, ValueError):
        print(line)


def check_verbose(value: object) -> bool:
    """Return whether to show anything, for 0, 1, False or True."""
    if not isinstance(value, (int, bool, np.integer, np.bool_)) or value not in (0, 1):
        raise ValueError(f"verbose must be 0 or 1; got {value!r}")
    return bool(value)


def _new_bar(epochs: int) -> Any:
    """Return tqdm's bar, or None without tqdm."""
    try:
        tqdm = importlib.import_module("tqdm")  # has no types
    except ImportError:
        return None
    return tqdm.tqdm(total=epochs, unit="epoch", mininterval=0, miniters=1)  # Progress says how often


def _duration(seconds: float) -> str:
    """Return a time in words: 0.5 s, 12 s, 3:25 or 1:02:03."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02}"
