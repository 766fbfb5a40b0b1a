"""The version in a pickle, so that another version of fastnn can say that the pickle is not its own."""

from typing import Any

import fastnn
from fastnn import notices

KEY = "_fastnn_version"


def stamped(state: dict[str, Any]) -> dict[str, Any]:
    """Return an object's state with the version of fastnn that writes it."""
    return state | {KEY: fastnn.__version__}


def unstamped(state: dict[str, Any], owner: object) -> dict[str, Any]:
    """Return the state that was stamped; warn, as scikit-learn does, if another version wrote it."""
    state = dict(state)
    writer = state.pop(KEY, "of an unknown version")
    if writer != fastnn.__version__:
        notices.warn(
            f"this {type(owner).__name__} was pickled by fastnn {writer}, and fastnn {fastnn.__version__} reads it: it "
            "may fail, or do something else than before; MLP.save writes a file that later versions read",
            UserWarning,
        )
    return state
