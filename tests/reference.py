"""The mathematics of fastnn in plain NumPy, as a textbook writes it; the tests hold the compiled library against it.

Every function works in the dtype of its arguments, which for a test is float64, or np.longdouble to judge float64. The
network's functions also take a stack of networks: leading dimensions broadcast, as in numpy.matmul.
"""

import math
from fractions import Fraction

import numpy as np


def sigmoid(z):
    """1 / (1 + e^-z)."""
    with np.errstate(over="ignore"):  # e^-z may become infinite; the quotient is then 0, as it should be
        return 1 / (1 + np.exp(-z))


def sigmoid_derivative(a):
    """The sigmoid's derivative as a function of its value a = sigmoid(z)."""
    return a * (1 - a)


def matmul(a, b):
    """The product of two matrices."""
    return a @ b


def transpose(a):
    """Swap rows and columns, of each matrix of a stack."""
    return np.swapaxes(a, -1, -2)


def sum_squared_error(y, output):
    """The loss, over the rows and columns of each network."""
    return np.sum((y - output) ** 2, axis=(-2, -1))


def forward(x, weights1, weights2):
    """The activations (layer1, output) of the two-layer network."""
    layer1 = sigmoid(x @ weights1)
    return layer1, sigmoid(layer1 @ weights2)


def gradients(x, y, weights2, layer1, output):
    """What the loss falls by per unit of each weight: minus its gradient, as (gradient1, gradient2)."""
    delta2 = 2 * (y - output) * sigmoid_derivative(output)
    delta1 = (delta2 @ transpose(weights2)) * sigmoid_derivative(layer1)
    return transpose(x) @ delta1, transpose(layer1) @ delta2


def update(x, y, weights1, weights2, layer1, output, learning_rate=1.0):
    """The weights (weights1, weights2) after one step along the negative gradient."""
    gradient1, gradient2 = gradients(x, y, weights2, layer1, output)
    return weights1 + learning_rate * gradient1, weights2 + learning_rate * gradient2


def train(x, y, weights1, weights2, iterations, learning_rate=1.0):
    """Iterate forward and update.

    Returns the weights after the last update, the activations before it, and the losses before each.
    """
    losses = []
    for _ in range(iterations):
        layer1, output = forward(x, weights1, weights2)
        losses.append(sum_squared_error(y, output))
        weights1, weights2 = update(x, y, weights1, weights2, layer1, output, learning_rate)
    return weights1, weights2, layer1, output, np.array(losses)


def fma(a, b, c):
    """a b + c, rounded once, in the dtype of c: float32 or float64, all finite."""
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    return rounded(exact, np.asarray(c).dtype)


def rounded(exact, dtype):
    """The number of dtype nearest to a fraction."""
    nearest = float(exact)  # Python rounds a fraction to nearest, ties to even
    if dtype == np.float64:
        return nearest
    # To round a second time is safe from a double that is exact or else odd: it cannot be a tie of float32.
    if Fraction(nearest) != exact and np.float64(nearest).view(np.int64) % 2 == 0:
        nearest = np.nextafter(nearest, np.inf if exact > Fraction(nearest) else -np.inf)
    return np.float32(nearest)


def activation(name, z):
    """f(z) for a layer's activation f; gelu is right in float64, no better in long double."""
    with np.errstate(over="ignore", under="ignore"):
        return ACTIVATION[name](z)


def activation_derivative(name, z):
    """f'(z); at a kink the negative side's."""
    with np.errstate(over="ignore", under="ignore"):
        return DERIVATIVE[name](z)


def normal_cdf(z):
    """The standard normal distribution function, from Python's erfc."""
    erfc = np.array([math.erfc(v) for v in np.ravel(z) / -math.sqrt(2)]).reshape(np.shape(z))
    return erfc.astype(np.asarray(z).dtype) / 2


ACTIVATION = {
    "identity": lambda z: z,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, z * z.dtype.type(0.01)),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "softplus": lambda z: np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))),
    "gelu": lambda z: z * normal_cdf(z),
    "silu": lambda z: z * sigmoid(z),
    "sin": np.sin,
    "exp": np.exp,
}

DERIVATIVE = {
    "identity": np.ones_like,
    "sigmoid": lambda z: sigmoid(z) * sigmoid(-z),
    "tanh": lambda z: 1 / np.cosh(z) ** 2,
    "relu": lambda z: (z > 0).astype(z.dtype),
    "leaky_relu": lambda z: np.where(z > 0, z.dtype.type(1), z.dtype.type(0.01)),
    "elu": lambda z: np.exp(np.minimum(z, 0)),
    "softplus": sigmoid,
    "gelu": lambda z: normal_cdf(z) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi),
    "silu": lambda z: sigmoid(z) * (1 + z * sigmoid(-z)),
    "sin": np.cos,
    "exp": np.exp,
}
