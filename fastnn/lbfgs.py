"""How an estimator trains its network on all rows at once, with SciPy's L-BFGS on the engine's loss and gradient."""

import math
import time
import warnings
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from fastnn.monitoring import Monitor
from fastnn.solvers import NOT_FINITE, Examples
from fastnn.threads import threads_of_call


class _EndError(Exception):
    """Ends SciPy's loop before it has converged."""


def fit_lbfgs(estimator: Any, examples: Examples, monitor: Monitor) -> None:
    """Minimize the loss of all rows by L-BFGS (Liu and Nocedal 1989), which computes in float64 for float32 too."""
    e, network = estimator, estimator.network_
    twin = network if network.dtype == np.float64 else network._in_float64()
    rows = examples.rows(twin)
    n_threads = threads_of_call(e.n_threads, 3 * len(rows.x) * network.parameters.size)
    deadline = math.inf if e.max_time is None else time.monotonic() + e.max_time
    best: dict[str, Any] = {"iterations": 0, "loss": math.inf}

    def loss_and_gradient(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        twin._engine.parameters[...] = parameters
        best["loss"], gradient = twin._engine.loss_and_gradient(rows, n_threads)
        return best["loss"], gradient

    def after_iteration(parameters: NDArray[np.float64]) -> None:
        best["iterations"] += 1
        best["parameters"] = parameters.copy()
        if e.verbose:
            print(f"Iteration {best['iterations']}, loss = {best['loss']:.8f}")
        stops = False
        if monitor.is_active:
            e.n_iter_ = best["iterations"] - 1
            monitor.begin_epoch()
            network._engine.parameters[...] = parameters
            stops = monitor.end_epoch()
        if stops or time.monotonic() >= deadline:
            raise _EndError

    try:
        result = scipy.optimize.minimize(
            loss_and_gradient,
            twin.parameters.copy(),
            method="L-BFGS-B",
            jac=True,
            callback=after_iteration,
            options={"maxfun": e.max_fun, "maxiter": e.max_iter, "gtol": e.tol},
        )
        e.n_iter_, e.loss_, parameters = min(result.nit, e.max_iter), float(result.fun), result.x
        if result.status != 0:
            warnings.warn(
                f"lbfgs failed to converge after {result.nit} iterations, status {result.status}:\n{result.message}\n\n"
                "Increase the number of iterations (max_iter) or scale the data.",
                ConvergenceWarning,
                stacklevel=2,
            )
    except _EndError:
        e.n_iter_, e.loss_, parameters = best["iterations"], best["loss"], best["parameters"]
    if not np.isfinite(parameters).all():
        raise ValueError(NOT_FINITE)
    network._engine.parameters[...] = parameters
