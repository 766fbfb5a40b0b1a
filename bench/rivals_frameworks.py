"""PyTorch and JAX as ways to train a workload's network; rivals_mlp.py says what is asked of them."""

import os
import shutil
from importlib import metadata

import numpy as np
import workloads
from rivals import sigmoid_derivative
from rivals_mlp import BETA_1, BETA_2, LEARNING_RATE, Rival, tanh_derivative


class TorchMLP(Rival):
    """PyTorch's ordinary loop, with its fused optimizer.

    Raises ImportError where PyTorch is not installed.
    """

    name = "PyTorch"

    def build(self):
        """Create the module and put the data into tensors."""
        import torch

        self.torch, self.version = torch, torch.__version__
        torch.set_num_threads(self.threads)
        its, nn = self.workload, torch.nn
        functions = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
        modules = []
        for n_in, n_out in its.layers:
            modules += [nn.Linear(n_in, n_out, bias=its.bias), functions[its.activation]()]
        if not its.output:
            modules.pop()
        self.module = nn.Sequential(*modules).to(getattr(torch, self.dtype.name))
        losses = {
            "cross_entropy": nn.CrossEntropyLoss,
            "binary_cross_entropy": nn.BCEWithLogitsLoss,
            "mse": nn.MSELoss,
            "sse": lambda: nn.MSELoss(reduction="sum"),
        }
        loss = losses[its.loss]()
        self.x, self.y = torch.from_numpy(self.x), torch.from_numpy(self.y)
        self.loss = self.objective(self.module, loss)

    def objective(self, module, loss):
        """Return the function from inputs and targets to the loss."""
        return lambda x, y: loss(module(x), y)

    def reset(self):
        """Start over from the initial weights."""
        torch = self.torch
        layers = workloads.layer_views(self.workload, self.initial)
        linear = [module for module in self.module if isinstance(module, torch.nn.Linear)]
        with torch.no_grad():
            for module, (weights, biases) in zip(linear, layers, strict=True):
                module.weight.copy_(torch.from_numpy(weights.T.copy()))
                if biases is not None:
                    module.bias.copy_(torch.from_numpy(biases.copy()))
        parameters = list(self.module.parameters())
        if self.workload.optimizer == "SGD":
            self.optimizer = torch.optim.SGD(parameters, lr=workloads.BOOK_STEP, fused=True)
        else:
            betas = (BETA_1, BETA_2)
            self.optimizer = torch.optim.Adam(parameters, LEARNING_RATE, betas, self.epsilon, fused=True)

    def prepare(self, orders, exact=False):
        """Make ready to run len(orders) epochs."""
        super().prepare(orders)
        self.steps = [None if rows is None else self.torch.from_numpy(rows) for rows in self.steps]

    def run(self):
        """Train in a Python loop."""
        for rows in self.steps:
            x, y = (self.x, self.y) if rows is None else (self.x[rows], self.y[rows])
            self.optimizer.zero_grad()
            self.loss(x, y).backward()
            self.optimizer.step()

    @property
    def parameters(self):
        """The weights and biases, out of the module."""
        return np.concatenate([p.detach().numpy().T.ravel() for p in self.module.parameters()])


class TorchCompiledMLP(TorchMLP):
    """PyTorch's loop with the loss and its gradient compiled.

    Raises NotImplementedError where that cannot be, for want of a C++ compiler or because PyTorch says so.
    """

    name = "PyTorch compiled"

    def objective(self, module, loss):
        """Return the function from inputs and targets to the loss, compiled at its first call."""
        self.torch.compiler.reset()  # it would count another workload's program as the same function compiled anew
        if not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
            raise NotImplementedError("torch.compile needs a C++ compiler")
        try:
            return self.torch.compile(super().objective(module, loss), dynamic=False)
        except RuntimeError as error:
            raise NotImplementedError(str(error)) from error


