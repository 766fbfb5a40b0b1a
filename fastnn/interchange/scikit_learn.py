"""scikit-learn: fastnn.from_sklearn reads a fitted MLPClassifier or MLPRegressor, and to_sklearn makes one.

They carry what was learned, what the fits left to see, and what the next fit goes on from: the state of the optimizer
and the random stream.
"""

import copy
import inspect
import math
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn
from fastnn.extras import import_extra

# Attributes with the same meaning on both sides, those that a fit may not set included.
SHARED = (
    "classes_",
    "n_features_in_",
    "feature_names_in_",
    "n_layers_",
    "n_outputs_",
    "out_activation_",
    "n_iter_",
    "t_",
    "loss_",
    "loss_curve_",
    "best_loss_",
    "validation_scores_",
    "best_validation_score_",
    "_label_binarizer",
    "_no_improvement_count",
    "_random_state",
)
# By out_activation_.
LOSSES = {"softmax": "cross_entropy", "logistic": "binary_cross_entropy", "exp": "poisson", "identity": "mse"}
WITHOUT_EFFECT = ("n_threads",)  # on what is learned, among the parameters that scikit-learn lacks
UNDERFLOW = 1e-290  # where powers of Adam's betas lose their digits


def from_sklearn(estimator: Any) -> Any:
    """Make a fitted fastnn estimator of a fitted one of scikit-learn.

    It has the same parameters, weights and attributes, copied, predicts the same within rounding, and goes on from the
    state of the optimizer, the learning rate and the random stream: `partial_fit`, and `fit` with `warm_start`, take
    the steps that scikit-learn's would take, within rounding. After a `set_params` that asks for another optimizer
    fastnn's `partial_fit` begins with a new one; scikit-learn's would go on with the old.

    Parameters
    ----------
    estimator : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted, with any solver.

    Returns
    -------
    MLPClassifier or MLPRegressor
        Fastnn's, which computes in the dtype of ``estimator.coefs_``.

    Raises
    ------
    TypeError
        If it is something else than these two.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        If its weights are not finite, or its class adds parameters to scikit-learn's.
    ImportError
        Without scikit-learn.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> x, y = load_iris(return_X_y=True)
    >>> theirs = MLPClassifier(solver="lbfgs", random_state=0).fit(x, y)
    >>> ours = fastnn.from_sklearn(theirs)
    >>> bool((ours.predict(x) == theirs.predict(x)).all())
    True
    """
    neural_network = import_extra("sklearn.neural_network", "sklearn", "fastnn.from_sklearn")
    from sklearn.utils.validation import check_is_fitted

    names = ("MLPClassifier", "MLPRegressor")
    name = next((each for each in names if isinstance(estimator, getattr(neural_network, each))), None)
    if name is None:
        raise TypeError(f"estimator must be scikit-learn's MLPClassifier or MLPRegressor; got {estimator!r}")
    check_is_fitted(estimator)
    parameters = _parameters(estimator, getattr(neural_network, name))
    kept = [each for each in SHARED if each in vars(estimator)]
    # at once, for random_state and _random_state may be one object
    state = copy.deepcopy(parameters | {each: vars(estimator)[each] for each in kept})
    ours = getattr(fastnn, name)(**{each: state.pop(each) for each in parameters})
    arrays = [*estimator.coefs_, *estimator.intercepts_]
    is_float32 = all(array.dtype == np.float32 for array in arrays)
    ours._random_state = np.random.RandomState(0)  # for initial weights, in whose place come others
    ours._prepare_network(
        [arrays[0].shape[0], *(coef.shape[1] for coef in estimator.coefs_)],
        LOSSES[estimator.out_activation_],
        np.dtype("float32" if is_float32 else "float64"),
        begins_anew=True,
    )
    ours.network_.parameters = _pack(arrays)
    vars(ours).update(state)
    if ours.solver != "lbfgs" and ours.early_stopping:
        ours._best_parameters = _pack([*estimator._best_coefs, *estimator._best_intercepts]).astype(ours.network_.dtype)
    if hasattr(estimator, "_optimizer") and ours.solver != "lbfgs":
        ours._optimizer = _read_optimizer(estimator._optimizer, ours)
    _copy_requests(estimator, ours)
    return ours


