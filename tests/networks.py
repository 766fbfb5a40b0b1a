"""Networks for the tests of MLP: the same one for fastnn and for the reference, and data that suit it."""

import numpy as np
import reference_mlp as reference

import fastnn

ACTIVATIONS = ["identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "gelu", "silu", "sin"]
LOSSES = ["sse", "mse", "mae", "huber", "quantile", "poisson", "binary_cross_entropy", "cross_entropy"]
FREE_LOSSES = ["sse", "mse", "mae", "huber", "quantile"]  # those that take any output activation
OWN_OUTPUT = {"poisson": "exp", "binary_cross_entropy": "sigmoid", "cross_entropy": "softmax"}
# widths 1 to 130, beside and on the vectors' lengths; 1 to 6 layers
SIZES = [
    (3, 1),
    (1, 1),
    (1, 7, 1),
    (2, 8, 3),
    (5, 16, 2),
    (4, 17, 1, 2),
    (3, 46, 46, 2),
    (6, 130, 3),
    (9, 33),
    (2, 3, 4, 5, 6, 7, 2),
]


def network(sizes, activation="relu", loss="mse", output=None, parameter=None, bias=True, l2=0.0):
    """Describe a network to the reference; activation is a name, or a sequence of one per hidden layer."""
    hidden = [activation] * (len(sizes) - 2) if isinstance(activation, str) else list(activation)
    if parameter is None:
        parameter = {"huber": 1.0, "quantile": 0.5}.get(loss)
    output = output or OWN_OUTPUT.get(loss, "identity")
    return reference.Network(tuple(sizes), (*hidden, output), loss, parameter, bias, l2)


def mlp(described, dtype="float64", seed=0, **options):
    """Build the described network, all its parameters random, the biases too."""
    parameter = described.loss_parameter
    loss = described.loss
    if (loss, parameter) not in (("huber", 1.0), ("quantile", 0.5)):
        loss = {"huber": fastnn.Huber, "quantile": fastnn.Quantile}.get(loss, lambda _: loss)(parameter)
    net = fastnn.MLP(
        described.sizes,
        activation=described.activations[:-1] or "relu",
        output_activation=described.activations[-1],
        loss=loss,
        bias=described.bias,
        l2=described.l2,
        dtype=dtype,
        seed=seed,
        **options,
    )
    net.parameters[...] = parameters(described, seed)
    return net


def parameters(described, seed=0):
    """Random parameters that float32 holds exactly and that keep the activations of order one."""
    rng = np.random.default_rng([seed, *described.sizes])
    n = sum((n_in + described.bias) * n_out for n_in, n_out in zip(described.sizes, described.sizes[1:]))  # noqa: B905
    flat = rng.normal(scale=0.5, size=n)
    for weights, _ in reference.layers(described, flat):
        weights *= 2 * np.sqrt(1 / len(weights))
    return flat.astype(np.float32).astype(float)


def data(described, n, seed=0):
    """Rows x, targets y that suit the loss, and sample weights, some of them zero; float32 holds all exactly."""
    rng = np.random.default_rng([seed, n, *described.sizes])
    d, k = described.sizes[0], described.sizes[-1]
    x = rng.normal(size=(n, d))
    match described.loss:
        case "poisson":
            y = rng.poisson(2.0, size=(n, k)).astype(float)
        case "binary_cross_entropy":
            y = rng.integers(0, 2, size=(n, k)) * rng.choice([1.0, 0.75], size=(n, k))
        case "cross_entropy":
            y = np.eye(k)[rng.integers(0, k, size=n)]
        case _:
            y = rng.normal(size=(n, k))
    w = rng.integers(0, 4, size=n) / 2
    w[rng.integers(n)] = 1.5
    return x.astype(np.float32).astype(float), y.astype(np.float32).astype(float), w
