"""A fitted estimator: the network that it has learned, and what it does with that."""

import operator
from contextlib import suppress
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from fastnn import pickles
from fastnn.mlp import MLP

FEW_ELEMENTS = 1 << 16  # elements of X, beyond which scikit-learn's validation does not matter beside the arithmetic


class Fitted(BaseEstimator):  # type: ignore[misc]
    """What a fit leaves, and its use.

    `network_`, a fastnn.MLP, holds all that was learned. `coefs_` and `intercepts_` are lists of views of its
    parameters; what a user puts in the place of one of them is copied into the network before it is next used.
    """

    @staticmethod
    def _attributes_of(network: MLP) -> dict[str, Any]:
        """Return the attributes that make a network one's own; `coefs_` and `intercepts_` are views of it."""
        coefs, intercepts = list(network.weights), list(network.biases)
        return {"network_": network, "coefs_": coefs, "intercepts_": intercepts, "_views": [*coefs, *intercepts]}

    def _adopt(self, network: MLP) -> None:
        self.__dict__.update(self._attributes_of(network))

    def _synchronize(self) -> Any:
        """Return the network, with what a user has put in the place of `coefs_` or `intercepts_` copied into it."""
        arrays = [*self.coefs_, *self.intercepts_]
        if any(map(operator.is_not, arrays, self._views)) or len(arrays) != len(self._views):
            pairs: Any = ((self.coefs_, self.network_.weights), (self.intercepts_, self.network_.biases))
            for arrays, target in pairs:
                if len(arrays) != len(target):
                    raise ValueError(f"coefs_ and intercepts_ must have {len(target)} arrays each; got {len(arrays)}")
                for i, array in enumerate(arrays):
                    target[i] = array
            self._adopt(self.network_)
        return self.network_

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_fitting", None)
        if "network_" not in state:
            return pickles.stamped(state)
        self._synchronize()
        for name in ("coefs_", "intercepts_", "_views"):
            state.pop(name, None)
        return state  # the network has the stamp, and one warning is enough

    def __setstate__(self, state: dict[str, Any]) -> None:
        is_fitted = "network_" in state
        super().__setstate__(state if is_fitted else pickles.unstamped(state, self))
        if is_fitted:
            self._adopt(self.network_)

    def _outputs(self, X: Any) -> Any:  # noqa: N803
        """Return the network's outputs (n, k).

        scikit-learn's validation takes a hundred times as long as one row of a small network. An array of floats, of
        the right width and finite, could not fail it, but for feature names that are missing; nor could sparse rows
        that the network takes.
        """
        fitted = self.__dict__
        is_plain = "network_" in fitted and "feature_names_in_" not in fitted
        if is_plain and getattr(X, "format", None) == "csr" and X.shape[0] > 0:
            with suppress(TypeError, ValueError):  # the validation says what is wrong
                return self._synchronize().predict(X, n_threads=self.n_threads)
        if is_plain and type(X) is np.ndarray and X.ndim == 2:
            network = self._synchronize()
            outputs = network._predict_plain(X, self.n_threads)
            if outputs is None and X.dtype.char in "fd" and X.size <= FEW_ELEMENTS:
                with np.errstate(over="ignore", under="ignore"):  # what is too large for float32 takes the long way
                    outputs = network._predict_plain(np.ascontiguousarray(X, network.dtype), self.n_threads)
            if outputs is not None:
                return outputs
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)  # noqa: N806
        return self._synchronize().predict(X.tocsr() if hasattr(X, "tocsr") else X, n_threads=self.n_threads)

    def _jacobian(self, X: Any) -> Any:  # noqa: N803
        """Return d output / d X, (n, k, d), or (n, d) where there is one output."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)  # noqa: N806
        jacobian = self._synchronize().jacobian(X.tocsr() if hasattr(X, "tocsr") else X)
        return jacobian.reshape(len(jacobian), -1) if self.n_outputs_ == 1 else jacobian

    def to_sklearn(self) -> Any:
        """Make a fitted estimator of scikit-learn of this one.

        It has the same parameters, weights and attributes, copied, predicts the same within rounding, and goes on from
        the state of the optimizer, the learning rate and the random stream, as with `from_sklearn` the other way round.
        After a `set_params` that asks for another optimizer it begins with a new one, as this one's next fit would.
        `n_threads` and `validation_loss_curve_` have no place there and are left off.

        Returns
        -------
        sklearn.neural_network.MLPClassifier or MLPRegressor

        Raises
        ------
        ValueError
            If a parameter has a value that scikit-learn lacks: an activation, solver or loss of fastnn's own, dropout,
            class_weight, max_time or callbacks. If `set_params` has changed activation or loss since the fit, or a
            subclass has added parameters.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        from fastnn.interchange.scikit_learn import to_sklearn

        return to_sklearn(self)