def to_sklearn(estimator: Any) -> Any:
    """Make scikit-learn's of a fitted estimator; `MLPClassifier.to_sklearn` says what it is."""
    neural_network = import_extra("sklearn.neural_network", "sklearn", "to_sklearn")
    from sklearn.utils.validation import check_is_fitted

    from fastnn.estimators.solvers import solver_of

    check_is_fitted(estimator)
    name = "MLPClassifier" if isinstance(estimator, fastnn.MLPClassifier) else "MLPRegressor"
    cls = getattr(neural_network, name)
    network = estimator._synchronize()
    network._engine.check_idle()
    parameters = _parameters(estimator, getattr(fastnn, name))
    own = parameters.keys() - inspect.signature(cls).parameters.keys()
    _check_own(parameters, own - {*WITHOUT_EFFECT}, getattr(fastnn, name), cls)
    parameters = {each: value for each, value in parameters.items() if each not in own}
    parameters["activation"] = _one_activation(estimator.activation)
    kept = [each for each in SHARED if each in vars(estimator)]
    state = copy.deepcopy(parameters | {each: vars(estimator)[each] for each in kept})
    theirs = cls(**{each: state.pop(each) for each in parameters})
    theirs._validate_params()
    _check_network(estimator, network)
    vars(theirs).update(state)
    theirs.coefs_, theirs.intercepts_ = _unpack(network.parameters, network.layer_sizes)
    best = getattr(estimator, "_best_parameters", None)
    theirs._best_coefs, theirs._best_intercepts = _unpack(
        network.parameters if best is None else best, network.layer_sizes
    )
    if hasattr(estimator, "_optimizer") and theirs.solver != "lbfgs":
        fresh = solver_of(estimator, network.parameters)
        # set_params may have asked for another, with which the next fit here too would begin
        is_kept = estimator._optimizer.rules == fresh.rules
        theirs._optimizer = _write_optimizer(estimator._optimizer if is_kept else fresh, theirs)
    _copy_requests(estimator, theirs)
    return theirs


def _parameters(estimator: Any, cls: Any) -> dict[str, Any]:
    """Return the estimator's parameters, which must be those of the class; a subclass may set some of them itself."""
    names = inspect.signature(cls).parameters
    if added := sorted(estimator.get_params(deep=False).keys() - names.keys()):
        raise ValueError(
            f"estimator must have no parameters beyond {cls.__name__}'s; {type(estimator).__name__} adds "
            f"{', '.join(added)}"
        )
    return {name: getattr(estimator, name) for name in names}


def _check_own(parameters: dict[str, Any], own: set[str], ours: Any, theirs: Any) -> None:
    """Raise a ValueError if a parameter that scikit-learn lacks is in use."""
    for name in sorted(own):
        value, default = parameters[name], inspect.signature(ours).parameters[name].default
        is_default = value is default or (isinstance(default, tuple) and value in ([], ())) or value == default
        if not is_default:
            raise ValueError(f"scikit-learn's {theirs.__name__} has no {name}; got {name}={value!r}")


def _one_activation(activation: Any) -> Any:
    """Return scikit-learn's name of the activation, where all hidden layers have the same."""
    names = {activation} if isinstance(activation, str) else {*activation}
    names = {"logistic" if name == "sigmoid" else name for name in names}
    if not names:  # without hidden layers
        return "relu"
    return names.pop() if len(names) == 1 else activation


def _check_network(estimator: Any, network: Any) -> None:
    """Raise a ValueError if set_params has changed since the fit what the network computes or minimizes."""
    name, n_hidden = estimator.activation, len(network.activations) - 1
    names = [name] * n_hidden if isinstance(name, str) else [*name]
    hidden = list(network.activations[:-1])
    if ["sigmoid" if name == "logistic" else name for name in names] != hidden:
        raise ValueError(
            f"activation must be that of the fitted network, {hidden}, until the next fit; got {estimator.activation!r}"
        )
    if not isinstance(estimator, fastnn.MLPRegressor):
        return
    if (loss := estimator._network_loss()) != network.loss_function:
        raise ValueError(f"loss must be what the network minimized, {network.loss_function!r}; got {loss!r}")


