"""Dense networks of any depth."""

import copy
import functools
import itertools
import math
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastnn import _engine, checks, data, pickles, storage
from fastnn._engine import Network, Rows, Watch
from fastnn._kernels import check_out
from fastnn.descent import Descent
from fastnn.early_stopping import EarlyStopping
from fastnn.history import History
from fastnn.losses import Huber, Quantile, loss_from, parse_activations, parse_loss, parse_output_activation
from fastnn.optimizers import Optimizer, check_optimizer
from fastnn.parameters import LayerArrays, overwrite, restore
from fastnn.progress import check_verbose
from fastnn.threads import threads_of_call, threads_of_steps
from fastnn.training import MOST_EPOCHS_IN_A_CALL, Training

HE = ("relu", "leaky_relu", "elu", "softplus", "gelu", "silu", "sin")  # the others take Glorot's limits


def _overlaps(out: NDArray[Any], x: NDArray[Any] | data.SparseTable) -> bool:
    return np.may_share_memory(out, x.elements if isinstance(x, data.SparseTable) else x)


class MLP:
    """A dense network of any depth, trained and run in compiled code.

    With a_0 = x, a row of n_0 numbers, layer l = 1, 2, ... computes::

        z_l = a_(l-1) @ weights[l-1] + biases[l-1]
        a_l = activation(z_l)

    and the last a_l is the output p. Training lowers the objective, a loss of p and the targets y, and the penalty
    ``l2 / 2 * sum(weights**2)``.

    Parameters
    ----------
    layer_sizes : sequence of int
        Numbers of inputs, of the units of each hidden layer, and of outputs, each at least 1: ``[d, 1]`` is a
        perceptron, ``[d, 64, 64, k]`` has two hidden layers.
    activation : str or sequence of str, default "relu"
        Of the hidden layers: one name for all, or one for each. See the notes.
    output_activation : str, optional
        Of the last layer. By default the one that belongs to the loss: "softmax" to cross_entropy, "sigmoid" to
        binary_cross_entropy and "exp" to poisson, which take no other, and "identity" to the rest, which take any
        of the hidden layers' activations.
    loss : str, Huber or Quantile, default "mse"
        What is minimized, see the notes. "huber" is ``Huber(delta=1.0)``, "quantile" is ``Quantile(q=0.5)``.
    bias : bool, default True
        Whether the layers add biases.
    l2 : float, default 0.0
        Factor of the penalty on the weights, at least 0. The biases are not penalized. The penalty is part of the
        objective, and so of every loss that is reported.
    dropout : float, default 0.0
        Probability, at least 0 and below 1, with which an output of a hidden layer is set to 0 in a step of training;
        the others are divided by ``1 - dropout`` (Srivastava et al. 2014). Only `fit` drops anything.
    dtype : {"float32", "float64"}
        What the network computes in.
    seed : int, optional
        Of the generator, NumPy's PCG64, that draws the initial weights, shuffles the rows and drops outputs; at least
        0. By default the operating system chooses. The same seed and the same calls give the same bits.
    convention : {"fastnn", "scikit-learn"}
        What the terms of the objective are multiplied by, see the notes.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If an argument is out of range, a name is unknown, or the loss does not take the output activation.
    MemoryError
        If the parameters do not fit into memory.

    Notes
    -----
    The activations: "identity", "sigmoid" ``1 / (1 + exp(-z))``, "tanh", "relu" ``max(z, 0)``, "leaky_relu"
    ``max(z, 0.01 * z)``, "elu" ``z if z > 0 else exp(z) - 1`` (Clevert et al. 2016), "softplus" ``log(1 + exp(z))``,
    "gelu" ``z * Phi(z)`` with the normal distribution function itself (Hendrycks and Gimpel 2016), "silu"
    ``z * sigmoid(z)`` (Elfwing et al. 2018) and "sin" (Sitzmann et al. 2020). They are PyTorch's with its defaults.

    The losses, for n rows, k outputs p and targets y, e = p - y:

    ====================  ==========================================================================
    sse                   sum over rows and outputs of ``e**2``, the textbook's
    mse                   mean over rows and outputs of ``e**2``
    mae                   mean over rows and outputs of ``abs(e)``
    huber                 mean over rows and outputs of Huber's (1964) function, see `Huber`
    quantile              mean over rows and outputs of the pinball loss, see `Quantile`
    poisson               mean over rows and outputs of ``p - y * log(p)`` with ``p = exp(z)``: the negative
                          log-likelihood of Poisson's distribution without its constant (McCullagh and Nelder 1989)
    binary_cross_entropy  mean over rows of the sum over outputs of ``-(y * log(p) + (1 - y) * log(1 - p))`` with
                          ``p = sigmoid(z)`` (Bishop 2006, equation 4.90), y from 0 to 1
    cross_entropy         mean over rows of the sum over outputs of ``-y * log(p)`` with ``p = softmax(z)``
                          (Bridle 1990; Bishop 2006, equation 4.108), y class numbers or probabilities
    ====================  ==========================================================================

    The last three are computed from z, so they are exact also where p rounds to 0 or 1. With `sample_weight` w, a mean
    over rows of l_i becomes ``sum(w * l) / sum(w)``, over the rows of the batch, and 0 if the weights sum to 0; sse
    becomes ``sum(w * l)``. Where a function has a kink its derivative is taken from the left for relu and leaky_relu,
    and is 0 for mae, huber and quantile at e = 0.

    With the convention "scikit-learn" the objective is that of `sklearn.neural_network`: mse is half the above;
    poisson is the sum over outputs of ``p - y + y * log(y / p)``, half the deviance; the penalty is divided by the
    number of the batch's rows, or the sum of their weights; and for the other losses that are means over outputs the
    gradient, and so all training, is that of the sum over outputs.

    The initial weights are uniform in +-limit, with He et al.'s (2015) limit ``sqrt(6 / n_in)`` for relu, leaky_relu,
    elu, softplus, gelu, silu and sin, and Glorot and Bengio's (2010) ``sqrt(6 / (n_in + n_out))`` for the others; the
    biases are 0.

    Neither the instruction set nor the number of threads can be seen in the bits of any result, and a row's prediction
    does not depend on the rows around it. One thread at a time may train a network or change it, and then no other may
    use it, else it gets a RuntimeError; any number may read it together. Networks can be pickled and copied: a copy
    shares nothing, and goes on from where the original is.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> x = np.linspace(-3, 3, 200).reshape(-1, 1)
    >>> net = fastnn.MLP([1, 16, 16, 1], activation="tanh", seed=0)
    >>> history = net.fit(x, np.sin(x), epochs=500)
    >>> net.predict([[0.5], [2.0]]).round(1)
    array([[0.5],
           [0.9]], dtype=float32)
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: str | Sequence[str] = "relu",
        output_activation: str | None = None,
        loss: str | Huber | Quantile = "mse",
        bias: bool = True,
        l2: float = 0.0,
        dropout: float = 0.0,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
        convention: str = "fastnn",
    ) -> None:
        self._build(
            layer_sizes,
            activation=activation,
            output_activation=output_activation,
            loss=loss,
            bias=bias,
            l2=l2,
            dropout=dropout,
            dtype=dtype,
            convention=convention,
        )
        seed = None if seed is None else checks.integer(seed, "seed", minimum=0)
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self._initialize()

    def _build(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: str | Sequence[str],
        output_activation: str | None,
        loss: str | Huber | Quantile,
        bias: bool,
        l2: float,
        dropout: float,
        dtype: DTypeLike,
        convention: str,
    ) -> None:
        """Make the network, its parameters 0 and without a generator."""
        self._bias = checks.boolean(bias, "bias")
        self._layer_sizes = checks.layer_sizes(layer_sizes, bias=self._bias)
        self._loss, self._loss_parameter = parse_loss(loss)
        hidden = parse_activations(activation, len(self._layer_sizes) - 2)
        self._activations = (*hidden, parse_output_activation(output_activation, self._loss))
        self._l2 = checks.number(l2, "l2", minimum=0)
        self._dropout = checks.number(dropout, "dropout", minimum=0, below=1)
        self._dtype = checks.floating_dtype(dtype)
        if not isinstance(convention, str) or convention not in _engine.CONVENTIONS:
            raise ValueError(f"convention must be 'fastnn' or 'scikit-learn'; got {convention!r}")
        self._convention = convention
        self._descent: Descent | None = None
        self._engine = Network(
            self._layer_sizes,
            self._activations,
            self._loss,
            self._loss_parameter,
            self._bias,
            self._l2,
            self._dropout,
            self._dtype,
            convention,
        )

    def _initialize(self) -> None:
        """Draw the weights; the biases are 0."""
        for (weights, _), activation in zip(self._engine.layer_views(), self._activations, strict=True):
            n_inputs, n_outputs = weights.shape
            limit = math.sqrt(6 / (n_inputs if activation in HE else n_inputs + n_outputs))
            weights[...] = self._generator.uniform(-limit, limit, weights.shape)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Numbers of inputs, of the units of each hidden layer, and of outputs."""
        return self._layer_sizes

    @property
    def activations(self) -> tuple[str, ...]:
        """The activation of each layer, the last one's included."""
        return self._activations

    @property
    def loss_function(self) -> str | Huber | Quantile:
        """What is minimized: a name, or for "huber" and "quantile" a `Huber` or `Quantile`."""
        return loss_from(self._loss, self._loss_parameter)

    @property
    def bias(self) -> bool:
        """Whether the layers add biases."""
        return self._bias

    @property
    def l2(self) -> float:
        """Factor of the penalty on the weights."""
        return self._l2

    @property
    def dropout(self) -> float:
        """Probability with which an output of a hidden layer is dropped in training."""
        return self._dropout

    @property
    def convention(self) -> str:
        """What the terms of the objective are multiplied by: "fastnn" or "scikit-learn"."""
        return self._convention

    @property
    def dtype(self) -> np.dtype[Any]:
        """What the network computes in."""
        return self._dtype

    @property
    def parameters(self) -> NDArray[Any]:
        """All weights and biases in one array, shape (number of parameters,).

        Layer by layer, the weights (n_in, n_out) row by row, then the biases. The array is the network's own memory:
        edited in place, it changes the network at its next call. It may be assigned, which copies the values; these
        must be finite.
        """
        return self._engine.parameters.view()

    @parameters.setter
    def parameters(self, value: ArrayLike) -> None:
        self._engine.check_unused()
        overwrite(self._engine.parameters, value, "parameters")

    @property
    def weights(self) -> LayerArrays[NDArray[Any]]:
        """The weights of each layer, shape (n_in, n_out): views into `parameters`, each editable and assignable."""
        views = [weights for weights, _ in self._engine.layer_views()]
        return LayerArrays(views, "weights", self._engine.check_unused)

    @property
    def biases(self) -> LayerArrays[NDArray[Any] | None]:
        """The biases of each layer, shape (n_out,): views into `parameters`, or None in a network without biases."""
        views = [biases for _, biases in self._engine.layer_views()]
        return LayerArrays(views, "biases", self._engine.check_unused)

    def fit(
        self,
        X: ArrayLike,  # noqa: N803 - the name that scikit-learn made usual
        y: ArrayLike,
        *,
        epochs: int = 1,
        batch_size: int | None = 32,
        optimizer: Optimizer | None = None,
        shuffle: bool = True,
        sample_weight: ArrayLike | None = None,
        validation_data: tuple[ArrayLike, ...] | None = None,
        early_stopping: EarlyStopping | None = None,
        max_time: float | None = None,
        callbacks: Callable[["MLP", History], Any] | Iterable[Callable[["MLP", History], Any]] = (),
        verbose: int = 0,
        n_threads: int | None = None,
    ) -> History:
        """Train: take one step of the optimizer for each batch of rows, epoch after epoch.

        A fit goes on where the last one with an equal optimizer ended: the optimizer's state, the schedule's epoch and
        the generator are kept, also through `save` and `load`, so two fits of 5 epochs give the bits of one of 10.
        Another optimizer begins anew, with the parameters as they are. Early stopping and `max_time` count within one
        fit.

        The rows are read where they are: an array of 32 or 64 bit floats, of integers or of booleans is never copied
        whole, whatever its strides, and may be a memory map that is larger than the memory. What is read is rounded to
        the network's dtype. Lists, data frames, float16 and foreign byte orders are converted first. X may also be
        SciPy's compressed sparse rows, which are not made dense; where few elements are stored, only these are
        multiplied, with the bits of dense rows (zeros may differ in sign). Rows whose columns do not ascend are
        copied. X and y must not be changed meanwhile.

        Ctrl-C ends the fit, within some hundredths of a second or one step, and no KeyboardInterrupt is raised: the
        history says `stopped_by` "interrupt" and has the whole epochs, the network has the parameters of the last step,
        or the best ones if early stopping restores these. Only Python's main thread hears Ctrl-C.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Inputs: finite real numbers, at least one row.
        y : array_like, shape (n, k)
            Targets, one row for each row of X; with one output also of shape (n,). For poisson at least 0, for
            binary_cross_entropy from 0 to 1. For cross_entropy class numbers 0, 1, ..., k - 1 of shape (n,) or (n, 1),
            or probabilities of shape (n, k), whose rows sum to 1.
        epochs : int, default 1
            How many times all rows are used, at least 0.
        batch_size : int or None, default 32
            Rows in a step, at least 1; the last step of an epoch takes what is left. With None or n or more, a step
            takes all rows.
        optimizer : SGD, RMSProp, Adam or AdamW, default Adam()
            How a step is made of the gradient; its `learning_rate` may be a schedule.
        shuffle : bool, default True
            Whether each epoch takes the rows in a new random order, a permutation by Fisher and Yates. A step with all
            rows takes them as they lie.
        sample_weight : array_like, shape (n,), optional
            How much each row counts, at least 0.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Rows whose objective is computed after each epoch, and that are not trained on. Not all may weigh 0.
        early_stopping : EarlyStopping, optional
            When to stop because the loss does not fall any more. If it restores the best parameters, the optimizer's
            state nevertheless stays that of the last epoch.
        max_time : float, optional
            Seconds after which no further epoch begins, at least 0; at least one epoch is done.
        callbacks : function or iterable of functions, optional
            Each is called as ``callback(net, history)`` after each epoch, and ends the fit by returning True. It may
            use the network, but not fit it. Its exceptions end the fit, which leaves the network as Ctrl-C would.
        verbose : {0, 1}
            With 1, show losses and the time left on stderr: a bar if tqdm is installed, else lines.
        n_threads : int, optional
            The most threads to use, at least 1. By default as many as the process has processors, or fewer if
            OMP_NUM_THREADS or threadpoolctl say so. Small steps take fewer threads, and all take one where they are
            measured to be no faster together. The bits do not depend on it.

        Returns
        -------
        History
            Losses, learning rates and times of this fit's epochs, and why it ended.

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong; the network is as it was.
        FloatingPointError
            If the loss, that of validation_data or a parameter is no longer finite in an epoch. The parameters are
            those from before that epoch, or the best ones if early stopping restores these, and the next fit begins
            with a new optimizer.
        RuntimeError
            If another thread, or a callback's fit, is using the network.
        MemoryError
            If the gradient, the optimizer's state or the workspace does not fit into memory.
        """
        rows = self._rows(X, y, sample_weight)
        n_rows = len(rows.x)
        epochs = checks.integer(epochs, "epochs", minimum=0)
        size = n_rows if batch_size is None else min(n_rows, checks.integer(batch_size, "batch_size", minimum=1))
        optimizer = check_optimizer(optimizer)
        shuffle = checks.boolean(shuffle, "shuffle")
        validation = self._validation_rows(validation_data)
        watch = self._watch(early_stopping, validation)
        max_time = math.inf if max_time is None else checks.number(max_time, "max_time", minimum=0)
        functions = [functools.partial(each, self) for each in checks.functions(callbacks, "callbacks")]
        verbose = check_verbose(verbose)
        threads = threads_of_steps(n_threads, size, self._engine.forward_work(rows, goes_back=True) / n_rows)
        history = History(
            validation=validation is not None, monitor=early_stopping.monitor if early_stopping is not None else None
        )
        self._engine.acquire()
        try:
            if self._descent is None or self._descent.optimizer != optimizer:
                descent = Descent(optimizer, self._engine.parameters)
                descent.learning_rates(min(epochs, MOST_EPOCHS_IN_A_CALL))  # what is wrong with them leaves the old one
                self._descent = descent
            training = Training(
                network=self._engine,
                descent=self._descent,
                bit_generator=self._generator.bit_generator,
                rows=rows,
                watch=watch,
                history=history,
                batch_size=size,
                shuffle=shuffle,
                deadline=_engine.seconds() + max_time,
                n_threads=threads,
            )
            try:
                training.run(epochs, functions, verbose)
            finally:
                if training.diverged:
                    self._descent = None
                if watch.best_parameters is not None and watch.best_epoch >= 0:
                    self._engine.parameters[...] = watch.best_parameters
        finally:
            self._engine.release()
        return history

    def predict(
        self,
        X: ArrayLike,  # noqa: N803
        out: NDArray[Any] | None = None,
        n_threads: int | None = None,
    ) -> NDArray[Any]:
        """Compute the outputs for some rows.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Finite real numbers, read as by `fit`; n may be 0.
        out : ndarray, shape (n, k), optional
            Where to write the outputs, an array of the network's dtype and any strides. It may overlap X.
        n_threads : int, optional
            The most threads to use, as for `fit`.

        Returns
        -------
        ndarray, shape (n, k)
            `out` if given, else a new array of the network's dtype: what the output activation makes of z, for
            cross_entropy and binary_cross_entropy probabilities, for poisson the mean.

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong.
        RuntimeError
            If another thread is training the network.
        """
        outputs = self._predict_plain(X, n_threads) if out is None else None
        if outputs is not None:
            return outputs
        rows = self._inputs(X)
        shape = (len(rows.x), self._layer_sizes[-1])
        threads = threads_of_call(n_threads, self._engine.forward_work(rows))
        result = np.empty(shape, self._dtype)
        if out is not None:
            check_out(out, shape, self._dtype)
            if out.flags.c_contiguous and out.flags.aligned and not _overlaps(out, rows.x):
                result = out
        self._engine.predict(rows, result, threads)
        if out is None or result is out:
            return result
        out[...] = result
        return out

    def _predict_plain(self, X: Any, n_threads: int | None = None) -> NDArray[Any] | None:  # noqa: N803
        """Return the outputs if X is contiguous, of the network's dtype and finite, else None.

        X is looked at piece by piece, while it is in the cache: one pass less through memory.
        """
        if type(X) is not np.ndarray or X.ndim != 2:
            return None
        alone = len(X) == 1 and n_threads is None
        threads = 1 if alone else threads_of_call(n_threads, len(X) * self._engine.parameters.size)
        return self._engine.predict_plain(X, threads)

    def loss(
        self,
        X: ArrayLike,  # noqa: N803
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> float:
        """Compute the objective of some rows: their loss, and the penalty if there is one; nothing is dropped.

        Parameters
        ----------
        X, y : array_like, shapes (n, d) and (n, k)
            Inputs and targets, as for `fit`.
        sample_weight : array_like, shape (n,), optional
            How much each row counts, at least 0.
        n_threads : int, optional
            The most threads to use, as for `fit`.

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong.
        RuntimeError
            If another thread is training the network.
        """
        rows = self._rows(X, y, sample_weight)
        return self._engine.loss(rows, threads_of_call(n_threads, self._engine.forward_work(rows)))

    def loss_and_gradient(
        self,
        X: ArrayLike,  # noqa: N803
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> tuple[float, NDArray[Any]]:
        """Compute the objective of some rows, taken as one batch, and its gradient by backpropagation.

        The gradient is Rumelhart, Hinton and Williams's (1986). With it, an optimizer of one's own can train the
        network through `parameters`.

        Parameters
        ----------
        X, y : array_like, shapes (n, d) and (n, k)
            Inputs and targets, as for `fit`.
        sample_weight : array_like, shape (n,), optional
            How much each row counts, at least 0.
        n_threads : int, optional
            The most threads to use, as for `fit`.

        Returns
        -------
        loss : float
            What `loss` returns, up to rounding.
        gradient : ndarray, shape (number of parameters,)
            d loss / d `parameters`, laid out like these, in the network's dtype.

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong.
        RuntimeError
            If another thread is using the network.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.MLP([2, 1], seed=0)
        >>> x, y = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1.0, 2.0])
        >>> for _ in range(100):
        ...     loss, gradient = net.loss_and_gradient(x, y)
        ...     net.parameters -= 0.5 * gradient
        >>> round(loss, 6)
        0.0
        """
        rows = self._rows(X, y, sample_weight)
        threads = threads_of_call(n_threads, 3 * self._engine.forward_work(rows, goes_back=True))
        return self._engine.loss_and_gradient(rows, threads)

    def input_gradient(self, X: ArrayLike, y: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Compute the gradient of the loss with respect to the inputs.

        Parameters
        ----------
        X, y : array_like, shapes (n, d) and (n, k)
            Inputs and targets, as for `fit`. The loss is that of all rows together, so with a mean over rows each row's
            gradient has a factor 1 / n.

        Returns
        -------
        ndarray, shape (n, d)
            d loss / d X in the network's dtype.

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong.
        RuntimeError
            If another thread is training the network.
        """
        rows = self._rows(X, y)
        out = np.empty(rows.x.shape, self._dtype)
        self._engine.input_gradient(rows, -1, out)
        return out

    def jacobian(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Compute the derivative of each output with respect to each input.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Finite real numbers; n may be 0.

        Returns
        -------
        ndarray, shape (n, k, d)
            d output[i, j] / d X[i, m] at [i, j, m], in the network's dtype.

        Raises
        ------
        TypeError, ValueError
            If X is wrong.
        RuntimeError
            If another thread is training the network.
        """
        rows = self._inputs(X)
        k = self._layer_sizes[-1]
        out = np.empty((len(rows.x), k, rows.x.shape[1]), self._dtype)
        for output in range(k if len(rows.x) else 0):
            self._engine.input_gradient(rows, output, out[:, output])
        return out

    def predictor(self) -> _engine.Predictor:
        """Return a compiled function of one row, for programs that ask for one prediction at a time.

        It has a copy of the present parameters: what happens to the network later does not change it. Any number of
        threads may call it at once. ``predictor(x)`` takes a row of shape (d,), of finite real numbers, and returns the
        outputs in a new array of shape (k,); ``predictor(x, out)`` writes them into such an array, contiguous and of
        the network's dtype. The shortest way is that of a contiguous x of that dtype. The bits are those of `predict`.

        Returns
        -------
        callable
            It raises a TypeError or a ValueError if x or out is wrong.

        Raises
        ------
        RuntimeError
            If another thread is training the network.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.MLP([3, 16, 2], seed=0)
        >>> predictor = net.predictor()
        >>> row = np.ones(3, "float32")
        >>> bool((predictor(row) == net.predict(row.reshape(1, -1))[0]).all())
        True
        """
        return _engine.Predictor(self._engine.copy())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file, with all that a later fit needs to go on as if nothing had happened.

        The file is an .npz archive, without pickle, of the parameters, the optimizer's state and a description. A file
        that is there already is replaced in one step, when the new one is complete.

        Parameters
        ----------
        path : str or os.PathLike
            The file's name, taken as it is.

        Raises
        ------
        TypeError, ValueError
            If path does not name a file, or the optimizer has a schedule of a class of one's own.
        OSError
            If the file cannot be written; then nothing has changed.
        RuntimeError
            If another thread is training the network.
        """
        storage.write(path, *self._state())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "MLP":
        """Read a network from a file that `save` wrote; nothing in the file is executed.

        Parameters
        ----------
        path : str or os.PathLike
            The file's name.

        Returns
        -------
        MLP
            With the saved one's parameters and dtype, and its next fit.

        Raises
        ------
        ValueError
            If the file is truncated, damaged, not one of `save`'s or a newer fastnn's.
        OSError
            If it cannot be read; FileNotFoundError if there is none.
        """
        header, arrays = storage.read(path)
        try:
            return cls._from_state(header, arrays)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"cannot load {os.fspath(path)}: it does not describe a network ({error!r})") from None

    def to_torch(self, *, logits: bool = False) -> Any:
        """Make a PyTorch network of this one, with its parameters, copied, and its dtype.

        It has Linear modules, the activations and, if there is dropout, Dropout after each hidden layer, and it is in
        evaluation mode: call its ``train()`` before training it. PyTorch has no modules for sin and exp, so these are
        fastnn.interchange.torch.Sin and Exp.

        Parameters
        ----------
        logits : bool, default False
            Leave off the softmax, sigmoid or exp that belongs to cross_entropy, binary_cross_entropy or poisson:
            PyTorch's CrossEntropyLoss, BCEWithLogitsLoss and PoissonNLLLoss take what comes before it.

        Returns
        -------
        torch.nn.Sequential
            Its outputs are those of `predict` within rounding; `from_torch` makes an MLP of it.

        Raises
        ------
        ValueError
            If logits is True with another loss.
        ImportError
            Without PyTorch.
        RuntimeError
            If another thread is training the network.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.MLP([4, 16, 3], loss="cross_entropy", seed=0)
        >>> net.to_torch(logits=True)
        Sequential(
          (0): Linear(in_features=4, out_features=16, bias=True)
          (1): ReLU()
          (2): Linear(in_features=16, out_features=3, bias=True)
        )
        """
        from fastnn.interchange.torch import to_torch

        return to_torch(self, logits)

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the network as an ONNX model, which ONNX Runtime and others run without Python or fastnn.

        The model has one input "X", shape (n, d), and one output "output", shape (n, k), both of the network's dtype,
        for any number n of rows. It computes what `predict` does, the output activation included, within rounding. It
        is of opset 13, which runtimes read since the end of 2020. In float64 it needs no operator that ONNX Runtime
        lacks there: gelu is written with 23 sines for each unit, so it takes its time.

        A file that is there already is replaced in one step, when the new one is complete.

        Parameters
        ----------
        path : str or os.PathLike
            The file's name, taken as it is.

        Raises
        ------
        TypeError, ValueError
            If path does not name a file, or the parameters are more than the 2 GiB that an ONNX file may have.
        ImportError
            Without the package onnx.
        OSError
            If the file cannot be written; then nothing has changed.
        RuntimeError
            If another thread is training the network.

        Examples
        --------
        >>> import numpy as np, fastnn, onnxruntime
        >>> net = fastnn.MLP([4, 16, 3], loss="cross_entropy", seed=0)
        >>> net.to_onnx("net.onnx")
        >>> session = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
        >>> (outputs,) = session.run(None, {"X": np.ones((2, 4), "float32")})
        >>> outputs.shape
        (2, 3)
        """
        from fastnn.interchange.onnx import write_network

        write_network(self, path)

    def _in_float64(self) -> "MLP":
        """Return a copy of the network, without its optimizer, that computes in float64."""
        header, arrays = self._state_without_optimizer()
        header |= {"dtype": "float64"}
        return self._from_state(header, {"parameters": arrays["parameters"].astype(np.float64)})

    def _inputs(self, x: ArrayLike) -> Rows:
        return data.inputs(x, "X", self._layer_sizes[0], self._dtype)

    def _rows(
        self,
        x: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        names: tuple[str, str, str] = ("X", "y", "sample_weight"),
    ) -> Rows:
        return data.rows(x, y, sample_weight, names, self._layer_sizes, self._loss, self._dtype)

    def _validation_rows(self, value: tuple[ArrayLike, ...] | None) -> Rows | None:
        if value is None:
            return None
        if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
            got = f"{len(value)} of them" if isinstance(value, (tuple, list)) else type(value).__name__
            raise ValueError(f"validation_data must be (X, y) or (X, y, sample_weight); got {got}")
        x, y, *weight = value
        names = ("validation_data[0]", "validation_data[1]", "validation_data[2]")
        rows = self._rows(x, y, weight[0] if weight else None, names)
        if rows.weights is not None and not rows.weights.any():  # the loss would be 0 after each epoch
            raise ValueError(f"{names[2]} must not be 0 for all rows; got {len(rows.weights)} zeros")
        return rows

    def _watch(self, stopping: EarlyStopping | None, rows: Rows | None) -> Watch:
        if stopping is None:
            return Watch(rows)
        if not isinstance(stopping, EarlyStopping):
            raise TypeError(f"early_stopping must be None or a fastnn.EarlyStopping; got {stopping!r}")
        on_validation = stopping.monitor == "validation_loss"
        if on_validation and rows is None:
            raise ValueError(
                "early_stopping watches validation_loss: validation_data must be given, or monitor='loss'; got None"
            )
        kept = np.empty_like(self._engine.parameters) if stopping.restore_best else None
        return Watch(
            rows,
            stops=True,
            on_validation=on_validation,
            patience=stopping.patience,
            min_delta=stopping.min_delta,
            kept=kept,
        )

    def _state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Describe the network by what JSON takes, and by arrays."""
        header, arrays = self._state_without_optimizer()
        if self._descent is not None:
            more_header, more_arrays = self._descent.to_state()
            return header | more_header, arrays | more_arrays
        return header, arrays

    def _state_without_optimizer(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        self._engine.check_idle()
        header: dict[str, Any] = {
            "layer_sizes": list(self._layer_sizes),
            "activations": list(self._activations),
            "loss": self._loss,
            "loss_parameter": self._loss_parameter,
            "bias": self._bias,
            "l2": self._l2,
            "dropout": self._dropout,
            "dtype": self._dtype.name,
            "convention": self._convention,
            "generator": self._generator.bit_generator.state,
            "optimizer": None,
        }
        return header, {"parameters": self._engine.parameters.copy()}

    @classmethod
    def _from_state(cls, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> "MLP":
        """Make again what `_state` described."""
        sizes = checks.layer_sizes(header["layer_sizes"], bias=header["bias"])
        n_parameters = sum((n_in + header["bias"]) * n_out for n_in, n_out in itertools.pairwise(sizes))
        if arrays["parameters"].shape != (n_parameters,):  # before there is memory for what it may claim
            raise ValueError(f"{n_parameters} parameters must be saved; got {arrays['parameters'].size}")
        net = cls.__new__(cls)
        *hidden, output = header["activations"]
        net._build(
            header["layer_sizes"],
            activation=hidden,
            output_activation=output,
            loss=loss_from(header["loss"], header["loss_parameter"]),
            bias=header["bias"],
            l2=header["l2"],
            dropout=header["dropout"],
            dtype=header["dtype"],
            convention=header.get("convention", "fastnn"),
        )
        net._generator = np.random.Generator(np.random.PCG64(0))
        net._generator.bit_generator.state = header["generator"]
        restore(net._engine.parameters, arrays["parameters"], "parameters")
        if header["optimizer"] is not None:
            net._descent = Descent.from_state(header, arrays, net._engine.parameters)
        return net

    def __getstate__(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, Any]]:
        """Copy the arrays, for copy.copy too: networks that shared memory would train each other.

        The optimizer is its object, for unlike a file this takes a schedule of a user's own.
        """
        others = {name: value for name, value in vars(self).items() if name not in OWN_ATTRIBUTES}
        others["_descent"] = copy.copy(self._descent)
        return *self._state_without_optimizer(), pickles.stamped(others)

    def __setstate__(self, state: tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, Any]]) -> None:
        header, arrays, others = state
        others = pickles.unstamped(others, self)
        self.__dict__ |= vars(self._from_state(header, arrays)) | others

    def __repr__(self) -> str:
        sizes = "-".join(str(size) for size in self._layer_sizes)
        return f"MLP({sizes}, {'-'.join(self._activations)}, loss={self.loss_function!r}, dtype={self._dtype})"


OWN_ATTRIBUTES = frozenset(vars(MLP([1, 1], seed=0)))  # which `_from_state` makes again; others are the user's
