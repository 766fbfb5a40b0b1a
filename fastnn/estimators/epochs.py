"""How an estimator trains its network by epochs, with a stochastic optimizer.

The rules are those of sklearn.neural_network; what they compute is the engine's, in one call for as many epochs as need
nothing of Python between them.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from fastnn import _engine, checks, notices
from fastnn._engine import HeldInterrupts
from fastnn.estimators.monitoring import Monitor
from fastnn.estimators.solvers import NOT_FINITE, Examples, solver_of
from fastnn.history import LEARNING_RATE, LOSS, VALIDATION_LOSS, History
from fastnn.mlp import MLP
from fastnn.progress import Progress, say
from fastnn.schedules import ReduceOnPlateau
from fastnn.threads import threads_of_steps
from fastnn.training import MOST_EPOCHS_IN_A_CALL, SHOWN_EVERY

FOREVER = 2**62
# The attributes of an estimator that only these epochs make: those of an old fit are no part of a new one.
STOCHASTIC = (
    "loss_curve_",
    "best_loss_",
    "validation_scores_",
    "best_validation_score_",
    "validation_loss_curve_",
    "_no_improvement_count",
    "_best_parameters",
    "_last_parameters",
    "_optimizer",
    "_order",
    "_split_state",
)


class Stochastic:
    """The epochs of one fit, or without a monitor the one of a partial_fit.

    What one fit leaves for the next is the estimator's: `_optimizer`, a Solver, `_random_state` and, where
    warm_start is "resume", `_order`, the last permutation of the rows, `_split_state`, that of the generator before it
    set rows aside, and `_last_parameters`, those from before early stopping brought the best ones back.
    """

    def __init__(
        self, estimator: Any, examples: Examples, validation: Examples | None, monitor: Monitor | None
    ) -> None:
        self.estimator = e = estimator
        self.monitor = monitor
        self.network: MLP = e.network_
        if monitor is None and e.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        self.callbacks = checks.functions(e.callbacks, "callbacks")
        self.resumes = monitor is not None and e.warm_start == "resume"
        fresh = solver_of(e, self.network.parameters)
        keeps = (monitor is None or self.resumes) and hasattr(e, "_optimizer")
        if not keeps or e._optimizer.rules != fresh.rules:
            e._optimizer = fresh
        if e.early_stopping and validation is None:
            examples, validation = self._split(examples)
        elif e.early_stopping and validation is not None and len(validation.y) < 2 and not is_classifier(e):
            raise ValueError(f"X_val must have at least 2 rows for a score of early_stopping; got {len(validation.y)}")
        self.validation = validation
        self.n_rows = examples.x.shape[0]
        self.batch_size = self._batch_size()
        self.rows = examples.rows(self.network)
        names = ("X_val", "y_val", "sample_weight")
        self.validation_rows = None if validation is None else validation.rows(self.network, names)
        self.order = self._first_order() if e.shuffle else None
        self.history = History(validation=validation is not None)
        self._begin_curves()
        self.watch = self._watch()
        row_work = self.network._engine.forward_work(self.rows, goes_back=True) / self.n_rows
        self.n_threads = threads_of_steps(e.n_threads, self.batch_size, row_work)
        self.deadline = _engine.seconds() + (math.inf if e.max_time is None else e.max_time)

    def _begin_curves(self) -> None:
        """Begin what the fits before have not begun, or not with this early_stopping."""
        e = self.estimator
        e.loss_curve_ = getattr(e, "loss_curve_", [])
        e._no_improvement_count = getattr(e, "_no_improvement_count", 0)
        if self.validation is not None:
            e.validation_loss_curve_ = getattr(e, "validation_loss_curve_", [])
        if not e.early_stopping:
            e.validation_scores_ = e.best_validation_score_ = None
            best = getattr(e, "best_loss_", None)
            e.best_loss_ = math.inf if best is None else best
        elif getattr(e, "validation_scores_", None) is None:
            e.validation_scores_, e.best_validation_score_, e.best_loss_ = [], -math.inf, None
            e._best_parameters = self.network.parameters.copy()

    def _first_order(self) -> NDArray[np.int64]:
        last: NDArray[np.int64] | None = getattr(self.estimator, "_order", None)
        if not self.resumes or last is None or len(last) != self.n_rows:
            last = np.arange(self.n_rows, dtype=np.int64)
        return last

    def _split(self, examples: Examples) -> tuple[Examples, Examples]:
        """Set rows aside for early stopping, the same as scikit-learn does."""
        e = self.estimator
        if e.validation_fraction == 0:
            raise ValueError(f"validation_fraction must be above 0 with early_stopping; got {e.validation_fraction!r}")
        binary = is_classifier(e) and e.n_outputs_ == 1
        arrays = {name: array for name, array in examples._asdict().items() if array is not None}
        generator = e._random_state
        if self.resumes and hasattr(e, "_split_state"):
            generator = np.random.RandomState()
            generator.set_state(e._split_state)
        elif self.resumes:
            e._split_state = generator.get_state()
        parts = train_test_split(
            *arrays.values(),
            random_state=generator,
            test_size=e.validation_fraction,
            stratify=examples.y.astype(bool) if binary else None,
        )
        if parts[1].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        trained_on, set_aside = (Examples(**dict(zip(arrays, parts[i::2], strict=True))) for i in (0, 1))
        for rows, share in ((trained_on, "trains on"), (set_aside, "sets aside")):
            for weights in (rows.weights, rows.score_weights):
                if weights is not None and not weights.any():
                    raise ValueError(
                        f"the rows that early_stopping {share} must not all weigh 0 by sample_weight and class_weight; "
                        "another validation_fraction or random_state may help, or X_val and y_val"
                    )
        return trained_on, set_aside

    def _batch_size(self) -> Any:
        size = self.estimator.batch_size
        if size == "auto":
            return min(200, self.n_rows)
        if size > self.n_rows:
            notices.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", UserWarning
            )
        return min(int(size), self.n_rows)

    def _watch(self) -> _engine.Watch:
        """Watch the training loss, unless early stopping looks at a score."""
        e = self.estimator
        patience = FOREVER if math.isinf(e.n_iter_no_change) else int(e.n_iter_no_change)
        watch = _engine.Watch(
            self.validation_rows,
            stops=not e.early_stopping,
            on_validation=False,
            patience=patience,
            min_delta=e.tol,
            against_lowest=True,
        )
        self.patience = patience
        if not e.early_stopping:
            watch.bad_epochs, watch.lowest_loss = e._no_improvement_count, e.best_loss_
        return watch

    def run(self) -> None:
        """Train until the rules say to stop."""
        e, verbose = self.estimator, self.estimator.verbose
        shows_bar = verbose is not True and verbose == 1
        self.prints = bool(verbose) and not shows_bar
        self.one_by_one = bool(
            e.early_stopping
            or self.callbacks
            or isinstance(e._optimizer.optimizer.learning_rate, ReduceOnPlateau)
            or (self.monitor is not None and self.monitor.is_active)
        )
        last = e.__dict__.pop("_last_parameters", None)
        if self.resumes and e.early_stopping and last is not None:
            self.network.parameters = last
        if self.resumes:
            e._order = self.order  # the array that the engine shuffles: what a callback copies is up to date
        try:
            e.n_iter_ = 0
            with Progress(1 if self.monitor is None else e.max_iter, shows_bar) as progress:
                self._run_epochs(progress)
        except KeyboardInterrupt:
            self.history.stopped_by = "interrupt"
        finally:
            self.history.trim()
            if e.early_stopping:
                if self.resumes:
                    e._last_parameters = self.network.parameters.copy()
                self.network._engine.parameters[...] = e._best_parameters
        if self.history.stopped_by == "interrupt":
            notices.warn("Training interrupted by user.", UserWarning)

    def _run_epochs(self, progress: Progress) -> None:
        e = self.estimator
        most = 1 if self.monitor is None else e.max_iter
        chunk = 1 if self.one_by_one or e.verbose else MOST_EPOCHS_IN_A_CALL
        while e.n_iter_ < most:
            start = _engine.seconds()
            if self.monitor is not None:
                self.monitor.begin_epoch()
            with HeldInterrupts() as interrupts:
                reason = self._take_epochs(min(chunk, most - e.n_iter_), interrupts)
                if reason == "not_finite":
                    self._end_diverged()
                elif e.early_stopping:
                    self._watch_score()
            if interrupts.pending and reason == "finished":  # it came after the engine last looked
                reason = "interrupt"
            progress.update(self.history)
            if reason == "not_finite":
                return
            if e._no_improvement_count > self.patience and self._ends():
                self.history.stopped_by = "early_stopping"
            elif reason in ("max_time", "interrupt"):
                self.history.stopped_by = reason
            elif _engine.seconds() >= self.deadline:
                self.history.stopped_by = "max_time"
            if self._calls_stop() and self.history.stopped_by is None:
                self.history.stopped_by = "callback"
            if self.history.stopped_by is not None:
                return
            if e.verbose and not self.one_by_one and _engine.seconds() - start < SHOWN_EVERY:
                chunk = min(2 * chunk, MOST_EPOCHS_IN_A_CALL)
        if self.monitor is not None:
            notices.warn(
                f"Stochastic Optimizer: Maximum iterations ({e.max_iter}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
            )

    def _calls_stop(self) -> bool:
        """Call the callbacks after an epoch; return whether one of them wants the fit to end."""
        answers = [callback(self.estimator, self.history) for callback in self.callbacks]
        stops = self.monitor is not None and self.monitor.end_epoch()
        return stops or any(isinstance(answer, (bool, np.bool_)) and bool(answer) for answer in answers)

    def _take_epochs(self, n_epochs: int, interrupts: HeldInterrupts) -> str:
        """Do some epochs and write down what came of them; return why the engine came back."""
        e = self.estimator
        table = self.history.room(n_epochs)
        table[LEARNING_RATE] = e._optimizer.rates(n_epochs, e.t_, self.n_rows)
        done, reason = self.network._engine.fit(
            self.rows,
            self.batch_size,
            e._optimizer.steps,
            table,
            e._random_state._bit_generator,
            False,
            self.watch,
            self.deadline,
            interrupts,
            self.n_threads,
            self.order,
        )
        losses, monitored = table[LOSS, :done].tolist(), table[LOSS, :done]
        e.n_iter_ += done
        e.t_ += done * self.n_rows
        e.loss_curve_ += losses
        if self.validation is not None:
            monitored = table[VALIDATION_LOSS, :done]
            e.validation_loss_curve_ += monitored.tolist()
        if done:
            e.loss_ = e.loss_curve_[-1]
        self.history.count(done)
        if not e.early_stopping:
            e._no_improvement_count, e.best_loss_ = self.watch.bad_epochs, self.watch.lowest_loss
        if self.prints:
            for number, loss in enumerate(losses, e.n_iter_ - done + 1):
                say(f"Iteration {number}, loss = {loss:.8f}")
        e._optimizer.end_epochs(monitored, e.t_)
        return reason

    def _watch_score(self) -> None:
        """Compare the score after an epoch with the best one."""
        e = self.estimator
        assert self.validation is not None
        assert self.validation_rows is not None
        outputs = np.empty((len(self.validation_rows.x), e.n_outputs_), self.network.dtype)
        self.network._engine.predict(self.validation_rows, outputs, self.n_threads)
        finite = _engine.is_plain_and_finite(outputs, outputs.dtype)
        score = e._score_outputs(outputs, self.validation) if finite else math.nan
        e.validation_scores_.append(score)
        if self.prints:
            say(f"Validation score: {score:f}")
        e._no_improvement_count = e._no_improvement_count + 1 if score < e.best_validation_score_ + e.tol else 0
        if score > e.best_validation_score_:
            e.best_validation_score_ = score
            e._best_parameters = self.network.parameters.copy()

    def _ends(self) -> bool:
        """Whether no progress for long ends the fit; else the learning rate falls and the count begins anew."""
        e = self.estimator
        what = "Validation score" if e.early_stopping else "Training loss"
        message = f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} consecutive epochs."
        if e._optimizer.slows():
            if self.prints:
                say(f"{message} Setting learning rate to {e._optimizer.learning_rate:f}")
            e._no_improvement_count = self.watch.bad_epochs = 0
            return False
        if self.prints:
            small = " Learning rate too small." if e._optimizer.rule == "adaptive" else ""
            say(f"{message}{small} Stopping.")
        return True

    def _end_diverged(self) -> None:
        """End a fit whose loss or a parameter is no longer finite: early stopping has better weights, else raise."""
        e = self.estimator
        e.loss_ = math.nan
        if not e.early_stopping:
            del e._optimizer
            raise ValueError(
                f"{NOT_FINITE} It happened in epoch {e.n_iter_ + 1}; the weights are those from before it."
            )
        e.loss_curve_.append(math.nan)
        e.validation_loss_curve_.append(math.nan)
        e.validation_scores_.append(math.nan)
        e.n_iter_ += 1
        notices.warn(
            f"Stochastic Optimizer: the loss or a parameter is no longer finite in epoch {e.n_iter_}; the weights are "
            "those of the best validation score. A lower learning rate or scaled inputs may help.",
            ConvergenceWarning,
        )
