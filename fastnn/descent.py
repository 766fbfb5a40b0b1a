"""An optimizer at work: what one fit leaves for the next to go on with."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _engine, checks
from fastnn.optimizers import SGD, Adam, AdamW, Optimizer, RMSProp, check_optimizer
from fastnn.options import from_dict, to_dict
from fastnn.parameters import restore
from fastnn.schedules import PlateauState, ReduceOnPlateau, learning_rates


class Descent:
    """An optimizer on its way: the engine's state for it, the epochs that it has done, and the schedule's state."""

    def __init__(self, optimizer: Optimizer, parameters: NDArray[Any]) -> None:
        if not parameters.dtype.type(getattr(optimizer, "epsilon", 1.0)) > 0:
            raise ValueError(f"optimizer must have an epsilon above 0 in {parameters.dtype}; got {optimizer!r}")
        self.optimizer = optimizer
        self.steps = _steps(optimizer, parameters)
        self.epochs = 0
        rate = optimizer.learning_rate
        self.plateau = rate.start() if isinstance(rate, ReduceOnPlateau) else None

    def __copy__(self) -> "Descent":
        """Share the optimizer, which is not changed, and not its state."""
        twin = type(self).__new__(type(self))
        twin.__dict__ |= self.__dict__ | {"steps": copy.copy(self.steps)}
        return twin

    def learning_rates(self, n_epochs: int) -> NDArray[np.float64]:
        """Return the learning rates of the next epochs; with a plateau only that of the first is known."""
        rate = self.optimizer.learning_rate
        if isinstance(rate, ReduceOnPlateau):
            assert self.plateau is not None
            return np.full(n_epochs, self.plateau.learning_rate)
        rates = learning_rates(rate, self.epochs, n_epochs)
        if isinstance(rate, float):  # which was checked when the optimizer was made
            return rates
        wrong = rates[~(np.isfinite(rates) & (rates >= 0))]
        if len(wrong):
            raise ValueError(f"learning_rate must be finite and at least 0 in every epoch; {rate!r} gave {wrong[0]}")
        return rates

    def advance(self, losses: NDArray[np.float64]) -> None:
        """Count epochs that are done, by the losses that a plateau looks at."""
        self.epochs += len(losses)
        rate = self.optimizer.learning_rate
        if isinstance(rate, ReduceOnPlateau):
            for loss in losses:
                assert self.plateau is not None
                self.plateau = rate.next(self.plateau, float(loss))

    def to_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Describe it by what JSON takes, and by arrays."""
        header = {
            "optimizer": to_dict(self.optimizer),
            "epochs": self.epochs,
            "plateau": self.plateau,
            "beta_powers": [self.steps.beta_1_power, self.steps.beta_2_power],
        }
        return header, {f"optimizer.{name}": moment.copy() for name, moment in self._moments().items()}

    @classmethod
    def from_state(
        cls, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], parameters: NDArray[Any]
    ) -> "Descent":
        """Make again what `to_state` described."""
        descent = cls(check_optimizer(from_dict(header["optimizer"])), parameters)
        descent.epochs = checks.integer(header["epochs"], "epochs", minimum=0)
        if descent.plateau is not None:
            descent.plateau = PlateauState(*header["plateau"])
        beta_1_power, beta_2_power = header["beta_powers"]
        descent.steps.beta_1_power = checks.number(beta_1_power, "beta_powers[0]", minimum=0, maximum=1)
        descent.steps.beta_2_power = checks.number(beta_2_power, "beta_powers[1]", minimum=0, maximum=1)
        for name, moment in descent._moments().items():
            restore(moment, arrays[f"optimizer.{name}"], f"optimizer.{name}")
        return descent

    def _moments(self) -> dict[str, NDArray[Any]]:
        moments = {"first": self.steps.first, "second": self.steps.second}
        return {name: moment for name, moment in moments.items() if moment is not None}


def _steps(optimizer: Optimizer, parameters: NDArray[Any]) -> _engine.Optimizer:
    """Return the engine's form of an optimizer, with a new state."""
    clip_norm = optimizer.clip_norm or 0.0
    if isinstance(optimizer, SGD):
        kind = "nesterov" if optimizer.nesterov else "momentum" if optimizer.momentum else "sgd"
        return _engine.Optimizer(
            kind,
            parameters,
            beta_1=optimizer.momentum,
            clip_norm=clip_norm,
            rate_in_velocity=optimizer.rate_in_velocity,
        )
    if isinstance(optimizer, RMSProp):
        return _engine.Optimizer(
            "rmsprop", parameters, beta_2=optimizer.alpha, epsilon=optimizer.epsilon, clip_norm=clip_norm
        )
    return _engine.Optimizer(
        "adam",
        parameters,
        beta_1=optimizer.beta_1,
        beta_2=optimizer.beta_2,
        epsilon=optimizer.epsilon,
        weight_decay=optimizer.weight_decay if isinstance(optimizer, AdamW) else 0.0,
        clip_norm=clip_norm,
        epsilon_hat=optimizer.epsilon_hat if isinstance(optimizer, Adam) else False,
    )
