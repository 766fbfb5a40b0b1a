"""What the two estimators in scikit-learn's shape share: their parameters, and the course of a fit."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import _fit_context
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data

from fastnn import checks, notices
from fastnn.estimators.epochs import STOCHASTIC, Stochastic
from fastnn.estimators.fitted import FEW_ELEMENTS, Fitted
from fastnn.estimators.lbfgs import LBFGS, refuse_what_it_ignores
from fastnn.estimators.monitoring import CallbackSupportMixin, Monitor
from fastnn.estimators.solvers import Examples, refuse_idle_schedules
from fastnn.losses import ACTIVATIONS
from fastnn.mlp import MLP
from fastnn.optimizers import OPTIMIZERS
from fastnn.schedules import ReduceOnPlateau, Schedule

CLOSED_UNIT = Interval(Real, 0, 1, closed="both")
HALF_OPEN_UNIT = Interval(Real, 0, 1, closed="left")
AT_LEAST_0 = Interval(Real, 0, None, closed="left")
ABOVE_0 = Interval(Real, 0, None, closed="neither")
AT_LEAST_1 = Interval(Integral, 1, None, closed="left")


class BaseMLP(CallbackSupportMixin, Fitted):  # type: ignore[misc]
    """A network in scikit-learn's shape; `MLPClassifier` and `MLPRegressor` say what their parameters mean."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", AT_LEAST_1],
        "activation": [StrOptions({*ACTIVATIONS, "logistic"}), list, tuple],
        "solver": [StrOptions({"lbfgs", "sgd", "adam", "rmsprop", "adamw"}), *OPTIMIZERS],
        "alpha": [AT_LEAST_0],
        "batch_size": [StrOptions({"auto"}), AT_LEAST_1],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), Schedule, ReduceOnPlateau],
        "learning_rate_init": [ABOVE_0, Schedule, ReduceOnPlateau],
        "power_t": [AT_LEAST_0],
        "max_iter": [AT_LEAST_1],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [AT_LEAST_0],
        "verbose": ["verbose"],
        "warm_start": ["boolean", StrOptions({"resume"})],
        "momentum": [CLOSED_UNIT],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [HALF_OPEN_UNIT],
        "beta_1": [HALF_OPEN_UNIT],
        "beta_2": [HALF_OPEN_UNIT],
        "epsilon": [ABOVE_0],
        "n_iter_no_change": [AT_LEAST_1, Options(Real, {np.inf})],
        "max_fun": [AT_LEAST_1],
        "dropout": [HALF_OPEN_UNIT],
        "n_threads": [AT_LEAST_1, None],
        "max_time": [AT_LEAST_0, None],
        "callbacks": [callable, list, tuple],
    }

    _y_is_numeric: ClassVar[bool]  # what scikit-learn's validation is told of y

    def _learn_classes(self, y: Any, incremental: bool, classes: Any) -> None:
        """Learn what classes there are, or check that they are those of the fit before."""

    def _check_known(self, y: Any) -> None:
        """Raise a ValueError if there are other classes than the network's."""

    @abstractmethod
    def _encode(self, y: Any) -> Any:
        """Return the targets that the network learns: (n, k), or class numbers (n,)."""

    @abstractmethod
    def _output(self, y: NDArray[Any]) -> tuple[int, str, Any]:
        """Return how many outputs the targets make, scikit-learn's name of their activation, and MLP's loss."""

    @abstractmethod
    def _score_outputs(self, outputs: NDArray[Any], examples: Examples) -> float:
        """Return the score of a network's outputs on the examples of early stopping."""

    def _hidden_sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") and getattr(sizes, "ndim", 1) > 0 else [sizes]
        if any(isinstance(size, Real) and size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [checks.integer(size, f"hidden_layer_sizes[{i}]", minimum=1) for i, size in enumerate(sizes)]

    def _fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any = None,
        incremental: bool = False,
        validation: tuple[Any, Any] | None = None,
        classes: Any = None,
    ) -> "BaseMLP":
        monitor = None if incremental else Monitor(self, X, y, sample_weight)
        with self._alone():
            with self._as_it_was_if_refused(incremental):
                train = self._prepare(X, y, sample_weight, incremental, validation, classes, monitor)
                engine = self.network_._engine
                engine.acquire()
            try:
                if monitor is not None:
                    monitor.begin()
                train()
                if monitor is not None:
                    monitor.end()
            finally:
                engine.release()
        return self

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other fit of this estimator begin, in another thread or in a callback of this one."""
        own = object()
        if self.__dict__.setdefault("_fitting", own) is not own:
            raise RuntimeError(
                "the estimator is in use by another thread, or by the fit whose callback this is; give each an "
                "estimator of its own"
            )
        try:
            yield
        finally:
            del self._fitting

    @contextmanager
    def _as_it_was_if_refused(self, incremental: bool) -> Iterator[None]:
        """Choose the generator; if the fit then does not begin, bring back its state and all attributes.

        The generator may be the user's, or NumPy's global one. A partial_fit of a few rows takes less time than to read
        its state, and draws nothing before it begins but the first time.
        """
        before = dict(self.__dict__)
        begins_anew = self._begins_anew(incremental)
        # a stream begun anew would drop the same units each time; without dropout scikit-learn's numbers are due
        goes_on = self.dropout > 0 or (self.warm_start == "resume" and not incremental)
        if begins_anew or not goes_on or not hasattr(self, "_random_state"):
            self._random_state = check_random_state(self.random_state)
        generator = self._random_state
        state = generator.get_state(legacy=False) if begins_anew or self.early_stopping else None
        try:
            yield
        except BaseException:
            self.__dict__ = before
            if state is not None:
                generator.set_state(state)
            raise

    def _begins_anew(self, incremental: bool) -> bool:
        """Whether a fit makes a new network."""
        return not hasattr(self, "coefs_") or (not self.warm_start and not incremental)

    def _prepare(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any,
        incremental: bool,
        validation: tuple[Any, Any] | None,
        classes: Any,
        monitor: Monitor | None,
    ) -> Callable[[], None]:
        """Check all arguments and make what the fit needs; return what trains."""
        hidden = self._hidden_sizes()
        if self.solver == "lbfgs":
            refuse_what_it_ignores(self)
        else:
            refuse_idle_schedules(self)
        begins_anew = self._begins_anew(incremental)
        X, y = self._check_arrays(X, y, reset=begins_anew)  # noqa: N806
        self._learn_classes(y, incremental, classes)
        y = self._encode(y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        weights = self._weigh_classes(y, sample_weight, incremental)
        self.n_outputs_, self.out_activation_, loss = self._output(y)
        self._prepare_network([X.shape[1], *hidden, self.n_outputs_], loss, X.dtype, begins_anew)
        examples = Examples(X, y, weights, sample_weight)
        if self.solver == "lbfgs" and monitor is not None:
            return LBFGS(self, examples, monitor).run
        return Stochastic(self, examples, self._validation_examples(validation), monitor).run

    def _check_arrays(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:  # noqa: N803
        """Check X and y, and how many columns and names X has, or with `reset` learn them."""
        if not reset and self._are_plain(X, y):
            return X, y
        X, y = validate_data(  # noqa: N806
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=self._y_is_numeric,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y)
            notices.warn(
                "A column-vector y was passed when a 1d array was expected; y.ravel() is one.", DataConversionWarning
            )
        return X, y

    def _are_plain(self, X: Any, y: Any) -> bool:  # noqa: N803
        """Whether scikit-learn's validation, half the time of a partial_fit of one row, could only return X and y.

        Beyond FEW_ELEMENTS elements it does not matter.
        """
        return (
            type(X) is type(y) is np.ndarray
            and (X.ndim, y.ndim) == (2, 1)
            and X.dtype in (np.float64, np.float32)
            and y.dtype.kind in "biufU"
            and 0 < X.size <= FEW_ELEMENTS
            and X.shape == (len(y), self.__dict__.get("n_features_in_"))
            and "feature_names_in_" not in self.__dict__
            and bool(np.isfinite(X).all())
            and (y.dtype.kind != "f" or bool(np.isfinite(y).all()))
        )

    def _weigh_classes(self, y: NDArray[Any], sample_weight: Any, incremental: bool) -> Any:
        return sample_weight

    def _validation_examples(self, validation: tuple[Any, Any] | None) -> Examples | None:
        if validation is None:
            return None
        try:
            X, y = self._check_arrays(*validation, reset=False)  # noqa: N806
            self._check_known(y)
            return Examples(X, self._encode(y))
        except (TypeError, ValueError) as error:  # of scikit-learn's checks, to which they are X and y
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"X_val, y_val (checked as X, y): {error}") from None

    def _prepare_network(self, sizes: list[int], loss: Any, dtype: np.dtype[Any], begins_anew: bool) -> None:
        """Make the network, with new weights or with those there are, if it is not the one to go on with."""
        activations = [self.activation] * (len(sizes) - 2) if isinstance(self.activation, str) else self.activation
        options = {
            "activation": ["sigmoid" if name == "logistic" else name for name in activations],
            "loss": loss,
            "l2": float(self.alpha),
            "dropout": float(self.dropout),
        }
        if not begins_anew:
            self._go_on(sizes, options, dtype)
            return
        self._adopt(MLP(sizes, dtype=dtype, seed=0, convention="scikit-learn", **options))
        self._network_options = options
        self.n_layers_ = len(sizes)
        self.n_iter_ = self.t_ = 0
        self._draw_weights(activations)
        for name in STOCHASTIC:
            self.__dict__.pop(name, None)

    def _draw_weights(self, activations: Sequence[str]) -> None:
        """Draw what scikit-learn draws, in its order: uniform within Glorot and Bengio's (2010) limit."""
        name = self.activation if isinstance(self.activation, str) else None
        for layer, (coef, intercept) in enumerate(zip(self.coefs_, self.intercepts_, strict=True)):
            own = name or (activations[min(layer, len(activations) - 1)] if activations else "identity")
            limit = np.sqrt((2.0 if own in ("logistic", "sigmoid") else 6.0) / sum(coef.shape))
            coef[...] = self._random_state.uniform(-limit, limit, coef.shape)
            intercept[...] = self._random_state.uniform(-limit, limit, intercept.shape)

    def _go_on(self, sizes: list[int], options: dict[str, Any], dtype: np.dtype[Any]) -> None:
        """Keep the weights; only where set_params changed the network is it made anew."""
        shapes = [tuple(np.shape(coef)) for coef in self.coefs_]
        if shapes != list(pairwise(sizes)):
            raise ValueError(
                f"a further fit needs layers of the sizes of coefs_, {shapes}; hidden_layer_sizes and y ask for {sizes}"
            )
        network: MLP | None = self.__dict__.get("network_")
        if network is not None and options == self._network_options:
            self._synchronize()
            return
        dtype = dtype if network is None else network.dtype
        coefs, intercepts = self.coefs_, self.intercepts_
        self._adopt(MLP(sizes, dtype=dtype, seed=0, convention="scikit-learn", **options))
        self._network_options = options
        for arrays, views in ((coefs, self.coefs_), (intercepts, self.intercepts_)):
            for array, view in zip(arrays, views, strict=True):
                view[...] = array

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> "BaseMLP":  # noqa: N803
        """Train a new network, or with `warm_start` the one there is.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            Inputs.
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            Targets: class labels for a classifier, numbers for a regressor.
        sample_weight : array-like, shape (n_samples,), optional
            How much each row counts, at least 0.
        X_val, y_val : array-like, optional
            Further rows, which are not trained on. Their loss after each epoch goes to `validation_loss_curve_`; with
            `early_stopping` they take the place of the rows that would be set aside.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong, or the training diverges.
        RuntimeError
            If another thread, or the fit whose callback this is, uses the estimator.
        """
        if (X_val is None) != (y_val is None):
            missing = "X_val" if X_val is None else "y_val"
            raise ValueError(f"X_val and y_val must be given together; got {missing}=None")
        if X_val is not None and self.solver == "lbfgs":
            raise ValueError("X_val and y_val need a stochastic solver; got solver='lbfgs'")
        return self._fit(X, y, sample_weight, validation=None if X_val is None else (X_val, y_val))

    def _check_solver(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
