"""MLPClassifier: a network that classifies, in scikit-learn's shape."""

import os
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._missing import is_pandas_na, is_scalar_nan
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from fastnn._engine import is_plain_and_finite
from fastnn.estimators.base import BaseMLP
from fastnn.estimators.scores import accuracy
from fastnn.estimators.solvers import Examples


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """A network that classifies, in the shape of `sklearn.neural_network.MLPClassifier`.

    Constructor, defaults, attributes, methods and warnings are scikit-learn's (1.6 to 1.9), and so is what they mean:
    with the same random_state a fit takes the same steps up to rounding. The parameters after max_fun are fastnn's own.
    Two classes, or any number of labels at once (a y of zeros and ones, shape (n_samples, n_labels)), are trained on
    the binary cross-entropy of logistic outputs, more classes on the cross-entropy of a softmax.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default (100,)
        Numbers of units of the hidden layers.
    activation : str or sequence of str, default "relu"
        Of the hidden layers: one name for all or one for each. "identity", "logistic" (or "sigmoid"), "tanh", "relu",
        "leaky_relu", "elu", "softplus", "gelu", "silu" or "sin"; see `MLP`.
    solver : {"adam", "sgd", "lbfgs", "rmsprop", "adamw"} or optimizer, default "adam"
        What lowers the loss. "adam" takes beta_1, beta_2 and epsilon, "adamw" too (with `AdamW`'s decay), "rmsprop"
        epsilon, "sgd" momentum and nesterovs_momentum. "lbfgs" is SciPy's L-BFGS on all rows, in float64; dropout,
        schedules, callbacks and a warm_start of "resume" are not for it. A fastnn.SGD, RMSProp, Adam or AdamW is taken
        as it is, with its own learning rate: learning_rate_init, momentum, beta_1 and so on have no effect then.
    alpha : float, default 0.0001
        Factor of the penalty ``alpha / 2 * sum(coefs**2)``, which is divided by the number of the batch's rows, or by
        the sum of their weights. Intercepts are not penalized.
    batch_size : int or "auto", default "auto"
        Rows in a step; "auto" is ``min(200, n_samples)``. "lbfgs" takes all.
    learning_rate : {"constant", "invscaling", "adaptive"} or schedule, default "constant"
        For "sgd". "invscaling" divides learning_rate_init by ``(t_ + 1)**power_t`` after each epoch, "adaptive" divides
        the rate by 5 each time that n_iter_no_change epochs brought no progress. A schedule of fastnn, for any
        stochastic solver that is given by name, takes the place of learning_rate_init.
    learning_rate_init : float or schedule, default 0.001
        Length of a step.
    power_t : float, default 0.5
        Exponent of "invscaling".
    max_iter : int, default 200
        The most epochs, or for "lbfgs" iterations.
    shuffle : bool, default True
        Whether each epoch takes the rows in a new order.
    random_state : int, RandomState or None, default None
        What the weights, the rows set aside for early stopping and the order of the rows are drawn from: the same
        numbers as scikit-learn draws. What is dropped with `dropout` is drawn from it too, and with dropout a
        further fit or partial_fit goes on in the stream of the one before, so as not to drop the same again.
    tol : float, default 1e-4
        What the loss, or with early_stopping the score, must improve by to count as progress; for "lbfgs" the largest
        element of the gradient at which it ends.
    verbose : bool or int, default False
        True, or an int above 1, prints a line for each epoch, as scikit-learn does; 1 shows a bar on stderr if tqdm is
        installed, else lines from time to time.
    warm_start : bool or "resume", default False
        Whether `fit` goes on from the present weights. True begins with a new optimizer, as in scikit-learn;
        "resume" keeps the optimizer's state, the learning rate and the random stream too, so that two fits of
        5 epochs give the bits of one of 10.
    momentum : float, default 0.9
        For "sgd", in [0, 1].
    nesterovs_momentum : bool, default True
        For "sgd".
    early_stopping : bool, default False
        Whether to set rows aside, to look at their score after each epoch, to stop when it has not risen by tol for
        more than n_iter_no_change epochs, and to keep the weights of the best one.
    validation_fraction : float, default 0.1
        The share of rows that early_stopping sets aside.
    beta_1, beta_2, epsilon : float, default 0.9, 0.999 and 1e-8
        For "adam" and "adamw".
    n_iter_no_change : int or inf, default 10
        Epochs without progress that are borne.
    max_fun : int, default 15000
        For "lbfgs": the most evaluations of the loss.
    class_weight : dict, list of dicts, "balanced" or None, default None
        How much the rows of each class count, as in scikit-learn; multiplied with sample_weight. It counts in the
        losses, not in `validation_scores_` or `score`. Of a dict, classes that are left out weigh 1.
    dropout : float, default 0.0
        Probability with which an output of a hidden layer is dropped in training; see `MLP`.
    n_threads : int, optional
        The most threads to use; by default as many as the process may. The bits do not depend on it.
    max_time : float, optional
        Seconds after which no further epoch or iteration begins.
    callbacks : function or sequence of functions, default ()
        Each is called as ``callback(estimator, history)`` after each epoch, with a `History` of this fit, and ends the
        fit by returning True. Not for "lbfgs".

    Attributes
    ----------
    classes_ : ndarray
        The labels, in the order of predict_proba's columns.
    network_ : MLP
        What was trained, in float32 if X was float32 at the first fit, else float64.
    coefs_, intercepts_ : list of ndarray
        The weights (n_in, n_out) and biases (n_out,) of each layer: views of the network's own memory, to be edited in
        place. An array put in the place of one is copied into the network when that is next used, and its place is then
        taken by a view again: later edits of that array itself have no effect.
    loss_ : float
        The last epoch's loss.
    best_loss_ : float or None
        The lowest; None with early_stopping. Like the four below not with "lbfgs".
    loss_curve_ : list of float
        The loss of each epoch: the mean over its batches, each before its step.
    validation_scores_, best_validation_score_ : list of float and float, or None
        With early_stopping.
    validation_loss_curve_ : list of float
        The loss of the rows set aside, or of X_val, after each epoch; where there are such rows.
    t_ : int
        Rows seen in training.
    n_iter_, n_layers_, n_outputs_ : int
        Epochs or iterations of the last fit, layers with that of the inputs, and outputs.
    n_features_in_, feature_names_in_
        As in all of scikit-learn's estimators.
    loss : str
        "log_loss"; no parameter.
    out_activation_ : str
        "softmax" for more than two classes, else "logistic".

    Notes
    -----
    A float64 X is rounded to float32 for a network that was fitted in float32. Probabilities are not clipped in the
    loss, as scikit-learn's are at the machine epsilon. A fit whose loss is no longer finite ends there with
    scikit-learn's ValueError, or with early_stopping with a ConvergenceWarning and the best weights.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_digits
    >>> x, y = load_digits(return_X_y=True)
    >>> classifier = fastnn.MLPClassifier(random_state=0).fit(x[:1500], y[:1500])
    >>> classifier.score(x[1500:], y[1500:]) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }
    _y_is_numeric = False
    loss = "log_loss"  # what scikit-learn's has too, and is no parameter

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: Any = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: Any = 0.001,
        power_t: Any = 0.5,
        max_iter: Any = 200,
        shuffle: Any = True,
        random_state: Any = None,
        tol: Any = 1e-4,
        verbose: Any = False,
        warm_start: Any = False,
        momentum: Any = 0.9,
        nesterovs_momentum: Any = True,
        early_stopping: Any = False,
        validation_fraction: Any = 0.1,
        beta_1: Any = 0.9,
        beta_2: Any = 0.999,
        epsilon: Any = 1e-8,
        n_iter_no_change: Any = 10,
        max_fun: Any = 15000,
        class_weight: Any = None,
        dropout: Any = 0.0,
        n_threads: Any = None,
        max_time: Any = None,
        callbacks: Any = (),
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.class_weight = class_weight
        self.dropout = dropout
        self.n_threads = n_threads
        self.max_time = max_time
        self.callbacks = callbacks

    def _check_arrays(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:  # noqa: N803
        if y is not None and not hasattr(y, "tocsr"):
            _check_labels(np.asarray(y))
        return super()._check_arrays(X, y, reset)

    def _learn_classes(self, y: Any, incremental: bool, classes: Any) -> None:
        if incremental and _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        elif not self.warm_start:
            self._check_known(y)
        elif set(present := unique_labels(y)) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {present}"
            )

    def _check_known(self, y: Any) -> None:
        if y.ndim == 1 and y.dtype.kind == self.classes_.dtype.kind != "O":  # unique_labels takes long to say the same
            places = np.searchsorted(self.classes_, y)
            if (self.classes_.take(places, mode="clip") == y).all():
                return
        classes = unique_labels(y)
        if set(classes) - set(self.classes_):  # which NumPy before 1.25 cannot tell where one has words
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _encode(self, y: Any) -> Any:
        """Return the numbers of the classes (n,), or zeros and ones, (n, 1) for two classes, (n, k) for many labels."""
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return np.asarray(self._label_binarizer.transform(y)).astype(np.uint8)
        if y.ndim == 2:
            raise ValueError("The object was not fitted with multilabel input.")
        numbers = np.searchsorted(self.classes_, y)
        if self._label_binarizer.y_type_ == "multiclass":
            return numbers
        return numbers.astype(np.uint8).reshape(-1, 1)

    def _output(self, y: NDArray[Any]) -> tuple[int, str, str]:
        if self._label_binarizer.y_type_ == "multiclass":
            return len(self.classes_), "softmax", "cross_entropy"
        return y.shape[1], "logistic", "binary_cross_entropy"

    def _weigh_classes(self, y: NDArray[Any], sample_weight: Any, incremental: bool) -> Any:
        if self.class_weight is None:
            return sample_weight
        columns = self.class_weight if isinstance(self.class_weight, list) else [self.class_weight]
        if incremental and not all(isinstance(each, dict) for each in columns):
            raise ValueError(
                "class_weight must be a dict or None for partial_fit, which does not see all rows; got "
                f"{self.class_weight!r}"
            )
        multilabel = self._label_binarizer.y_type_.startswith("multilabel")
        labels = y if multilabel else self.classes_[y.ravel()]
        if incremental:  # rows of every class, for scikit-learn refuses a dict that names one that is not there
            every = np.repeat([[0], [1]], y.shape[1], axis=1) if multilabel else self.classes_
            labels = np.concatenate([labels, every])
        weights = compute_sample_weight(self.class_weight, labels)
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ValueError(f"class_weight must have finite weights of at least 0; got {self.class_weight!r}")
        weights = weights[: len(y)] if sample_weight is None else weights[: len(y)] * sample_weight
        if not weights.any():
            raise ValueError(
                "class_weight must not, with sample_weight, give all rows the weight 0; got "
                f"class_weight={self.class_weight!r}"
            )
        return weights

    def _score_outputs(self, outputs: NDArray[Any], examples: Examples) -> float:
        if self._label_binarizer.y_type_ == "binary" and len(self.classes_) == 1:
            return 1.0  # whatever the output: `predict` can only return that class
        return accuracy(outputs, examples.y, examples.score_weights)

    def predict(self, X: Any) -> Any:  # noqa: N803
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_labels)
            Labels, or for many labels at once zeros and ones.

        Raises
        ------
        ValueError
            If X is wrong, or a row has numbers so large that its probabilities are not numbers.
        sklearn.exceptions.NotFittedError
            If the classifier is not fitted.
        RuntimeError
            If another thread is training it.
        """
        outputs = self._outputs(X)
        if not is_plain_and_finite(outputs, outputs.dtype):  # NaN would be taken for one class or the other
            row = int(np.argwhere(np.isnan(outputs))[0, 0])
            raise ValueError(
                f"X must have rows whose probabilities are finite in {outputs.dtype}; those of row {row} are "
                f"{outputs[row]}: it, or the weights, hold numbers that are too large"
            )
        return self._labels(outputs)

    def _labels(self, outputs: NDArray[Any]) -> Any:
        binarizer = self._label_binarizer
        if binarizer.y_type_ == "multiclass":
            return self.classes_[outputs.argmax(axis=1)]
        if binarizer.y_type_ == "binary" and len(self.classes_) == 2:
            return self.classes_[(outputs[:, 0] > 0.5).astype(np.intp)]
        return binarizer.inverse_transform(outputs[:, 0] if self.n_outputs_ == 1 else outputs)

    def predict_proba(self, X: Any) -> Any:  # noqa: N803
        """Return the probability of each class, or for many labels at once of each label.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
            In the network's dtype, its columns in the order of `classes_`.

        Raises
        ------
        ValueError
            If X is wrong.
        sklearn.exceptions.NotFittedError
            If the classifier is not fitted.
        RuntimeError
            If another thread is training it.
        """
        outputs = self._outputs(X)
        if self.n_outputs_ != 1:
            return outputs
        probabilities = np.empty((len(outputs), 2), outputs.dtype)
        np.subtract(1, outputs, out=probabilities[:, :1])
        probabilities[:, 1:] = outputs
        return probabilities

    def predict_log_proba(self, X: Any) -> Any:  # noqa: N803
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_classes)

        Raises
        ------
        ValueError
            If X is wrong.
        sklearn.exceptions.NotFittedError
            If the classifier is not fitted.
        RuntimeError
            If another thread is training it.
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def input_gradient(self, X: Any) -> Any:  # noqa: N803
        """Return the derivative of each probability with respect to each input.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_features) or (n_samples, n_classes, n_features)
            For two classes that of the probability of the second.

        Raises
        ------
        ValueError
            If X is wrong.
        sklearn.exceptions.NotFittedError
            If the classifier is not fitted.
        RuntimeError
            If another thread is training it.
        """
        return self._jacobian(X)

    @available_if(lambda estimator: estimator._check_solver())  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> "MLPClassifier":  # noqa: N803
        """Train for one epoch, and keep the optimizer's state for the next.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,) or (n_samples, n_labels)
        sample_weight : array-like, shape (n_samples,), optional
            How much each row counts, at least 0.
        classes : array-like, shape (n_classes,), optional
            All labels that will ever come; needed in the first call.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong, or the training diverges.
        RuntimeError
            If another thread, or the fit whose callback this is, uses the estimator.
        """
        self._fit(X, y, sample_weight, incremental=True, classes=classes)
        return self

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the classifier as an ONNX model, which ONNX Runtime and others run without Python or fastnn.

        Input and outputs are named as by skl2onnx with the option ``zipmap=False``: "X", shape (n, n_features), in the
        network's dtype; "label", what `predict` returns, int64 or strings; and "probabilities", what `predict_proba`
        returns. The rest is as in `MLP.to_onnx`.

        Parameters
        ----------
        path : str or os.PathLike
            The file's name, taken as it is.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the classifier is not fitted.
        ValueError
            If the labels are neither strings nor integers of 64 bits.
        ImportError
            Without the package onnx.
        """
        from fastnn.interchange.onnx import write_classifier

        write_classifier(self, path)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _check_labels(labels: NDArray[Any]) -> None:
    """Raise a ValueError if one is missing, or some are strings and some not: scikit-learn finds no order for them."""
    if labels.dtype != object:
        return
    try:
        present = set(labels.flat)
    except TypeError:  # no labels at all, as scikit-learn will say
        return
    for label in present:
        if label is None or is_pandas_na(label) or is_scalar_nan(label):
            raise ValueError(f"y must have a label for each row; got {label!r}")
    words = {label for label in present if isinstance(label, str)}
    if words and words != present:
        some = f"{min(words)!r} and {next(iter(present - words))!r}"
        raise ValueError(f"y must have labels of one kind, all strings or none; got {some}")
