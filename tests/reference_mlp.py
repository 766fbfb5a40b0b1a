"""Dense networks of any depth and their training in plain NumPy, as a textbook writes them; see reference.py.

The parameters are one flat vector: for each layer its weights (inputs, outputs), row by row, then its biases. Shapes:
x (n, d), y (n, k), sample weights w (n,). Every function works in the dtype of the parameters and the data.
"""

from dataclasses import dataclass, field

import numpy as np
from reference import activation, activation_derivative, sigmoid


@dataclass(frozen=True)
class Network:
    """What does not change in training. The last of the activations is the output's, also "softmax" or "exp"."""

    sizes: tuple
    activations: tuple
    loss: str = "mse"
    loss_parameter: float = None  # huber's delta, quantile's q
    bias: bool = True
    l2: float = 0.0


def layers(network, parameters):
    """Views (weights, biases) of each layer; biases is None where there are none."""
    views, start = [], 0
    for n_in, n_out in zip(network.sizes, network.sizes[1:]):  # noqa: B905 - the second is shorter by one
        weights = parameters[start : start + n_in * n_out].reshape(n_in, n_out)
        start += weights.size
        biases = parameters[start : start + n_out] if network.bias else None
        start += n_out if network.bias else 0
        views.append((weights, biases))
    assert start == len(parameters)
    return views


def flat(gradients):
    """The inverse of layers."""
    return np.concatenate([part.ravel() for layer in gradients for part in layer if part is not None])


def output_activation(name, z):
    """The network's output p for the last pre-activations z."""
    if name == "softmax":
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    return np.exp(z) if name == "exp" else activation(name, z)


def forward(network, parameters, x, masks=None):
    """Each layer's inputs, beginning with x, and its pre-activations.

    masks: for each hidden layer, (n, units), what its activations are multiplied by (dropout: 0 or 1 / (1 - rate)).
    """
    inputs, zs = [x], []
    for i, (weights, biases) in enumerate(layers(network, parameters)):
        zs.append(inputs[-1] @ weights if biases is None else inputs[-1] @ weights + biases)
        if i < len(network.sizes) - 2:
            inputs.append(activation(network.activations[i], zs[-1]))
            if masks is not None:
                inputs[-1] = inputs[-1] * masks[i]
    return inputs, zs


def predict(network, parameters, x):
    """The output, (n, k)."""
    return output_activation(network.activations[-1], forward(network, parameters, x)[1][-1])


