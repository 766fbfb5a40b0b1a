"""The losses by name: what each may be given, and the output activations that go with it.

fastnn.MLP says what they compute.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fastnn import checks
from fastnn.options import Option

# The elementwise activations; "softmax" and "exp" exist only as a loss's own output activation.
ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "gelu", "silu", "sin")


@dataclass(frozen=True)
class Huber(Option):
    """Huber's (1964) loss: the squared error near the target, the absolute error far from it.

    With e = p - y it is the mean over rows and outputs of ``e**2 / 2`` where abs(e) <= delta, else of
    ``delta * (abs(e) - delta / 2)``, as PyTorch's huber_loss.

    Parameters
    ----------
    delta : float, default 1.0
        The error at which one becomes the other, above 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        self._set(delta=checks.number(self.delta, "delta", above=0))


@dataclass(frozen=True)
class Quantile(Option):
    """The pinball loss, whose smallest value the q-quantile of the targets has (Koenker and Bassett 1978).

    It is the mean over rows and outputs of ``max(q * (y - p), (q - 1) * (y - p))``; with q = 0.5 half the absolute
    error.

    Parameters
    ----------
    q : float, default 0.5
        The quantile to predict, in (0, 1).

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.
    """

    q: float = 0.5

    def __post_init__(self) -> None:
        self._set(q=checks.number(self.q, "q", above=0, below=1))


class LossTraits(NamedTuple):
    """What goes with a loss."""

    output_activation: str  # unless another is asked for
    output_activations: tuple[str, ...]  # all that may be
    parameter: float = 0.0  # unless another is given; 0 where the loss has none


LOSSES = {
    "sse": LossTraits("identity", ACTIVATIONS),
    "mse": LossTraits("identity", ACTIVATIONS),
    "mae": LossTraits("identity", ACTIVATIONS),
    "huber": LossTraits("identity", ACTIVATIONS, Huber().delta),
    "quantile": LossTraits("identity", ACTIVATIONS, Quantile().q),
    "poisson": LossTraits("exp", ("exp",)),
    "binary_cross_entropy": LossTraits("sigmoid", ("sigmoid",)),
    "cross_entropy": LossTraits("softmax", ("softmax",)),
}


def parse_loss(value: object) -> tuple[str, float]:
    """Return the loss's name and its parameter: Huber's delta, Quantile's q, 0 for the others."""
    if isinstance(value, Huber):
        return "huber", value.delta
    if isinstance(value, Quantile):
        return "quantile", value.q
    if isinstance(value, str) and value in LOSSES:
        return value, LOSSES[value].parameter
    raise ValueError(
        f"loss must be one of {_quoted(tuple(LOSSES))}, fastnn.Huber(delta) or fastnn.Quantile(q); got {value!r}"
    )


def loss_from(name: str, parameter: float) -> str | Huber | Quantile:
    """Return what parse_loss made this name and parameter of."""
    return Huber(parameter) if name == "huber" else Quantile(parameter) if name == "quantile" else name


def parse_activations(value: object, n_hidden: int) -> tuple[str, ...]:
    """Return the activation of each hidden layer, for a name or one name for each."""
    if isinstance(value, str):
        names = [value] * max(n_hidden, 1)  # checked without hidden layers too
    elif isinstance(value, Sequence):
        names = list(value)
    else:
        raise TypeError(f"activation must be a name or a sequence of names; got {value!r}")
    if not isinstance(value, str) and len(names) != n_hidden:
        raise ValueError(f"activation must be a name or one for each of the {n_hidden} hidden layers; got {value!r}")
    for name in names:
        if not isinstance(name, str) or name not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {_quoted(ACTIVATIONS)}; got {name!r}")
    return tuple(names[:n_hidden])


def parse_output_activation(value: object, loss: str) -> str:
    """Return the output activation that value names, or the loss's own for None."""
    traits = LOSSES[loss]
    if value is None:
        return traits.output_activation
    if not isinstance(value, str) or value not in traits.output_activations:
        expected = _quoted(traits.output_activations)
        one_of = "one of " if len(traits.output_activations) > 1 else ""
        raise ValueError(f"output_activation must be {one_of}{expected} with loss {loss!r}; got {value!r}")
    return value


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in names)
