"""Ctrl-C while the network, the optimizer and the history change together."""

# The functions of `signal` make enumerations of numbers on their way, which takes longer than a small network's step.
import _signal  # type: ignore[import-not-found]
import threading
from types import FrameType, TracebackType


class HeldInterrupts:
    """A context manager in which Ctrl-C raises nothing: `pending` tells that it came.

    So an epoch's weights, optimizer state and history are changed all or none. It holds what Python itself would make a
    KeyboardInterrupt of; a signal handler of the program's own is left alone, and other threads than the main one hear
    no signals. What such a handler raises while the engine runs is raised at the end of the block.
    """

    def __init__(self) -> None:
        self.pending = False
        self._holds = False
        self._raised: BaseException | None = None

    def __enter__(self) -> "HeldInterrupts":
        self._holds = (
            threading.current_thread() is threading.main_thread()
            and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
        )
        if self._holds:
            _signal.signal(_signal.SIGINT, self._hold)
        return self

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self.pending = True

    def hold(self, raised: BaseException) -> None:
        """Keep what a signal's handler raised for the end of the block; a KeyboardInterrupt only ends the fit."""
        if not isinstance(raised, KeyboardInterrupt):
            self._raised = raised

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._holds:
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        if self._raised is not None and error is None:
            raise self._raised
