"""MLPRegressor: a network that predicts numbers, in scikit-learn's shape."""

import os
from typing import Any, ClassVar

from numpy.typing import NDArray
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from fastnn.estimators.base import BaseMLP
from fastnn.estimators.scores import r2
from fastnn.estimators.solvers import Examples
from fastnn.losses import Huber, Quantile


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]
    """A network that predicts numbers, in the shape of `sklearn.neural_network.MLPRegressor`.

    Constructor, defaults, attributes, methods and warnings are scikit-learn's (1.6 to 1.9), and so is what they mean:
    with the same random_state a fit takes the same steps up to rounding. The parameters after max_fun and the further
    losses are fastnn's own.

    Parameters
    ----------
    loss : str, Huber or Quantile, default "squared_error"
        "squared_error", half of it; "poisson", half the Poisson deviance, for y of at least 0 and outputs
        ``exp(z)``; "absolute_error" (or "mae"), "huber" and "quantile" as in `MLP`, also as fastnn.Huber(delta) or
        fastnn.Quantile(q). With several outputs the loss is the mean over them, poisson's the sum, and the gradient
        always that of the sum.
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
    out_activation_ : str
        "exp" for poisson, else "identity".

    Notes
    -----
    A float64 X is rounded to float32 for a network that was fitted in float32. A fit whose loss is no longer finite
    ends there with scikit-learn's ValueError, or with early_stopping with a ConvergenceWarning and the best weights.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import make_regression
    >>> x, y = make_regression(n_samples=200, n_features=10, random_state=0)
    >>> regressor = fastnn.MLPRegressor(solver="lbfgs", max_iter=1000, random_state=0).fit(x, y)
    >>> regressor.score(x, y) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "loss": [
            StrOptions({"squared_error", "poisson", "absolute_error", "mae", "huber", "quantile"}),
            Huber,
            Quantile,
        ],
    }
    _y_is_numeric = True

    def __init__(
        self,
        loss: Any = "squared_error",
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
        dropout: Any = 0.0,
        n_threads: Any = None,
        max_time: Any = None,
        callbacks: Any = (),
    ) -> None:
        self.loss = loss
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
        self.dropout = dropout
        self.n_threads = n_threads
        self.max_time = max_time
        self.callbacks = callbacks

    def _encode(self, y: Any) -> Any:
        return y.reshape(-1, 1) if y.ndim == 1 else y

    def _output(self, y: NDArray[Any]) -> tuple[int, str, Any]:
        loss = self._network_loss()
        return y.shape[1], "exp" if loss == "poisson" else "identity", loss

    def _network_loss(self) -> Any:
        """Return MLP's name of what scikit-learn's name means, or what it is in both."""
        return {"squared_error": "mse", "absolute_error": "mae"}.get(self.loss, self.loss)

    def _score_outputs(self, outputs: NDArray[Any], examples: Examples) -> float:
        return r2(outputs, examples.y, examples.score_weights)

    def predict(self, X: Any) -> Any:  # noqa: N803
        """Return the network's outputs.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_outputs)
            In the network's dtype.

        Raises
        ------
        ValueError
            If X is wrong.
        sklearn.exceptions.NotFittedError
            If the regressor is not fitted.
        RuntimeError
            If another thread is training it.
        """
        outputs = self._outputs(X)
        return outputs.reshape(-1) if outputs.shape[1] == 1 else outputs

    def input_gradient(self, X: Any) -> Any:  # noqa: N803
        """Return the derivative of each prediction with respect to each input.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_features) or (n_samples, n_outputs, n_features)

        Raises
        ------
        ValueError
            If X is wrong.
        sklearn.exceptions.NotFittedError
            If the regressor is not fitted.
        RuntimeError
            If another thread is training it.
        """
        return self._jacobian(X)

    @available_if(lambda estimator: estimator._check_solver())  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MLPRegressor":  # noqa: N803
        """Train for one epoch, and keep the optimizer's state for the next.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like, shape (n_samples,), optional
            How much each row counts, at least 0.

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
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the regressor as an ONNX model, which ONNX Runtime and others run without Python or fastnn.

        Input and output are named as by skl2onnx: "X", shape (n, n_features), and "variable", shape (n, n_outputs), in
        the network's dtype. The rest is as in `MLP.to_onnx`.

        Parameters
        ----------
        path : str or os.PathLike
            The file's name, taken as it is.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the regressor is not fitted.
        ImportError
            Without the package onnx.
        """
        from fastnn.interchange.onnx import write_regressor

        write_regressor(self, path)
