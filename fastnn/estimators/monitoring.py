"""scikit-learn's own callbacks, which its version 1.9 introduced: what they are told of a fit."""

import copy
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ModuleNotFoundError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: there are no callbacks."""


class Monitor:
    """A fit and its epochs or iterations as the tasks that the callbacks of `set_callbacks` follow.

    Parameters
    ----------
    estimator : BaseMLP
    X, y, sample_weight
        What `fit` was given.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:  # noqa: N803
        self._estimator = estimator
        self.is_active = bool(getattr(estimator, "_skl_callbacks", ())) or hasattr(estimator, "_parent_callback_ctx")
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        self._arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._fit: Any = None
        self._epoch: Any = None

    def begin(self) -> None:
        """Say that the fit begins."""
        if self.is_active:
            self._fit = self._estimator._init_callback_context(max_subtasks=self._estimator.max_iter)
            self._fit.call_on_fit_task_begin(**self._arguments)

    def begin_epoch(self) -> None:
        """Say that an epoch begins."""
        if self.is_active:
            self._epoch = self._fit.subcontext(task_name=f"iteration {self._estimator.n_iter_}")
            self._epoch.call_on_fit_task_begin(**self._arguments)

    def end_epoch(self) -> bool:
        """Say that an epoch has ended; return whether a callback wants the fit to end."""
        return self.is_active and bool(
            self._epoch.call_on_fit_task_end(**self._arguments, reconstruction_attributes=self._fitted)
        )

    def end(self) -> None:
        """Say that the fit has ended."""
        if self.is_active:
            self._fit.call_on_fit_task_end(**self._arguments, reconstruction_attributes=self._fitted)

    def _fitted(self) -> dict[str, Any]:
        """Return what makes an unfitted copy one that can predict: the network of this moment."""
        attributes: dict[str, Any] = self._estimator._attributes_of(copy.copy(self._estimator.network_))
        return attributes
