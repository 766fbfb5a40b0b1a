"""Dense neural networks on a CPU, at the speed of the machine."""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

try:
    from fastnn._kernels import available_isas, isa, matmul, sigmoid, sigmoid_derivative
except ModuleNotFoundError as _error:
    if _error.name != "fastnn._kernels":
        raise
    raise ImportError(
        f"the compiled part of fastnn is missing from {__path__[0]}: this is a source tree that was never built; "
        "run `pip install -e .` in the folder above it"
    ) from None

from fastnn.network import NeuralNetwork

if TYPE_CHECKING:
    from fastnn.config import show_config
    from fastnn.early_stopping import EarlyStopping
    from fastnn.estimators.classifier import MLPClassifier as MLPClassifier
    from fastnn.estimators.regressor import MLPRegressor as MLPRegressor
    from fastnn.history import History
    from fastnn.interchange.scikit_learn import from_sklearn
    from fastnn.interchange.torch import from_torch
    from fastnn.losses import Huber, Quantile
    from fastnn.mlp import MLP
    from fastnn.optimizers import SGD, Adam, AdamW, RMSProp
    from fastnn.schedules import (
        Constant,
        CosineDecay,
        ExponentialDecay,
        InverseScaling,
        ReduceOnPlateau,
        StepDecay,
        WarmUp,
    )

__all__ = [  # noqa: RUF022 - sorted as sorted() sorts
    "Adam",
    "AdamW",
    "Constant",
    "CosineDecay",
    "EarlyStopping",
    "ExponentialDecay",
    "History",
    "Huber",
    "InverseScaling",
    "MLP",
    "NeuralNetwork",
    "Quantile",
    "RMSProp",
    "ReduceOnPlateau",
    "SGD",
    "StepDecay",
    "WarmUp",
    "available_isas",
    "from_sklearn",
    "from_torch",
    "isa",
    "matmul",
    "show_config",
    "sigmoid",
    "sigmoid_derivative",
]


# What a program need not have at once, by the module that has it.
_LAZY = {
    "config": ("show_config",),
    "early_stopping": ("EarlyStopping",),
    "estimators.classifier": ("MLPClassifier",),
    "estimators.regressor": ("MLPRegressor",),
    "history": ("History",),
    "interchange.scikit_learn": ("from_sklearn",),
    "interchange.torch": ("from_torch",),
    "losses": ("Huber", "Quantile"),
    "mlp": ("MLP",),
    "optimizers": ("SGD", "RMSProp", "Adam", "AdamW"),
    "schedules": (
        "Constant",
        "StepDecay",
        "ExponentialDecay",
        "InverseScaling",
        "CosineDecay",
        "WarmUp",
        "ReduceOnPlateau",
    ),
}


# Those that are imported only with an extra.
_EXTRAS = {"estimators.classifier": "sklearn", "estimators.regressor": "sklearn"}


def __getattr__(name: str) -> object:
    """Import what is seldom used on first use (PEP 562)."""
    for module, names in _LAZY.items():
        if name in names:
            if module in _EXTRAS:
                from fastnn.extras import import_extra

                imported = import_extra(f"fastnn.{module}", _EXTRAS[module], f"fastnn.{name}")
            else:
                imported = importlib.import_module(f"fastnn.{module}")
            value = globals()[name] = getattr(imported, name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *(name for names in _LAZY.values() for name in names)})
