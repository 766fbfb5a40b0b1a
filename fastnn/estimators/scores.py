"""The scores of early stopping: what sklearn.metrics computes, without its look at what kind of labels there are."""

import numpy as np
from numpy.typing import NDArray


def accuracy(outputs: NDArray[np.floating], targets: NDArray[np.integer], weights: NDArray[np.float64] | None) -> float:
    """Return the weighted share of rows that are classified rightly, in all their labels.

    Parameters
    ----------
    outputs : ndarray, shape (n, k)
        Probabilities of the classes, or of the labels.
    targets : ndarray, shape (n,) or (n, k)
        Class numbers, or zeros and ones.
    weights : ndarray, shape (n,), or None
    """
    classes = targets.ndim == 1
    right = outputs.argmax(axis=1) == targets if classes else ((outputs > 0.5) == targets).all(axis=1)
    return float(np.average(right, weights=weights))


def r2(outputs: NDArray[np.floating], targets: NDArray[np.number], weights: NDArray[np.float64] | None) -> float:
    """Return the coefficient of determination, the mean over outputs; of a constant target 1 if it is met, else 0.

    Parameters
    ----------
    outputs, targets : ndarray, shape (n, k)
    weights : ndarray, shape (n,), or None
    """
    targets = targets.astype(np.float64)
    factors = np.ones(len(targets)) if weights is None else weights
    residual = factors @ (targets - outputs) ** 2
    total = factors @ (targets - np.average(targets, axis=0, weights=weights)) ** 2
    scores = np.where(residual == 0, 1.0, 0.0)
    np.divide(residual, total, out=residual, where=total != 0)
    scores[total != 0] = 1 - residual[total != 0]
    return float(scores.mean())
