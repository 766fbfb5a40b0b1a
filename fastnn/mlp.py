"""Dense networks of any depth."""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastnn import _engine, checks, data, storage
from fastnn._engine import Network, Rows, Watch
from fastnn.early_stopping import EarlyStopping
from fastnn.history import History
from fastnn.losses import ACTIVATIONS, loss_from, parse_loss, parse_output_activation
from fastnn.optimizers import SGD, AdamW, Optimizer, RMSProp, check_optimizer
from fastnn.options import from_dict, to_dict
from fastnn.progress import Progress
from fastnn.schedules import PlateauState, ReduceOnPlateau, learning_rates
from fastnn.threads import thread_count

HE = ("relu", "leaky_relu", "elu", "softplus", "gelu", "silu", "sin")  # the others take Glorot's limits
MOST_EPOCHS_IN_A_CALL = 4096
SHOWN_EVERY = 0.1  # seconds, with verbose=1


class MLP:
    """A dense network, trained and run in compiled code."""

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: str | Sequence[str] = "relu",
        output_activation: str | None = None,
        loss: Any = "mse",
        bias: bool = True,
        l2: float = 0.0,
        dropout: float = 0.0,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
    ) -> None:
        self._layer_sizes = _check_layer_sizes(layer_sizes)
        self._loss, self._loss_parameter = parse_loss(loss)
        hidden = _check_activations(activation, len(self._layer_sizes) - 2)
        self._activations = (*hidden, parse_output_activation(output_activation, self._loss))
        self._bias = checks.boolean(bias, "bias")
        self._l2 = checks.number(l2, "l2", minimum=0)
        self._dropout = checks.number(dropout, "dropout", minimum=0, below=1)
        self._dtype = checks.floating_dtype(dtype)
        seed = None if seed is None else checks.integer(seed, "seed", minimum=0)
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self._forget_optimizer()
        self._make_engine()
        self._initialize()

    def _make_engine(self) -> None:
        self._engine = Network(
            self._layer_sizes,
            self._activations,
            self._loss,
            self._loss_parameter,
            self._bias,
            self._l2,
            self._dropout,
            self._dtype,
        )

    def _initialize(self) -> None:
        """Draw the weights: He's limits for activations that are linear on one side, else Glorot's; biases are 0."""
        for (weights, _), activation in zip(self._engine.layer_views(), self._activations, strict=True):
            n_inputs, n_outputs = weights.shape
            limit = math.sqrt(6 / (n_inputs if activation in HE else n_inputs + n_outputs))
            weights[...] = self._generator.uniform(-limit, limit, weights.shape)

    def _forget_optimizer(self) -> None:
        self._optimizer: Optimizer | None = None
        self._steps: _engine.Optimizer | None = None
        self._epochs = 0
        self._plateau: Any = None

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Numbers of inputs, of the units of each hidden layer, and of outputs."""
        return self._layer_sizes

    @property
    def parameters(self) -> NDArray[Any]:
        """All weights and biases: one block, layer by layer, the weights (in, out) row-major before the biases."""
        return self._engine.parameters.view()

    @parameters.setter
    def parameters(self, value: ArrayLike) -> None:
        self._engine.check_unused()
        _overwrite(self._engine.parameters, value, "parameters")

    @property
    def weights(self) -> list[NDArray[Any]]:
        """The weights of each layer, shape (in, out): views into `parameters`."""
        return [weights for weights, _ in self._engine.layer_views()]

    @property
    def biases(self) -> list[NDArray[Any] | None]:
        """The biases of each layer, shape (out,): views into `parameters`; None without biases."""
        return [biases for _, biases in self._engine.layer_views()]

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
        callbacks: Iterable[Callable[["MLP", History], Any]] = (),
        verbose: int = 0,
        n_threads: int | None = None,
    ) -> History:
        """Train."""
        rows = self._rows(X, y, sample_weight)
        n_rows = len(rows.x)
        epochs = checks.integer(epochs, "epochs", minimum=0)
        size = n_rows if batch_size is None else min(n_rows, checks.integer(batch_size, "batch_size", minimum=1))
        optimizer = check_optimizer(optimizer)
        shuffle = checks.boolean(shuffle, "shuffle")
        validation = self._validation_rows(validation_data)
        watch = self._watch(early_stopping, validation)
        max_time = math.inf if max_time is None else checks.number(max_time, "max_time", minimum=0)
        callbacks = _check_callbacks(callbacks)
        threads = thread_count(n_threads, size * 3 * self._engine.parameters.size)
        self._engine.check_unused()
        self._continue_with(optimizer)
        monitor = None if early_stopping is None else early_stopping.monitor
        history = History(validation=validation is not None, monitor=monitor)
        deadline = _engine.seconds() + max_time
        one_by_one = bool(callbacks) or isinstance(optimizer.learning_rate, ReduceOnPlateau)
        chunk = 1 if one_by_one or verbose else MOST_EPOCHS_IN_A_CALL
        with Progress(epochs, verbose) as progress:
            while history.epochs < epochs and history.stopped_by is None:
                n = min(chunk, epochs - history.epochs)
                taken = self._fit_epochs(rows, size, n, shuffle, watch, deadline, threads, history)
                progress.update(history)
                stops = [callback(self, history) for callback in callbacks if history.epochs]
                if history.stopped_by is None and any(stop is True for stop in stops):
                    history.stopped_by = "callback"
                if verbose and not one_by_one and taken < SHOWN_EVERY:
                    chunk = min(2 * chunk, MOST_EPOCHS_IN_A_CALL)
        if watch.best_parameters is not None and watch.best_epoch >= 0:
            self._engine.parameters[...] = watch.best_parameters
        return history

    def _fit_epochs(
        self,
        rows: Rows,
        batch_size: int,
        n_epochs: int,
        shuffle: bool,
        watch: Watch,
        deadline: float,
        n_threads: int,
        history: History,
    ) -> float:
        """Do some epochs, or fewer, and tell the history; return the seconds that they took."""
        rates = self._learning_rates(n_epochs)
        losses, validation_losses, ends = np.empty((3, n_epochs))
        start = _engine.seconds()
        assert self._steps is not None
        done, reason = self._engine.fit(
            rows, batch_size, self._steps, rates, self._generator.bit_generator, shuffle, watch, deadline, n_threads,
            losses, validation_losses, ends,
        )  # fmt: skip
        if reason not in ("finished", "not_finite"):
            history.stopped_by = reason
        if done:
            seconds = np.diff(ends[:done], prepend=start)
            validation = validation_losses[:done] if history.validation_loss is not None else None
            history.append(losses[:done], rates[:done], seconds, validation)
            if isinstance(self._plateau, tuple):
                self._advance_plateau(history, done)
        self._epochs += done
        if reason == "not_finite":
            self._steps = None
            self._optimizer = None
            raise FloatingPointError(
                f"the loss or a parameter is no longer finite in epoch {history.epochs}; the parameters are those from before "
                "that epoch. A lower learning rate, clip_norm, or scaled inputs may help"
            )
        return float(ends[done - 1] - start) if done else 0.0

    def predict(
        self,
        X: ArrayLike,  # noqa: N803
        out: NDArray[Any] | None = None,
        n_threads: int | None = None,
    ) -> NDArray[Any]:
        """Return the outputs, shape (n, k)."""
        rows = self._rows(X)
        shape = (len(rows.x), self._layer_sizes[-1])
        threads = thread_count(n_threads, shape[0] * self._engine.parameters.size)
        result = np.empty(shape, self._dtype)
        if out is not None:
            _check_out(out, shape, self._dtype)
            if out.flags.c_contiguous and out.flags.aligned and not np.may_share_memory(out, rows.x):
                result = out
        self._engine.predict(rows, result, threads)
        if out is None or result is out:
            return result
        out[...] = result
        return out

    def loss(
        self,
        X: ArrayLike,  # noqa: N803
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> float:
        """Return the objective: the mean loss of the rows and the penalty."""
        rows = self._rows(X, y, sample_weight)
        return float(self._engine.loss(rows, thread_count(n_threads, len(rows.x) * self._engine.parameters.size)))

    def loss_and_gradient(
        self,
        X: ArrayLike,  # noqa: N803
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> tuple[float, NDArray[Any]]:
        """Return the objective and its gradient, laid out as `parameters`."""
        rows = self._rows(X, y, sample_weight)
        threads = thread_count(n_threads, 3 * len(rows.x) * self._engine.parameters.size)
        return self._engine.loss_and_gradient(rows, threads)

    def input_gradient(self, X: ArrayLike, y: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Return d loss / d X, shape (n, d)."""
        rows = self._rows(X, y)
        out = np.empty(rows.x.shape, self._dtype)
        self._engine.input_gradient(rows, -1, out)
        return out

    def jacobian(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Return d output / d X, shape (n, k, d)."""
        rows = self._rows(X)
        k = self._layer_sizes[-1]
        out = np.empty((len(rows.x), k, rows.x.shape[1]), self._dtype)
        for output in range(k if len(rows.x) else 0):
            self._engine.input_gradient(rows, output, out[:, output])
        return out

    def _rows(self, x: ArrayLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Rows:
        return self._checked_rows(x, y, sample_weight, ("X", "y", "sample_weight"))

    def _checked_rows(
        self, x: ArrayLike, y: ArrayLike | None, sample_weight: ArrayLike | None, names: tuple[str, str, str]
    ) -> Rows:
        return data.rows(
            x,
            y,
            sample_weight,
            names=names,
            n_inputs=self._layer_sizes[0],
            n_outputs=self._layer_sizes[-1],
            loss=self._loss,
            dtype=self._dtype,
        )

    def _validation_rows(self, value: tuple[ArrayLike, ...] | None) -> Rows | None:
        if value is None:
            return None
        if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
            raise ValueError(f"validation_data must be (X, y) or (X, y, sample_weight); got {type(value).__name__}")
        x, y, *weight = value
        names = ("validation_data[0]", "validation_data[1]", "validation_data[2]")
        return self._checked_rows(x, y, weight[0] if weight else None, names)

    def _watch(self, stopping: EarlyStopping | None, rows: Rows | None) -> Watch:
        if stopping is None:
            return Watch(rows)
        if not isinstance(stopping, EarlyStopping):
            raise TypeError(f"early_stopping must be None or a fastnn.EarlyStopping; got {stopping!r}")
        on_validation = stopping.monitor == "validation_loss"
        if on_validation and rows is None:
            raise ValueError("early_stopping watches validation_loss, so validation_data must be given; got None")
        kept = np.empty_like(self._engine.parameters) if stopping.restore_best else None
        return Watch(
            rows,
            stops=True,
            on_validation=on_validation,
            patience=stopping.patience,
            min_delta=stopping.min_delta,
            kept=kept,
        )

    def _continue_with(self, optimizer: Optimizer) -> None:
        """Go on with the optimizer's state if it is the one of the last fit, else begin a new one."""
        if optimizer == self._optimizer:
            return
        self._forget_optimizer()
        self._optimizer = optimizer
        self._steps = _steps(optimizer, self._engine.parameters)
        if isinstance(optimizer.learning_rate, ReduceOnPlateau):
            self._plateau = optimizer.learning_rate.start()

    def _learning_rates(self, n_epochs: int) -> NDArray[np.float64]:
        assert self._optimizer is not None
        rate = self._optimizer.learning_rate
        if isinstance(rate, ReduceOnPlateau):
            return np.full(n_epochs, self._plateau.learning_rate)
        return learning_rates(rate, self._epochs, n_epochs)

    def _advance_plateau(self, history: History, done: int) -> None:
        assert self._optimizer is not None
        schedule = self._optimizer.learning_rate
        assert isinstance(schedule, ReduceOnPlateau)
        losses = history.validation_loss if history.validation_loss is not None else history.loss
        for loss in losses[-done:]:
            self._plateau = schedule.next(self._plateau, float(loss))

    def predictor(self) -> _engine.Predictor:
        """Return a compiled function of one row, frozen at the present parameters."""
        return _engine.Predictor(self._engine.copy())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file, with all that a later fit needs to go on as if nothing had happened."""
        storage.write(path, *self._state())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "MLP":
        """Read a network from a file that `save` wrote."""
        header, arrays = storage.read(path)
        try:
            return cls._from_state(header, arrays)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{os.fspath(path)!r} does not describe a network: {error!r}") from None

    def _state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Describe the network by what JSON takes, and by arrays."""
        self._engine.check_idle()
        arrays = {"parameters": self._engine.parameters.copy()}
        header = {
            "layer_sizes": list(self._layer_sizes),
            "activations": list(self._activations),
            "loss": self._loss,
            "loss_parameter": self._loss_parameter,
            "bias": self._bias,
            "l2": self._l2,
            "dropout": self._dropout,
            "dtype": self._dtype.name,
            "generator": self._generator.bit_generator.state,
            "epochs": self._epochs,
            "plateau": self._plateau,
            "optimizer": None if self._optimizer is None else to_dict(self._optimizer),
        }
        if self._steps is not None:
            header["beta_powers"] = [self._steps.beta_1_power, self._steps.beta_2_power]
            for name in ("first", "second"):
                moment = getattr(self._steps, name)
                if moment is not None:
                    arrays[f"optimizer.{name}"] = moment.copy()
        return header, arrays

    @classmethod
    def _from_state(cls, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> "MLP":
        *hidden, output = header["activations"]
        net = cls(
            header["layer_sizes"],
            activation=hidden,
            output_activation=output,
            loss=loss_from(header["loss"], header["loss_parameter"]),
            bias=header["bias"],
            l2=header["l2"],
            dropout=header["dropout"],
            dtype=header["dtype"],
            seed=0,
        )
        net._generator.bit_generator.state = header["generator"]
        _overwrite(net._engine.parameters, arrays["parameters"], "parameters")
        if header["optimizer"] is not None:
            net._continue_with(check_optimizer(from_dict(header["optimizer"])))
            net._epochs = checks.integer(header["epochs"], "epochs", minimum=0)
            if header["plateau"] is not None:
                net._plateau = PlateauState(*header["plateau"])
            net._steps.beta_1_power, net._steps.beta_2_power = header["beta_powers"]
            for name in ("first", "second"):
                if getattr(net._steps, name) is not None:
                    _overwrite(getattr(net._steps, name), arrays[f"optimizer.{name}"], name)
        return net

    def __getstate__(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        return self._state()

    def __setstate__(self, state: tuple[dict[str, Any], dict[str, NDArray[Any]]]) -> None:
        self.__dict__.update(type(self)._from_state(*state).__dict__)

    def __copy__(self) -> "MLP":
        """Copy the parameters too: two networks that shared memory would train each other."""
        return self._from_state(*self._state())

    def __deepcopy__(self, memo: dict[int, Any]) -> "MLP":
        twin = memo[id(self)] = self._from_state(*self._state())
        return twin

    def __repr__(self) -> str:
        sizes = "-".join(str(size) for size in self._layer_sizes)
        return f"MLP({sizes}, {'-'.join(self._activations)}, loss={self._loss!r}, dtype={self._dtype})"


def _steps(optimizer: Optimizer, parameters: NDArray[Any]) -> _engine.Optimizer:
    """Return the engine's form of an optimizer, with a new state."""
    clip_norm = optimizer.clip_norm or 0.0
    if isinstance(optimizer, SGD):
        kind = "nesterov" if optimizer.nesterov else "momentum" if optimizer.momentum else "sgd"
        return _engine.Optimizer(kind, parameters, beta_1=optimizer.momentum, clip_norm=clip_norm)
    if isinstance(optimizer, RMSProp):
        return _engine.Optimizer(
            "rmsprop", parameters, beta_2=optimizer.alpha, epsilon=optimizer.epsilon, clip_norm=clip_norm
        )
    return _engine.Optimizer(
        "adam",
        parameters,
        beta_1=optimizer.beta_1,
        beta_2=optimizer.beta_2,
        epsilon=optimizer.epsilon,
        weight_decay=optimizer.weight_decay if isinstance(optimizer, AdamW) else 0.0,
        clip_norm=clip_norm,
    )


def _check_layer_sizes(value: Sequence[int]) -> tuple[int, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
        raise TypeError(f"layer_sizes must be a sequence of integers; got {value!r}")
    sizes = tuple(checks.integer(size, f"layer_sizes[{i}]", minimum=1) for i, size in enumerate(value))
    if len(sizes) < 2:
        raise ValueError(f"layer_sizes must have at least 2 elements, the inputs and the outputs; got {value!r}")
    return sizes


def _check_activations(value: str | Sequence[str], n_hidden: int) -> tuple[str, ...]:
    names = (value,) * n_hidden if isinstance(value, str) else tuple(value)
    if len(names) != n_hidden:
        raise ValueError(f"activation must be a name or one for each of the {n_hidden} hidden layers; got {value!r}")
    for name in (value,) if isinstance(value, str) else names:
        if name not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(map(repr, ACTIVATIONS))}; got {name!r}")
    return names


def _check_callbacks(value: Iterable[Callable[..., Any]]) -> tuple[Callable[..., Any], ...]:
    callbacks = (value,) if callable(value) else tuple(value)
    for callback in callbacks:
        if not callable(callback):
            raise TypeError(f"callbacks must hold functions of the network and the history; got {callback!r}")
    return callbacks


def _check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a numpy.ndarray; got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"out must have dtype {dtype}; got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}; got {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable; got a read-only array")


def _overwrite(array: NDArray[Any], value: ArrayLike, name: str) -> None:
    values = data.numeric(value, name)
    if values.shape != array.shape:
        raise ValueError(f"{name} must have shape {array.shape}; got {values.shape}")
    data.check_finite(values[:, np.newaxis], name, array.dtype)
    array[...] = values
