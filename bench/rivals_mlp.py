"""Ways to train a workload's network, each a class with a name, a version, `prepare()`, `reset()` and `run()`.

All train on the same rows from the same weights. `prepare(orders)` makes ready to run len(orders) epochs, whose rows
come in these orders; whoever shuffles does that instead, unless `exact` asks for just the one order. `run()` is what
is timed; `parameters`, a flat block laid out as fastnn's, is what is compared before that.
"""

import math
import warnings
from importlib import metadata
from timeit import Timer

import harness
import numpy as np
import workloads
from rivals import sigmoid, sigmoid_derivative

import fastnn

LEARNING_RATE, BETA_1, BETA_2, EPSILON = 1e-3, 0.9, 0.999, 1e-8  # Adam's


class Rival:
    """What all have in common: the workload's data and initial weights, in one dtype."""

    statement = "network.run()"

    def __init__(self, workload, dtype, threads=1, epsilon=EPSILON):
        self.workload, self.dtype, self.threads, self.epsilon = workload, np.dtype(dtype), threads, epsilon
        self.x, self.y = workloads.data(workload, dtype)
        self.initial = workloads.initial_parameters(workload, dtype)
        self.build()
        self.reset()

    def prepare(self, orders, exact=False):
        """Make ready to run len(orders) epochs: list the rows of each step, or None where a step takes them all."""
        its = self.workload
        self.steps = [None] * len(orders) if its.batches == 1 else list(np.reshape(orders, (-1, its.batch)))

    def targets(self):
        """Return the targets as (rows, k) numbers, labels one-hot."""
        if self.workload.loss == "cross_entropy":
            return np.eye(self.workload.sizes[-1], dtype=self.dtype)[self.y]
        return self.y

    @property
    def delta_scale(self):
        """What output - target is multiplied by to give the derivative of the loss by the last pre-activation."""
        rows, outputs = self.workload.batch, self.workload.sizes[-1]
        return {"sse": 2.0, "mse": 2 / (rows * outputs)}.get(self.workload.loss, 1 / rows)


def prepare(network, seconds):
    """Let the network run as many epochs in one call as take at least so many seconds; return how many."""
    epochs, elapsed = 1, 0.0
    while True:
        network.prepare(workloads.orders(network.workload, epochs))
        if network.threads > 1:
            harness.settle()  # a contender that measures whether threads pay should not measure the one before
        network.reset()
        network.run()  # loads, allocates, compiles
        elapsed = Timer("network.run()", globals={"network": network}).timeit(1)
        if elapsed >= seconds:
            return epochs
        epochs = math.ceil(epochs * min(max(1.3 * seconds / elapsed, 1.5), 1000))


class FastnnMLP(Rival):
    """fastnn in one call, which also shuffles and records the losses."""

    name = "fastnn"
    version = fastnn.__version__

    def build(self):
        """Create the network."""
        its, self.watching = self.workload, {}
        self.network = fastnn.MLP(
            its.sizes,
            activation=its.activation,
            output_activation=its.output,
            loss=its.loss,
            bias=its.bias,
            dtype=self.dtype.name,
            seed=workloads.SEED,
        )
        if its.optimizer == "SGD":
            self.optimizer = fastnn.SGD(learning_rate=workloads.BOOK_STEP)
        else:
            self.optimizer = fastnn.Adam(LEARNING_RATE, beta_1=BETA_1, beta_2=BETA_2, epsilon=self.epsilon)

    def prepare(self, orders, exact=False):
        """Make ready to run len(orders) epochs."""
        self.shuffle = self.workload.batches > 1 and not exact
        self.rows = (self.x[orders[0]], self.y[orders[0]]) if exact else (self.x, self.y)
        self.epochs = len(orders)

    def watch(self, x, y):
        """Validate on these rows from now on, with a patience that outlasts the fit."""
        self.watching = {"validation_data": (x, y), "early_stopping": fastnn.EarlyStopping(patience=10**9)}

    def reset(self):
        """Start over from the initial weights; memory and the optimizer's state stay."""
        self.network.parameters[:] = self.initial

    def run(self):
        """Train in one call."""
        self.network.fit(
            *self.rows,
            epochs=self.epochs,
            batch_size=self.workload.batch,
            optimizer=self.optimizer,
            shuffle=self.shuffle,
            n_threads=self.threads,
            **self.watching,
        )

    def bytes(self):
        """Return the bytes of memory by their use."""
        moments = [
            moment
            for moment in (self.network._descent.steps.first, self.network._descent.steps.second)
            if moment is not None
        ]
        return {**self.network._engine.n_bytes, "optimizer": sum(moment.nbytes for moment in moments)}

    @property
    def parameters(self):
        """The weights and biases."""
        return self.network.parameters


