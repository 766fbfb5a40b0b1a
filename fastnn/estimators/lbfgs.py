"""How an estimator trains its network on all rows at once, with SciPy's L-BFGS on the engine's loss and gradient."""

import math
import time
from numbers import Real
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from fastnn import checks, notices
from fastnn.estimators.monitoring import Monitor
from fastnn.estimators.solvers import NOT_FINITE, Examples
from fastnn.mlp import MLP
from fastnn.progress import say
from fastnn.threads import threads_of_call


class _EndError(Exception):
    """Ends SciPy's loop before it has converged."""


def refuse_what_it_ignores(estimator: Any) -> None:
    """Raise a ValueError if a parameter that scikit-learn's networks lack has a value without effect on L-BFGS."""
    e = estimator
    ignored = {
        "learning_rate": not isinstance(e.learning_rate, str),
        "learning_rate_init": not isinstance(e.learning_rate_init, Real),
        "dropout": e.dropout > 0,
        "callbacks": bool(checks.functions(e.callbacks, "callbacks")),
        "warm_start": e.warm_start == "resume",
    }
    for name, is_given in ignored.items():
        if is_given:
            raise ValueError(f"{name}={getattr(e, name)!r} needs a stochastic solver; got solver='lbfgs'")


class LBFGS:
    """L-BFGS (Liu and Nocedal 1989) on the loss of all rows, which computes in float64 for float32 too."""

    def __init__(self, estimator: Any, examples: Examples, monitor: Monitor) -> None:
        self.estimator = e = estimator
        self.monitor = monitor
        self.network: MLP = e.network_
        self.twin = self.network if self.network.dtype == np.float64 else self.network._in_float64()
        self.rows = examples.rows(self.twin)
        work = 3 * self.twin._engine.forward_work(self.rows, goes_back=True)
        self.n_threads = threads_of_call(e.n_threads, work)
        self.deadline = math.inf if e.max_time is None else time.monotonic() + e.max_time
        self.iterations = 0
        self.loss = self.reached_loss = math.inf
        self.reached = self.start = self.twin.parameters.copy()

    def run(self) -> None:
        """Train until SciPy's rules, or a limit, say to stop."""
        try:
            self._minimize()
            if not (math.isfinite(self.reached_loss) and np.isfinite(self.reached).all()):
                self.reached = self.start
                raise ValueError(f"{NOT_FINITE} The weights are those from before the fit.")
        finally:  # after Ctrl-C too: what the last iteration reached, not what a line search tried
            self.network._engine.parameters[...] = self.reached
            self.estimator.n_iter_, self.estimator.loss_ = self.iterations, self.reached_loss

    def _minimize(self) -> None:
        e = self.estimator
        try:
            result = scipy.optimize.minimize(
                self._loss_and_gradient,
                self.start,
                method="L-BFGS-B",
                jac=True,
                callback=self._after_iteration,
                options={"maxfun": e.max_fun, "maxiter": e.max_iter, "gtol": e.tol},
            )
        except _EndError:
            return
        self.iterations = min(result.nit, e.max_iter)
        self.reached, self.reached_loss = result.x, float(result.fun)
        if result.status != 0 and math.isfinite(self.reached_loss):
            notices.warn(
                f"lbfgs failed to converge after {result.nit} iterations, status {result.status}:\n"
                f"{result.message}\n\n{self._advice(result)}",
                ConvergenceWarning,
            )

    def _advice(self, result: Any) -> str:
        """Say what may help after SciPy's loop has ended without success: not always a higher limit."""
        e = self.estimator
        if result.nit >= e.max_iter:
            return f"Increase the number of iterations (max_iter={e.max_iter}) or scale the data."
        if result.nfev >= e.max_fun:
            return f"Increase the number of evaluations of the loss (max_fun={e.max_fun}) or scale the data."
        return "You might want to scale the data."

    def _loss_and_gradient(self, parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        self.twin._engine.parameters[...] = parameters
        self.loss, gradient = self.twin._engine.loss_and_gradient(self.rows, self.n_threads)
        return self.loss, gradient

    def _after_iteration(self, parameters: NDArray[np.float64]) -> None:
        e, monitor = self.estimator, self.monitor
        self.iterations += 1
        self.reached, self.reached_loss = parameters.copy(), self.loss
        if e.verbose:
            say(f"Iteration {self.iterations}, loss = {self.loss:.8f}")
        stops = False
        if monitor.is_active:
            e.n_iter_ = self.iterations - 1
            monitor.begin_epoch()
            self.network._engine.parameters[...] = parameters
            stops = monitor.end_epoch()
        if stops or time.monotonic() >= self.deadline:
            raise _EndError
