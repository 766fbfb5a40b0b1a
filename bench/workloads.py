"""The ten networks that train.py measures, with their goals, data and initial weights."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import rivals

SEED = 0
BOOK_STEP = 1.0  # the learning rate of the book's gradient descent
NOISE = 0.5  # of the targets, so that no network comes to an end of its learning


@dataclass(frozen=True)
class Workload:
    """A network, how it is trained, and what fastnn's training is to reach.

    Parameters
    ----------
    name : str
    sizes : tuple of int
        Widths from the inputs to the outputs.
    batch : int
        Rows per step.
    batches : int
        Steps per epoch; 1 is a full batch, which nobody shuffles.
    loss, activation, optimizer : str
        In fastnn's words; the activation is that of every hidden layer.
    goal : float
        How many times the JAX loop, in one thread.
    two_threads : float, optional
        The same with two threads on either side.
    share : float, optional
        Of the machine's limit, in one thread.
    output : str, optional
        The output's activation, where it is not the one that belongs to the loss.
    bias : bool
    dtype : str
    """

    name: str
    sizes: tuple
    batch: int
    batches: int
    loss: str
    activation: str
    optimizer: str
    goal: float
    two_threads: float | None = None
    share: float | None = None
    output: str | None = None
    bias: bool = True
    dtype: str = "float32"

    @property
    def rows(self):
        """Rows of data."""
        return self.batch * self.batches

    @property
    def layers(self):
        """(inputs, outputs) of each layer."""
        return list(itertools.pairwise(self.sizes))

    @property
    def n_parameters(self):
        """Weights and biases."""
        return sum(n_in * n_out + self.bias * n_out for n_in, n_out in self.layers)

    @property
    def flops(self):
        """Floating-point operations of a step's products: forward, weights' gradients, and inputs' but the first."""
        forward = sum(n_in * n_out for n_in, n_out in self.layers)
        return 2 * self.batch * (3 * forward - self.sizes[0] * self.sizes[1])

    @property
    def activations(self):
        """Map each elementwise activation to the elements that it makes in a step."""
        elements = {self.activation: self.batch * sum(self.sizes[1:-1])}
        if self.output:
            elements[self.output] = elements.get(self.output, 0) + self.batch * self.sizes[-1]
        return elements


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("xor", (3, 4, 1), 4, 1, "sse", "sigmoid", "SGD", 5.3, None, None, "sigmoid", False, "float64"),
        Workload("diabetes", (8, 32, 16, 1), 32, 24, "binary_cross_entropy", "relu", "Adam", 3.9),
        Workload("taxi", (17, 128, 64, 32, 8, 1), 32, 64, "mse", "relu", "Adam", 1.8, None, 0.85),
        Workload("digits", (64, 128, 10), 32, 56, "cross_entropy", "relu", "Adam", 2.35, None, 0.85),
        Workload("rl", (4, 64, 64, 2), 64, 32, "mse", "relu", "Adam", 2.05, None, 0.85),
        Workload("w46", (10, 46, 46, 10), 128, 16, "mse", "relu", "Adam", 2.95, None, 0.85),
        Workload("matexp", (4, 32, 16, 4), 10_000, 1, "mse", "tanh", "Adam", 2.7, 3.1, 0.85),
        Workload("rl256", (17, 256, 256, 6), 256, 8, "mse", "relu", "Adam", 1.27, 1.6, 0.90),
        Workload("mnist", (784, 128, 10), 128, 32, "cross_entropy", "relu", "Adam", 1.24, 1.4, 0.90),
        Workload("wide", (784, 1024, 1024, 10), 256, 4, "cross_entropy", "relu", "Adam", 1.22, 1.14, 0.90),
    )
}


def data(workload, dtype=None):
    """Return normal inputs (rows, d), and targets out of a perceptron and noise; xor has the book's rows.

    Targets are (rows, k) numbers, 0 and 1 for binary_cross_entropy, or for cross_entropy (rows,) labels.
    """
    dtype = dtype or workload.dtype
    if workload.name == "xor":
        return rivals.X.astype(dtype), rivals.Y.astype(dtype)
    generator = np.random.default_rng(SEED)
    n_in, n_out = workload.sizes[0], workload.sizes[-1]
    x = generator.normal(size=(workload.rows, n_in))
    scores = np.tanh(x @ generator.normal(size=(n_in, n_out))) + NOISE * generator.normal(size=(workload.rows, n_out))
    if workload.loss == "cross_entropy":
        return x.astype(dtype), np.argmax(scores, axis=1)
    if workload.loss == "binary_cross_entropy":
        scores = scores > 0
    return x.astype(dtype), scores.astype(dtype)


def initial_parameters(workload, dtype=None):
    """Return weights, uniform by He's (relu) or Glorot's rule, and biases of 0, in one block as fastnn lays it out."""
    generator = np.random.default_rng(SEED)
    block = np.zeros(workload.n_parameters)
    for weights, _ in layer_views(workload, block):
        n_in, n_out = weights.shape
        limit = math.sqrt(6 / (n_in if workload.activation == "relu" else n_in + n_out))
        weights[:] = generator.uniform(-limit, limit, size=weights.shape)
    return block.astype(dtype or workload.dtype)


def layer_views(workload, block):
    """Cut a flat block into (weights, biases) of each layer; biases are None where there are none."""
    views, start = [], 0
    for n_in, n_out in workload.layers:
        weights = block[start : start + n_in * n_out].reshape(n_in, n_out)
        start += weights.size
        biases = block[start : start + n_out] if workload.bias else None
        start += n_out * workload.bias
        views.append((weights, biases))
    return views


def orders(workload, epochs):
    """Return the rows' order in each epoch, (epochs, rows), for those who do not draw it themselves."""
    if workload.batches == 1:
        return np.broadcast_to(np.arange(workload.rows), (epochs, workload.rows))
    drawn = np.tile(np.arange(workload.rows, dtype=np.int32), (epochs, 1))
    return np.random.default_rng(SEED).permuted(drawn, axis=1)
