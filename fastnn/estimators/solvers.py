"""What an estimator trains on, and the optimizers by scikit-learn's names and rules."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn import _engine
from fastnn.descent import Descent
from fastnn.mlp import MLP
from fastnn.optimizers import SGD, Adam, AdamW, Optimizer, RMSProp
from fastnn.schedules import ReduceOnPlateau, Schedule

SMALLEST_RATE = 1e-6  # of "adaptive"
NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


class Examples(NamedTuple):
    """Inputs, targets as the network takes them, and weights: of the loss, and of the score of early stopping."""

    x: Any
    y: NDArray[Any]
    weights: NDArray[Any] | None = None
    score_weights: NDArray[Any] | None = None

    def rows(self, network: MLP, names: tuple[str, str, str] = ("X", "y", "sample_weight")) -> _engine.Rows:
        """Describe them to the engine, by these names in errors."""
        x = self.x.tocsr() if hasattr(self.x, "tocsr") else self.x
        return network._rows(x, self.y, self.weights, names)


class Solver(Descent):
    """An optimizer at work by scikit-learn's rules for the learning rate: constant, invscaling or adaptive."""

    def __init__(self, optimizer: Optimizer, parameters: NDArray[Any], rule: str, power: float) -> None:
        super().__init__(optimizer, parameters)
        self.rule = rule
        self.power = power
        rate = optimizer.learning_rate
        self.follows_schedule = not isinstance(rate, float)
        self.initial = self.learning_rate = rate if isinstance(rate, float) else math.nan

    @property
    def rules(self) -> tuple[Optimizer, str, float | None]:
        """All that the estimator's parameters say of it."""
        return self.optimizer, self.rule, self.power if self.rule == "invscaling" else None

    def rates(self, n_epochs: int, samples: int, n_rows: int) -> NDArray[np.float64]:
        """Return the learning rates of the next epochs, of n_rows each, after so many samples in all."""
        if self.follows_schedule:
            return self.learning_rates(n_epochs)
        rates = np.full(n_epochs, self.learning_rate)
        if self.rule == "invscaling" and n_epochs > 1:
            seen = samples + n_rows * np.arange(1, n_epochs)
            rates[1:] = [self._scaled(each) for each in seen.tolist()]
        return rates

    def end_epochs(self, losses: NDArray[np.float64], samples: int) -> None:
        """Count epochs that are done, after so many samples in all."""
        self.advance(losses)
        if self.rule == "invscaling" and not self.follows_schedule:
            self.learning_rate = self._scaled(samples)

    def _scaled(self, samples: int) -> float:
        return self.initial * math.pow(samples + 1, -self.power)  # which may become 0 but never too large

    def slows(self) -> bool:
        """Lower the learning rate because there is no progress, if that is the rule and it is not too small yet."""
        if self.rule != "adaptive" or self.follows_schedule or self.learning_rate <= SMALLEST_RATE:
            return False
        self.learning_rate /= 5.0
        return True


def refuse_idle_schedules(estimator: Any) -> None:
    """Raise a ValueError if a parameter has no effect beside another one, and one of them is a schedule."""
    e = estimator
    given = [name for name in ("learning_rate", "learning_rate_init") if _is_schedule(getattr(e, name))]
    values = ", ".join(f"{name}={getattr(e, name)!r}" for name in ("learning_rate", "learning_rate_init"))
    if given and not isinstance(e.solver, str):
        raise ValueError(
            f"{given[0]} must not be a schedule where solver is an optimizer, whose own learning_rate it should be; "
            f"got {values}, solver={e.solver!r}"
        )
    if len(given) == 2:
        raise ValueError(f"only one of learning_rate and learning_rate_init must be a schedule; got {values}")
    if given == ["learning_rate_init"] and e.solver == "sgd" and e.learning_rate != "constant":
        raise ValueError(f"learning_rate must be 'constant' where learning_rate_init is a schedule; got {values}")


def _is_schedule(value: object) -> bool:
    return isinstance(value, (Schedule, ReduceOnPlateau))


def solver_of(estimator: Any, parameters: NDArray[Any]) -> Solver:
    """Return a new state for what the estimator's parameters describe."""
    e, solver = estimator, estimator.solver
    rate = e.learning_rate_init if isinstance(e.learning_rate, str) else e.learning_rate
    if not isinstance(solver, str):
        return Solver(solver, parameters, "constant", 0.0)
    rule = e.learning_rate if solver == "sgd" and isinstance(e.learning_rate, str) else "constant"
    if solver == "sgd":
        nesterov = bool(e.nesterovs_momentum) and e.momentum > 0
        optimizer: Optimizer = SGD(rate, momentum=e.momentum, nesterov=nesterov, rate_in_velocity=True)
    elif solver == "adam":
        optimizer = Adam(rate, beta_1=e.beta_1, beta_2=e.beta_2, epsilon=e.epsilon, epsilon_hat=True)
    elif solver == "adamw":
        optimizer = AdamW(rate, beta_1=e.beta_1, beta_2=e.beta_2, epsilon=e.epsilon)
    else:
        optimizer = RMSProp(rate, epsilon=e.epsilon)
    return Solver(optimizer, parameters, rule, float(e.power_t))