def loss_elements(network, z, y):
    """What each row and output contributes to the loss, before weights and means, from the last pre-activations."""
    p = output_activation(network.activations[-1], z)
    c = network.loss_parameter
    match network.loss:
        case "sse" | "mse":
            return (p - y) ** 2
        case "mae":
            return np.abs(p - y)
        case "huber":
            d = np.abs(p - y)
            return np.where(d <= c, d**2 / 2, c * (d - c / 2))
        case "quantile":
            return np.maximum(c * (y - p), (c - 1) * (y - p))
        case "poisson":
            return np.exp(z) - y * z
        case "binary_cross_entropy":
            return np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z)))
        case "cross_entropy":
            shifted = z - z.max(axis=1, keepdims=True)
            return -y * (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
    raise ValueError(network.loss)


def loss_elements_derivative(network, z, y):
    """The derivative of a row's loss_elements, summed, with respect to its z."""
    p = output_activation(network.activations[-1], z)
    c = network.loss_parameter
    match network.loss:
        case "binary_cross_entropy":
            return sigmoid(z) - y
        case "poisson":
            return np.exp(z) - y
        case "cross_entropy":
            return p * y.sum(axis=1, keepdims=True) - y
        case "sse" | "mse":
            dp = 2 * (p - y)
        case "mae":
            dp = np.sign(p - y)
        case "huber":
            dp = np.clip(p - y, -c, c)
        case "quantile":
            dp = np.where(p < y, -c, np.where(p > y, 1 - c, 0)).astype(z.dtype)
    return dp * activation_derivative(network.activations[-1], z)


def row_factors(network, n, w=None):
    """What each row's loss is multiplied by, (n, 1): one for sse, else means over rows, and for most over outputs."""
    w = np.ones(n) if w is None else w
    if network.loss != "sse":
        w = w / w.sum() if w.sum() > 0 else np.zeros(n)
        if network.loss not in ("binary_cross_entropy", "cross_entropy"):
            w = w / network.sizes[-1]
    return w[:, np.newaxis]


def as_targets(network, y):
    """Integer labels as one-hot rows; anything else as it is."""
    if network.loss == "cross_entropy" and (y.ndim == 1 or y.shape[1] != network.sizes[-1]):
        return np.eye(network.sizes[-1])[y.ravel().astype(int)]
    return y.reshape(len(y), -1)


def objective(network, parameters, x, y, w=None, masks=None):
    """The loss plus l2 / 2 times the sum of the squared weights."""
    z = forward(network, parameters, x, masks)[1][-1]
    return objective_of_outputs(network, parameters, z, y, w)


def objective_of_outputs(network, parameters, z, y, w=None):
    """The objective from the last pre-activations."""
    loss = np.sum(row_factors(network, len(z), w) * loss_elements(network, z, as_targets(network, y)))
    return loss + network.l2 / 2 * sum(np.sum(weights**2) for weights, _ in layers(network, parameters))


def backward(network, parameters, inputs, zs, delta, masks=None):
    """What delta, the derivative with respect to the last zs, gives for each layer's parameters and for x."""
    gradients = []
    for i, (weights, biases) in reversed(list(enumerate(layers(network, parameters)))):
        gradients.insert(0, (inputs[i].T @ delta, None if biases is None else delta.sum(axis=0)))
        delta = delta @ weights.T
        if i > 0:
            delta = delta * activation_derivative(network.activations[i - 1], zs[i - 1])
            if masks is not None:
                delta = delta * masks[i - 1]
    return gradients, delta


def gradients(network, parameters, x, y, w=None, masks=None):
    """The objective's gradient with respect to the parameters, flat, and to x, (n, d)."""
    return gradients_of_pass(network, parameters, *forward(network, parameters, x, masks), y, w, masks)


def gradients_of_pass(network, parameters, inputs, zs, y, w=None, masks=None):
    """The gradients from what forward gave."""
    delta = row_factors(network, len(y), w) * loss_elements_derivative(network, zs[-1], as_targets(network, y))
    found, dx = backward(network, parameters, inputs, zs, delta.astype(parameters.dtype), masks)
    weights = [weights for weights, _ in layers(network, parameters)]
    return flat([(dw + network.l2 * v, db) for (dw, db), v in zip(found, weights, strict=True)]), dx


def jacobian(network, parameters, x):
    """The derivatives of the outputs with respect to x, (n, k, d)."""
    inputs, zs = forward(network, parameters, x)
    p = output_activation(network.activations[-1], zs[-1])
    rows = []
    for j in range(network.sizes[-1]):
        unit = np.zeros_like(p)
        unit[:, j] = 1
        match network.activations[-1]:
            case "softmax":
                delta = p[:, [j]] * (unit - p)
            case "exp":
                delta = unit * p
            case name:
                delta = unit * activation_derivative(name, zs[-1])
        rows.append(backward(network, parameters, inputs, zs, delta)[1])
    return np.stack(rows, axis=1)


def clipped(g, clip_norm):
    """The gradient, no longer than clip_norm."""
    norm = np.sqrt(np.sum(g**2))
    return g * (clip_norm / norm) if clip_norm is not None and norm > clip_norm else g


@dataclass
class SGD:
    """Gradient descent, with momentum, in PyTorch's form."""

    momentum: float = 0.0
    nesterov: bool = False
    clip_norm: float = None
    v: np.ndarray = 0.0

    def step(self, parameters, g, learning_rate):
        """Update the parameters in place."""
        self.v = self.momentum * self.v + g
        parameters -= learning_rate * (g + self.momentum * self.v if self.nesterov else self.v)


@dataclass
class RMSProp:
    """Hinton's, in PyTorch's form."""

    alpha: float = 0.99
    epsilon: float = 1e-8
    clip_norm: float = None
    s: np.ndarray = 0.0

    def step(self, parameters, g, learning_rate):
        """Update the parameters in place."""
        self.s = self.alpha * self.s + (1 - self.alpha) * g**2
        parameters -= learning_rate * g / (np.sqrt(self.s) + self.epsilon)


@dataclass
class Adam:
    """Kingma and Ba (2015), algorithm 1; with weight_decay Loshchilov and Hutter's AdamW."""

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = None
    m: np.ndarray = 0.0
    v: np.ndarray = 0.0
    t: int = 0

    def step(self, parameters, g, learning_rate):
        """Update the parameters in place."""
        self.t += 1
        self.m = self.beta_1 * self.m + (1 - self.beta_1) * g
        self.v = self.beta_2 * self.v + (1 - self.beta_2) * g**2
        m, v = self.m / (1 - self.beta_1**self.t), self.v / (1 - self.beta_2**self.t)
        parameters -= learning_rate * self.weight_decay * parameters
        parameters -= learning_rate * m / (np.sqrt(v) + self.epsilon)


@dataclass
class Fit:
    """What fit returns: one entry of each list an epoch."""

    parameters: np.ndarray
    loss: list = field(default_factory=list)
    validation_loss: list = field(default_factory=list)
    best_epoch: int = None


def fit(
    network, parameters, x, y, optimizer, orders, learning_rate, batch_size=None, w=None, masks=None, validation=None,
    patience=None,
):  # fmt: skip
    """Train for as many epochs as there are orders, the permutations in which the rows come.

    learning_rate: a number, or one an epoch. masks: a function from (epoch, rows) to the batch's masks. validation: the
    arguments (x, y) or (x, y, w) of another objective, taken after each epoch. patience: after more epochs than that
    without a lower loss (of the validation, if there is one) stop, and go back to the parameters of the best epoch.
    """
    result = Fit(parameters.copy())
    rates = np.broadcast_to(learning_rate, len(orders))
    monitored = result.loss if validation is None else result.validation_loss
    best = result.parameters.copy()
    for epoch, order in enumerate(orders):
        total = 0.0
        for start in range(0, len(order), batch_size or len(order)):
            rows = order[start : start + (batch_size or len(order))]
            batch = y[rows], None if w is None else w[rows]
            mask = None if masks is None else masks(epoch, rows)
            inputs, zs = forward(network, result.parameters, x[rows], mask)
            total += len(rows) * objective_of_outputs(network, result.parameters, zs[-1], *batch)
            g, _ = gradients_of_pass(network, result.parameters, inputs, zs, *batch, mask)
            optimizer.step(result.parameters, clipped(g, optimizer.clip_norm), parameters.dtype.type(rates[epoch]))
        result.loss.append(total / len(order))
        if validation is not None:
            result.validation_loss.append(objective(network, result.parameters, *validation))
        if monitored[-1] < min(monitored[:-1], default=np.inf):
            result.best_epoch, best = epoch, result.parameters.copy()
        elif patience is not None and epoch - result.best_epoch > patience:
            result.parameters = best
            break
    return result