def _copy_requests(source: Any, target: Any) -> None:
    """Copy the requests for metadata that were set, of what the target's methods take."""
    if not hasattr(source, "_metadata_request"):
        return
    requests = target._get_metadata_request()
    for method, request in vars(source._metadata_request).items():
        known = getattr(getattr(requests, method), "requests", {})
        for name, alias in getattr(request, "requests", {}).items():
            if name in known:
                getattr(requests, method).add_request(param=name, alias=alias)
    target._metadata_request = requests


def _pack(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """Lay out as MLP.parameters what comes in scikit-learn's order, all weights and then all biases."""
    half = len(arrays) // 2
    pairs = zip(arrays[:half], arrays[half:], strict=True)
    return np.concatenate([np.ravel(array) for pair in pairs for array in pair])


def _unpack(flat: NDArray[Any], sizes: tuple[int, ...]) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Return copies of the weights and of the biases in what is laid out as MLP.parameters."""
    coefs, intercepts, start = [], [], 0
    for n_inputs, n_outputs in pairwise(sizes):
        middle = start + n_inputs * n_outputs
        coefs.append(flat[start:middle].reshape(n_inputs, n_outputs).copy())
        start = middle + n_outputs
        intercepts.append(flat[middle:start].copy())
    return coefs, intercepts


def _read_optimizer(theirs: Any, ours: Any) -> Any:
    """Return the state of scikit-learn's optimizer as the engine has it.

    The settings are its own: where set_params has changed the estimator's since, the next fit begins with another.
    """
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

    from fastnn.estimators.solvers import solver_of

    settings = SimpleNamespace(**ours.get_params(deep=False) | _settings(theirs))
    solver = solver_of(settings, ours.network_.parameters)
    steps: Any = solver.steps
    if isinstance(theirs, SGDOptimizer):
        solver.learning_rate = float(theirs.learning_rate)
        if steps.first is not None:
            steps.first[...] = -_pack(theirs.velocities)  # what scikit-learn adds to the weights is subtracted here
    elif isinstance(theirs, AdamOptimizer):
        steps.first[...], steps.second[...] = _pack(theirs.ms), _pack(theirs.vs)
        steps.beta_1_power, steps.beta_2_power = theirs.beta_1**theirs.t, theirs.beta_2**theirs.t
    return solver


def _settings(theirs: Any) -> dict[str, Any]:
    """Return the parameters of an estimator that would make such an optimizer."""
    settings: dict[str, Any] = {"learning_rate_init": theirs.learning_rate_init}
    if hasattr(theirs, "lr_schedule"):
        settings |= {"solver": "sgd", "learning_rate": theirs.lr_schedule, "power_t": theirs.power_t}
        return settings | {"momentum": theirs.momentum, "nesterovs_momentum": theirs.nesterov}
    return settings | {"solver": "adam"} | {name: getattr(theirs, name) for name in ("beta_1", "beta_2", "epsilon")}


def _write_optimizer(ours: Any, theirs: Any) -> Any:
    """Return scikit-learn's optimizer in the engine's state."""
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

    steps, t = ours.steps, theirs
    sizes = (theirs.coefs_[0].shape[0], *(coef.shape[1] for coef in theirs.coefs_))
    parameters = [*theirs.coefs_, *theirs.intercepts_]
    if theirs.solver == "sgd":
        sgd = SGDOptimizer(parameters, t.learning_rate_init, ours.rule, t.momentum, t.nesterovs_momentum, ours.power)
        sgd.learning_rate = ours.learning_rate
        if steps.first is not None:
            sgd.velocities = [-each for arrays in _unpack(steps.first, sizes) for each in arrays]
        return sgd
    adam = AdamOptimizer(parameters, t.learning_rate_init, t.beta_1, t.beta_2, t.epsilon)
    adam.ms, adam.vs = (
        [each for arrays in _unpack(flat, sizes) for each in arrays] for flat in (steps.first, steps.second)
    )
    adam.t = _steps_taken(steps, adam)
    return adam


def _steps_taken(steps: Any, adam: Any) -> int:
    """Return the number of Adam's steps, by the powers of its betas."""
    for beta, power in ((adam.beta_2, steps.beta_2_power), (adam.beta_1, steps.beta_1_power)):
        if beta > 0 and power > UNDERFLOW:
            return round(math.log(power) / math.log(beta))
    return 2**31  # or any number so large that both powers are 0
