"""Dense neural networks on a CPU, at the speed of the machine."""

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

__all__ = [
    "NeuralNetwork",
    "available_isas",
    "isa",
    "matmul",
    "show_config",
    "sigmoid",
    "sigmoid_derivative",
]


def __getattr__(name: str) -> object:
    """Import what is seldom used on first use (PEP 562)."""
    if name == "show_config":
        from fastnn.config import show_config

        return show_config
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