class NumPyMLP(Rival):
    """A careful user's loop: one flat block each of parameters, gradients and moments, updated in place."""

    name = "NumPy"
    version = np.__version__

    def build(self):
        """Choose the functions."""
        self.y = self.targets()
        self.activate, self.derivative = {"relu": (relu, np.sign), "tanh": (np.tanh, tanh_derivative)}.get(
            self.workload.activation, (sigmoid, sigmoid_derivative)
        )
        identity = self.workload.loss == "mse"
        self.outputs = softmax if self.workload.loss == "cross_entropy" else np.asarray if identity else sigmoid

    def reset(self):
        """Start over from the initial weights."""
        self.parameters = self.initial.copy()
        self.gradient, self.m, self.v, self.scratch = (np.zeros_like(self.initial) for _ in range(4))
        self.layers = workloads.layer_views(self.workload, self.parameters)
        self.gradients = workloads.layer_views(self.workload, self.gradient)
        self.t = 0

    def run(self):
        """Train in a Python loop."""
        for rows in self.steps:
            x, y = (self.x, self.y) if rows is None else (self.x[rows], self.y[rows])
            self.backward(y, self.forward(x))
            self.update()

    def forward(self, x):
        """Return what goes into each layer, and the output."""
        values = [x]
        for weights, biases in self.layers:
            z = values[-1] @ weights
            if biases is not None:
                z += biases
            values.append((self.activate if len(values) < len(self.layers) else self.outputs)(z))
        return values

    def backward(self, y, values):
        """Fill the gradient."""
        delta = (values[-1] - y) * self.dtype.type(self.delta_scale)
        if self.workload.loss == "sse":
            delta *= sigmoid_derivative(values[-1])
        for i in reversed(range(len(self.layers))):
            d_weights, d_biases = self.gradients[i]
            np.matmul(values[i].T, delta, out=d_weights)
            if d_biases is not None:
                np.sum(delta, axis=0, out=d_biases)
            if i:
                delta = delta @ self.layers[i][0].T
                delta *= self.derivative(values[i])

    def update(self):
        """Take the optimizer's step."""
        if self.workload.optimizer == "SGD":
            self.parameters -= workloads.BOOK_STEP * self.gradient
            return
        self.t += 1
        self.m *= BETA_1
        self.m += np.multiply(self.gradient, 1 - BETA_1, out=self.scratch)
        self.v *= BETA_2
        np.multiply(self.gradient, self.gradient, out=self.gradient)
        self.v += np.multiply(self.gradient, 1 - BETA_2, out=self.scratch)
        np.sqrt(np.multiply(self.v, 1 / (1 - BETA_2**self.t), out=self.scratch), out=self.scratch)
        self.scratch += self.epsilon
        np.divide(self.m, self.scratch, out=self.scratch)
        self.scratch *= LEARNING_RATE / (1 - BETA_1**self.t)
        self.parameters -= self.scratch


def relu(z):
    return np.maximum(z, 0, out=z)


def tanh_derivative(a):
    return 1 - a * a


def softmax(z):
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z


class SklearnMLP(Rival):
    """scikit-learn's `fit`, whose loop over batches has the least overhead; it also shuffles and records the losses.

    Its Adam lacks a bias correction beside epsilon, which is made up for in the first step and matters little later.
    Its squared error is half the sum over the outputs, which Adam hardly notices either.

    Raises ImportError where scikit-learn is not installed, and NotImplementedError for what it cannot train.
    """

    name = "scikit-learn"

    def build(self):
        """Choose between its two estimators."""
        from sklearn import exceptions, neural_network

        self.version = metadata.version("scikit-learn")
        if not self.workload.bias or self.workload.loss == "sse":
            raise NotImplementedError("scikit-learn's MLP cannot leave out biases or square the error of a sigmoid")
        if self.y.ndim == 2 and self.y.shape[1] == 1:
            self.y = self.y[:, 0]
        regression = self.workload.loss == "mse"
        self.warning = exceptions.ConvergenceWarning
        self.model = (neural_network.MLPRegressor if regression else neural_network.MLPClassifier)(
            hidden_layer_sizes=self.workload.sizes[1:-1],
            activation=self.workload.activation,
            batch_size=self.workload.batch,
            alpha=0.0,
            epsilon=self.epsilon * math.sqrt(1 - BETA_2),
            n_iter_no_change=np.inf,
            warm_start=True,
        )
        classes = {} if regression else {"classes": np.unique(self.y)}
        self.model.partial_fit(self.x, self.y, **classes)  # it makes its arrays, whose values reset() replaces

    def prepare(self, orders, exact=False):
        """Make ready to run len(orders) epochs."""
        self.model.set_params(shuffle=self.workload.batches > 1 and not exact, max_iter=len(orders))
        self.rows = (self.x[orders[0]], self.y[orders[0]]) if exact else (self.x, self.y)

    def reset(self):
        """Start over from the initial weights; each fit has a fresh optimizer state."""
        layers = workloads.layer_views(self.workload, self.initial)
        self.model.coefs_ = [weights.copy() for weights, _ in layers]
        self.model.intercepts_ = [biases.copy() for _, biases in layers]

    def run(self):
        """Train in one call."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self.warning)  # that it stops where it was told to
            self.model.fit(*self.rows)

    @property
    def parameters(self):
        """The weights and biases, out of its arrays."""
        layers = zip(self.model.coefs_, self.model.intercepts_, strict=True)
        return np.concatenate([part.ravel() for layer in layers for part in layer])