class JaxMLP(Rival):
    """The whole training as one program compiled by XLA: a scan over the batches of all epochs, losses not recorded.

    One flat block of parameters and gradients written out by hand are faster here than a list of arrays and jax.grad.

    Raises ImportError where JAX is not installed.
    """

    name = "JAX"

    def build(self):
        """Put the data where JAX wants it."""
        import jax

        jax.config.update("jax_enable_x64", True)
        self.jax, self.version = jax, metadata.version("jax")
        self.x, self.y = jax.numpy.asarray(self.x), jax.numpy.asarray(self.targets())
        nn, its = jax.nn, self.workload
        self.activate, self.derivative = {
            "relu": (nn.relu, self.step_function),
            "tanh": (jax.numpy.tanh, tanh_derivative),
        }.get(its.activation, (nn.sigmoid, sigmoid_derivative))
        self.outputs = {"cross_entropy": nn.softmax, "mse": jax.numpy.asarray}.get(its.loss, nn.sigmoid)

    def step_function(self, a):
        """Return the derivative of relu, by its value."""
        return a > 0

    def prepare(self, orders, exact=False):
        """Compile the program for len(orders) epochs."""
        its = self.workload
        rows = None if its.batches == 1 else self.jax.numpy.asarray(np.reshape(orders, (-1, its.batch)))

        def training(state, x, y, rows):
            def step(state, rows):
                return self.step(state, x if rows is None else x[rows], y if rows is None else y[rows]), None

            return self.jax.lax.scan(step, state, rows, length=len(orders) * its.batches)[0]

        self.data = self.x, self.y, rows
        self.compiled = self.jax.jit(training, donate_argnums=0).lower(self.state, *self.data).compile()

    def step(self, state, x, y):
        """Return the state after one step."""
        parameters, m, v, power_1, power_2 = state
        gradient = self.gradient(parameters, x, y)
        if self.workload.optimizer == "SGD":
            return (parameters - workloads.BOOK_STEP * gradient, *state[1:])
        power_1, power_2 = BETA_1 * power_1, BETA_2 * power_2
        m = BETA_1 * m + (1 - BETA_1) * gradient
        v = BETA_2 * v + (1 - BETA_2) * gradient * gradient
        root = self.jax.numpy.sqrt(v / (1 - power_2)) + self.epsilon
        return parameters - LEARNING_RATE / (1 - power_1) * m / root, m, v, power_1, power_2

    def forward(self, parameters, x):
        """Return what goes into each layer, and the output."""
        layers = workloads.layer_views(self.workload, parameters)
        values = [x]
        for weights, biases in layers:
            z = values[-1] @ weights + (0 if biases is None else biases)
            values.append((self.activate if len(values) < len(layers) else self.outputs)(z))
        return values

    def gradient(self, parameters, x, y):
        """Return the gradient as one flat block."""
        layers = workloads.layer_views(self.workload, parameters)
        values = self.forward(parameters, x)
        delta = (values[-1] - y) * self.delta_scale
        if self.workload.loss == "sse":
            delta = delta * sigmoid_derivative(values[-1])
        blocks = []
        for i in reversed(range(len(layers))):
            if self.workload.bias:
                blocks.append(delta.sum(axis=0))
            blocks.append((values[i].T @ delta).ravel())
            if i:
                delta = (delta @ layers[i][0].T) * self.derivative(values[i])
        return self.jax.numpy.concatenate(blocks[::-1])

    def reset(self):
        """Start over from the initial weights."""
        blocks = (self.initial, np.zeros_like(self.initial), np.zeros_like(self.initial))
        self.state = tuple(self.jax.numpy.array(part) for part in (*blocks, *np.ones((2, 1), self.dtype)))

    def run(self):
        """Run the compiled program and wait for it."""
        self.state = self.compiled(self.state, *self.data)
        self.state[0].block_until_ready()

    @property
    def parameters(self):
        """The weights and biases, out of JAX."""
        return np.asarray(self.state[0])
