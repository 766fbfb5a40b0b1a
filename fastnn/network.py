"""The book's class: a two-layer network without biases, trained by full-batch gradient descent."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastnn import checks, notices, pickles
from fastnn._two_layer import TwoLayer

MOST_NUMBERS = 2**48  # in an array, so that no size in bytes leaves 64 bits


class NeuralNetwork:
    """The textbook's two-layer network, compiled.

    For rows x of shape (n, d) and targets y of shape (n, k), with sigmoid(z) = 1 / (1 + exp(-z))::

        layer1 = sigmoid(x @ weights1)          # (n, hidden)
        output = sigmoid(layer1 @ weights2)     # (n, k)
        loss   = sum((y - output)**2)

    One iteration, `feedforward()` and then `backprop()`, moves the weights by `learning_rate` along the negative
    gradient of the loss::

        delta2 = 2 * (y - output) * output * (1 - output)
        delta1 = (delta2 @ weights2.T) * layer1 * (1 - layer1)
        weights2 += learning_rate * layer1.T @ delta2
        weights1 += learning_rate * x.T @ delta1

    The gradient is Rumelhart, Hinton and Williams's (1986), for all rows at once.

    Parameters
    ----------
    x : array_like, shape (n, d)
        Inputs: finite real numbers, at least one row. Copied, in `dtype`.
    y : array_like, shape (n, k)
        Targets, one row for each row of x. The outputs lie between 0 and 1, so should these. Copied, in `dtype`.
    hidden : int, default 4
        Number of hidden units.
    learning_rate : float, default 1.0
        Length of a step, as a factor on the gradient.
    dtype : {"float64", "float32"}
        What the network computes in.
    rng : None, int or numpy.random.Generator
        Where the initial weights come from, uniform in [0, 1), weights1 before weights2. None draws them from NumPy's
        global generator as the book does, so `np.random.seed(s)` gives the book's numbers; an int seeds a new one.

    Attributes
    ----------
    input, y : ndarray, shapes (n, d) and (n, k)
        The data. May be assigned, also with another number of rows (both, before the next `backprop`).
    weights1, weights2 : ndarray, shapes (d, hidden) and (hidden, k)
        The parameters.
    layer1, output : ndarray, shapes (n, hidden) and (n, k)
        The activations of the last `feedforward`; zeros before the first.
    learning_rate : float
    loss : float
        Sum of squared errors of the current `output`.

    Raises
    ------
    TypeError
        If x or y do not hold real numbers, or another argument is of the wrong type.
    ValueError
        If x and y differ in length, have no rows or columns, are not two-dimensional or not finite, or another argument
        is out of range.

    Notes
    -----
    All arrays may be edited in place or assigned; an assignment copies the values. Both take effect at the next call.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> x = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    >>> y = np.array([[0], [1], [1], [0]])
    >>> np.random.seed(0)
    >>> nn = fastnn.NeuralNetwork(x, y)
    >>> losses = nn.train(1500)
    >>> nn.feedforward()
    >>> nn.output.round(2).ravel()
    array([0.01, 0.97, 0.97, 0.03])
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        hidden: int = 4,
        learning_rate: float = 1.0,
        dtype: DTypeLike = "float64",
        rng: np.random.Generator | int | None = None,
    ) -> None:
        floating = checks.floating_dtype(dtype)
        hidden = checks.integer(hidden, "hidden", minimum=1)
        learning_rate = checks.finite_number(learning_rate, "learning_rate", floating)
        x = checks.matrix(x, "x", floating)
        if len(x) == 0:
            raise ValueError(f"x must have at least 1 row; got shape {x.shape}")
        y = checks.matrix(y, "y", floating, n_rows=len(x))
        if hidden * (x.shape[1] + y.shape[1]) > MOST_NUMBERS:
            raise ValueError(f"hidden must make at most 2**48 weights; got {hidden}")
        draw = _uniform(rng)
        self._engine = TwoLayer(x, y, hidden, learning_rate)
        for weights in (self.weights1, self.weights2):
            weights[...] = draw(weights.shape)

    def feedforward(self) -> None:
        """Compute `layer1` and `output` from `input` and the weights.

        Raises
        ------
        RuntimeError
            If another thread is using this network.
        """
        self._engine.forward()

    def backprop(self) -> None:
        """Update both weight arrays once, from `layer1` and `output` as the last `feedforward` left them.

        Raises
        ------
        RuntimeError
            If there was no `feedforward` since the rows were set, or another thread is using this network.
        ValueError
            If `y` has not as many rows as `input`.
        """
        self._engine.backward()

    def train(self, iterations: int) -> NDArray[Any]:
        """Run `feedforward()` and `backprop()` so many times in one compiled call, with the same result to the bit.

        Ctrl-C raises KeyboardInterrupt between two iterations; the network then is as that many iterations leave it. A
        long iteration is abandoned half-way: the weights are as the last whole one left them, the activations void.
        A subclass's own `feedforward` or `backprop` is respected, at the speed of Python.

        Parameters
        ----------
        iterations : int
            At least 0.

        Returns
        -------
        ndarray, shape (iterations,)
            The loss before each update, in the network's dtype.

        Raises
        ------
        ValueError, TypeError
            If `iterations` is negative or not an integer, or `y` has not as many rows as `input`.
        RuntimeError
            If another thread is using this network.

        Warns
        -----
        RuntimeWarning
            If the loss is not finite in the end, with the iteration from which it is not.
        """
        iterations = checks.integer(iterations, "iterations", minimum=0)
        if iterations > MOST_NUMBERS:
            raise ValueError(f"iterations must be at most 2**48, for each has a loss; got {iterations}")
        if self._overrides("feedforward") or self._overrides("backprop"):
            losses = np.empty(iterations, self._engine.dtype)
            for i in range(iterations):
                self.feedforward()
                losses[i] = self.loss
                self.backprop()
        else:
            losses = self._engine.train(iterations)
        if iterations and not np.isfinite(losses[-1]):
            first = int(np.argmin(np.isfinite(losses)))
            message = (
                f"training diverged: the loss of iteration {first} is {losses[first]}; try a smaller learning_rate"
            )
            notices.warn(message, RuntimeWarning)
        return losses

    def _overrides(self, name: str) -> bool:
        """Whether a subclass or the user replaced a method, so that the compiled loop would not do what it does."""
        return getattr(getattr(self, name), "__func__", None) is not getattr(NeuralNetwork, name)

    def predict(self, x: ArrayLike) -> NDArray[Any]:
        """Compute the output for other rows; `layer1` and `output` stay as they are.

        Parameters
        ----------
        x : array_like, shape (m, d)
            Finite real numbers; m may be 0.

        Returns
        -------
        ndarray, shape (m, k)
            In the network's dtype.

        Raises
        ------
        TypeError, ValueError
            If x is wrong.
        RuntimeError
            If another thread is training this network.
        """
        return self._engine.predict(checks.matrix(x, "x", self._engine.dtype, n_columns=self._engine.shape[1]))

    @property
    def loss(self) -> float:
        """Sum of squared errors of the current `output`."""
        return self._engine.loss()

    @property
    def learning_rate(self) -> float:
        """Length of a step, as a factor on the gradient."""
        return self._engine.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._engine.learning_rate = checks.finite_number(value, "learning_rate", self._engine.dtype)

    @property
    def input(self) -> NDArray[Any]:
        """The rows, shape (n, d)."""
        return self._engine.input

    @input.setter
    def input(self, value: ArrayLike) -> None:
        x = checks.matrix(value, "input", self._engine.dtype, n_columns=self._engine.shape[1])
        if len(x) == 0:
            raise ValueError(f"input must have at least 1 row; got shape {x.shape}")
        self._engine.input = x

    @property
    def y(self) -> NDArray[Any]:
        """The targets, shape (n, k)."""
        return self._engine.y

    @y.setter
    def y(self, value: ArrayLike) -> None:
        y = checks.matrix(value, "y", self._engine.dtype, n_columns=self._engine.shape[3])
        if len(y) == 0:
            raise ValueError(f"y must have at least 1 row; got shape {y.shape}")
        self._engine.y = y

    @property
    def weights1(self) -> NDArray[Any]:
        """The first layer's weights, shape (d, hidden)."""
        return self._engine.weights1

    @weights1.setter
    def weights1(self, value: ArrayLike) -> None:
        self._overwrite("weights1", value)

    @property
    def weights2(self) -> NDArray[Any]:
        """The second layer's weights, shape (hidden, k)."""
        return self._engine.weights2

    @weights2.setter
    def weights2(self, value: ArrayLike) -> None:
        self._overwrite("weights2", value)

    @property
    def layer1(self) -> NDArray[Any]:
        """The hidden activations of the last `feedforward`, shape (n, hidden)."""
        return self._engine.layer1

    @layer1.setter
    def layer1(self, value: ArrayLike) -> None:
        self._overwrite("layer1", value)

    @property
    def output(self) -> NDArray[Any]:
        """The outputs of the last `feedforward`, shape (n, k)."""
        return self._engine.output

    @output.setter
    def output(self, value: ArrayLike) -> None:
        self._overwrite("output", value)

    def _overwrite(self, name: str, value: ArrayLike) -> None:
        dtype, shape = self._engine.dtype, getattr(self, name).shape
        values = checks.as_floating(value, name)
        if values.shape != shape:
            raise ValueError(f"{name} must have shape {shape}; got {values.shape}")
        with np.errstate(over="ignore", under="ignore"):
            values = values.astype(dtype)
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite; got {values[~np.isfinite(values)][0]} in {dtype}")
        self._engine.overwrite(name, values)

    def __repr__(self) -> str:
        n, d, hidden, k = self._engine.shape
        options = f"learning_rate={self.learning_rate}, dtype={self._engine.dtype}"
        return f"NeuralNetwork({d}-{hidden}-{k}, {n} rows, {options})"

    def __getstate__(self) -> dict[str, Any]:
        """Copy the arrays, for copy.copy too: networks that shared memory would train each other."""
        self._engine.check_idle()
        state = {name: value for name, value in self.__dict__.items() if name != "_engine"}
        names = ["input", "y", "weights1", "weights2"]
        if self._engine.has_activations:
            names += ["layer1", "output"]
        state |= {name: getattr(self, name).copy() for name in names}
        return pickles.stamped(state | {"learning_rate": self.learning_rate})

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = pickles.unstamped(state, self)
        x, y, weights1, weights2 = (state.pop(name) for name in ("input", "y", "weights1", "weights2"))
        self._engine = TwoLayer(x, y, len(weights2), state.pop("learning_rate"))
        self._engine.overwrite("weights1", weights1)
        self._engine.overwrite("weights2", weights2)
        for name in ("layer1", "output"):
            if name in state:
                self._engine.overwrite(name, state.pop(name))
        self.__dict__ |= state


def _uniform(rng: np.random.Generator | int | None) -> Callable[[tuple[int, ...]], NDArray[Any]]:
    """Return a function from a shape to uniform numbers in [0, 1)."""
    if rng is None:
        return lambda shape: np.random.rand(*shape)  # noqa: NPY002 - the book's generator
    if isinstance(rng, np.random.Generator):
        return rng.random
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool):
        return np.random.default_rng(checks.integer(rng, "rng", minimum=0)).random
    raise TypeError(f"rng must be None, an int or a numpy.random.Generator; got {rng!r}")
