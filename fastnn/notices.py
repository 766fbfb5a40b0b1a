"""Warnings that name the line of the user's code."""

import sys
import warnings
from types import FrameType

# Packages whose frames lie between a user's call and a warning: scikit-learn's wrappers, and what they call through.
PASSED_OVER = ("fastnn", "sklearn", "joblib")


def warn(message: str, category: type[Warning]) -> None:
    """Warn as if from the innermost line outside of PASSED_OVER."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in PASSED_OVER:
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)
