"""The optimizers: how a step is made from the gradient. These are descriptions; the engine does the arithmetic.

In the formulas w is the block of all parameters, g its gradient and t the number of the step, 1 for the first.
"""

from dataclasses import KW_ONLY, dataclass
from typing import TypeAlias

from fastnn import checks
from fastnn.options import Option
from fastnn.schedules import ReduceOnPlateau, Schedule, check_learning_rate


@dataclass(frozen=True)
class SGD(Option):
    """Stochastic gradient descent, with momentum if wanted.

    With g the gradient and v = 0 at first::

        v = momentum * v + g
        w -= learning_rate * v                      # nesterov: learning_rate * (g + momentum * v)

    The form is PyTorch's, with Polyak's (1964) momentum and Nesterov's (1983) as Sutskever et al. (2013) write it. With
    `rate_in_velocity` it is TensorFlow's and scikit-learn's, which differs where the learning rate changes::

        v = momentum * v + learning_rate * g
        w -= v                                      # nesterov: learning_rate * g + momentum * v

    Parameters
    ----------
    learning_rate : float or schedule, default 0.01
        Length of a step, at least 0.
    momentum : float, default 0.0
        What is kept of the last step's v, in [0, 1].
    nesterov : bool, default False
        Look ahead along v; needs a momentum above 0.
    clip_norm : float, optional
        Gradients with a larger Euclidean norm, over all parameters, are scaled down to this one.
    rate_in_velocity : bool, default False
        Which of the two forms is meant.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.SGD(0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=False, clip_norm=None, rate_in_velocity=False)
    """

    learning_rate: float | Schedule | ReduceOnPlateau = 0.01
    _: KW_ONLY
    momentum: float = 0.0
    nesterov: bool = False
    clip_norm: float | None = None
    rate_in_velocity: bool = False

    def __post_init__(self) -> None:
        self._set(
            learning_rate=check_learning_rate(self.learning_rate, "learning_rate"),
            momentum=checks.number(self.momentum, "momentum", minimum=0, maximum=1),
            nesterov=checks.boolean(self.nesterov, "nesterov"),
            clip_norm=_check_clip_norm(self.clip_norm),
            rate_in_velocity=checks.boolean(self.rate_in_velocity, "rate_in_velocity"),
        )
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov must be False without momentum; got nesterov=True, momentum=0.0")


@dataclass(frozen=True)
class RMSProp(Option):
    """Steps divided by a running root mean square of the gradient, parameter by parameter.

    With g the gradient and s = 0 at first::

        s = alpha * s + (1 - alpha) * g**2
        w -= learning_rate * g / (sqrt(s) + epsilon)

    From Tieleman and Hinton (2012), lecture 6.5 of "Neural networks for machine learning"; epsilon stands where
    PyTorch has it.

    Parameters
    ----------
    learning_rate : float or schedule, default 0.01
        Length of a step, at least 0.
    alpha : float, default 0.99
        What is kept of s in a step, in [0, 1).
    epsilon : float, default 1e-8
        Keeps the divisor away from 0, above 0.
    clip_norm : float, optional
        Gradients with a larger Euclidean norm, over all parameters, are scaled down to this one.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.
    """

    learning_rate: float | Schedule | ReduceOnPlateau = 0.01
    _: KW_ONLY
    alpha: float = 0.99
    epsilon: float = 1e-8
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        self._set(
            learning_rate=check_learning_rate(self.learning_rate, "learning_rate"),
            alpha=checks.number(self.alpha, "alpha", minimum=0, below=1),
            epsilon=checks.number(self.epsilon, "epsilon", above=0),
            clip_norm=_check_clip_norm(self.clip_norm),
        )


@dataclass(frozen=True)
class Adam(Option):
    """Steps along a running mean of the gradient, divided by the root of a running mean of its square.

    With g the gradient and m = v = 0 at first, step t = 1, 2, ... is::

        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        w -= learning_rate * (m / (1 - beta_1**t)) / (sqrt(v / (1 - beta_2**t)) + epsilon)

    Algorithm 1 of Kingma and Ba (2015), which is also PyTorch's form. With `epsilon_hat` the last line is that of the
    end of their section 2, as in TensorFlow and scikit-learn::

        w -= learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)

    Parameters
    ----------
    learning_rate : float or schedule, default 1e-3
        Length of a step, at least 0.
    beta_1, beta_2 : float, default 0.9 and 0.999
        What is kept of m and of v in a step, in [0, 1).
    epsilon : float, default 1e-8
        Keeps the divisor away from 0, above 0.
    clip_norm : float, optional
        Gradients with a larger Euclidean norm, over all parameters, are scaled down to this one.
    epsilon_hat : bool, default False
        Which of the two forms is meant.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.
    """

    learning_rate: float | Schedule | ReduceOnPlateau = 1e-3
    _: KW_ONLY
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    clip_norm: float | None = None
    epsilon_hat: bool = False

    def __post_init__(self) -> None:
        self._set(
            learning_rate=check_learning_rate(self.learning_rate, "learning_rate"),
            beta_1=checks.number(self.beta_1, "beta_1", minimum=0, below=1),
            beta_2=checks.number(self.beta_2, "beta_2", minimum=0, below=1),
            epsilon=checks.number(self.epsilon, "epsilon", above=0),
            clip_norm=_check_clip_norm(self.clip_norm),
            epsilon_hat=checks.boolean(self.epsilon_hat, "epsilon_hat"),
        )


@dataclass(frozen=True)
class AdamW(Option):
    """Adam with decoupled weight decay: before each of Adam's steps, all parameters shrink.

    The shrinking knows nothing of the gradient, so it is not l2 of the network::

        w -= learning_rate * weight_decay * w
        w -= ...                                    # the step of Adam

    Algorithm 2 of Loshchilov and Hutter (2019) in PyTorch's form, where the decay is multiplied by the learning rate
    and acts on the biases too.

    Parameters
    ----------
    learning_rate : float or schedule, default 1e-3
        Length of a step, at least 0.
    beta_1, beta_2 : float, default 0.9 and 0.999
        What is kept of m and of v in a step, in [0, 1).
    epsilon : float, default 1e-8
        Keeps the divisor away from 0, above 0.
    weight_decay : float, default 0.01
        How much of the parameters goes in a step, as a factor on the learning rate, at least 0.
    clip_norm : float, optional
        Gradients with a larger Euclidean norm, over all parameters, are scaled down to this one.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.
    """

    learning_rate: float | Schedule | ReduceOnPlateau = 1e-3
    _: KW_ONLY
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        self._set(
            learning_rate=check_learning_rate(self.learning_rate, "learning_rate"),
            beta_1=checks.number(self.beta_1, "beta_1", minimum=0, below=1),
            beta_2=checks.number(self.beta_2, "beta_2", minimum=0, below=1),
            epsilon=checks.number(self.epsilon, "epsilon", above=0),
            weight_decay=checks.number(self.weight_decay, "weight_decay", minimum=0),
            clip_norm=_check_clip_norm(self.clip_norm),
        )


Optimizer: TypeAlias = SGD | RMSProp | Adam | AdamW
OPTIMIZERS = (SGD, RMSProp, Adam, AdamW)


def _check_clip_norm(value: object) -> float | None:
    return None if value is None else checks.number(value, "clip_norm", above=0)


DEFAULT = Adam()  # made once, for its fields take longer to check than a small network's step


def check_optimizer(value: object) -> Optimizer:
    """Return value if it is an optimizer, and Adam() for None."""
    if value is None:
        return DEFAULT
    if not isinstance(value, OPTIMIZERS):
        names = ", ".join(f"fastnn.{cls.__name__}" for cls in OPTIMIZERS)
        raise TypeError(f"optimizer must be None or an instance of one of {names}; got {value!r}")
    return value
