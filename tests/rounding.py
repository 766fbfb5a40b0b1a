"""How far rounding may take a network's results: running error analysis (Higham, Accuracy and Stability, section 3.3).

Every quantity carries a bound on its error, to first order in eps; eps is twice the unit roundoff, which leaves room
for the second order. A sum of k products, in any order, is off by at most k eps / 2 times the sum of their
absolute values.
A function's error is what its argument's error makes of it, found by evaluating it at both ends, which also covers
the kinks, plus a few eps of its own.
"""

import numpy as np
import reference_mlp as reference
from reference import activation, activation_derivative

OWN = 5  # eps by which the kernels' own functions may be off; test_activation.py asserts less


def moved(function, at, error):
    """How far an elementwise function moves, at most, where its argument is off by error."""
    middle = function(at)
    return np.maximum(np.abs(function(at + error) - middle), np.abs(function(at - error) - middle))


def product(a, a_error, b, b_error, eps):
    """The error of a @ b."""
    return a_error @ np.abs(b) + np.abs(a) @ (b_error + a.shape[1] * eps * np.abs(b))


def own_error(name, z, a):
    """How many eps the function itself is off, for an activation a of z."""
    return OWN * np.maximum(np.abs(a), np.minimum(np.abs(z), 1))


def forward(network, parameters, x, eps, own_error=own_error):
    """The errors of what reference.forward returns."""
    inputs, zs = reference.forward(network, parameters, x)
    input_errors, z_errors = [np.zeros_like(x)], []
    for i, (weights, biases) in enumerate(reference.layers(network, parameters)):
        z_errors.append(product(inputs[i], input_errors[i], weights, 0, eps) + eps * np.abs(zs[i]))
        if biases is not None:
            z_errors[i] += eps * np.abs(biases)
        if i < len(zs) - 1:
            name = network.activations[i]
            own = eps * own_error(name, zs[i], inputs[i + 1])
            input_errors.append(moved(lambda z, name=name: activation(name, z), zs[i], z_errors[i]) + own)
    return input_errors, z_errors


def output(network, parameters, x, eps, own_error=own_error):
    """The error of the prediction."""
    z = reference.forward(network, parameters, x)[1][-1]
    z_error = forward(network, parameters, x, eps, own_error)[1][-1]
    p = reference.output_activation(network.activations[-1], z)
    if network.activations[-1] == "softmax":  # a quotient of e^z and their sum
        relative = 2 * z_error.max(axis=1, keepdims=True) + (2 * OWN + p.shape[1]) * eps
        return p * relative
    own = eps * own_error(network.activations[-1], z, p)
    return moved(lambda z: reference.output_activation(network.activations[-1], z), z, z_error) + own


def objective(network, parameters, x, y, w, eps):
    """The error of the objective."""
    z = reference.forward(network, parameters, x)[1][-1]
    z_error = forward(network, parameters, x, eps)[1][-1]
    y = reference.as_targets(network, y)
    elements = reference.loss_elements(network, z, y)
    if network.loss == "cross_entropy":  # log-sum-exp's slopes are between 0 and 1, and add to 1
        error = np.abs(y) * 2 * z_error.max(axis=1, keepdims=True)
    else:
        error = moved(lambda z: reference.loss_elements(network, z, y), z, z_error)
    error = error + 2 * OWN * eps * (np.abs(elements) + np.abs(y * z) + np.minimum(np.abs(z), 1))
    factors = reference.row_factors(network, len(x), w)
    penalty = network.l2 / 2 * sum(np.sum(weights**2) for weights, _ in reference.layers(network, parameters))
    total = np.sum(factors * (error + elements.size * eps * np.abs(elements)))
    return total + (len(parameters) + OWN) * eps * penalty + OWN * eps * np.abs(elements).max(initial=0) * factors.max()


def gradients(network, parameters, x, y, w, eps):
    """The errors of the gradients with respect to the parameters, flat, and to x."""
    zs, z_errors = reference.forward(network, parameters, x)[1], forward(network, parameters, x, eps)[1]
    y = reference.as_targets(network, y)
    factors = reference.row_factors(network, len(x), w)
    delta = reference.loss_elements_derivative(network, zs[-1], y)
    if network.loss == "cross_entropy":
        error = output(network, parameters, x, eps)
    else:
        error = moved(lambda z: reference.loss_elements_derivative(network, z, y), zs[-1], z_errors[-1])
    p = reference.output_activation(network.activations[-1], zs[-1])
    # differences such as p - y, and slopes found from the activation such as 1 - a a, are off by eps of their terms
    error = error + 2 * OWN * eps * (np.abs(delta) + np.abs(p) + np.abs(y) + 1)
    return backward(network, parameters, x, factors * delta, factors * error, eps)


def jacobian(network, parameters, x, eps):
    """The errors of the jacobian."""
    z, z_error = reference.forward(network, parameters, x)[1][-1], forward(network, parameters, x, eps)[1][-1]
    name = network.activations[-1]
    p, p_error = reference.output_activation(name, z), output(network, parameters, x, eps)
    rows = []
    for j in range(p.shape[1]):
        unit = np.zeros_like(p)
        unit[:, j] = 1
        match name:
            case "softmax":
                delta = p[:, [j]] * (unit - p)
                error = p_error[:, [j]] * np.abs(unit - p) + p[:, [j]] * (p_error + eps)
            case "exp":
                delta, error = unit * p, unit * p_error
            case _:
                delta = unit * activation_derivative(name, z)
                error = unit * moved(lambda z: activation_derivative(name, z), z, z_error)
                error += 2 * OWN * eps * unit
        rows.append(backward(network, parameters, x, delta, error + OWN * eps * np.abs(delta), eps)[1])
    return np.stack(rows, axis=1)


def backward(network, parameters, x, delta, error, eps):
    """The errors of the derivatives with respect to the parameters, flat, and to x, where delta is off by error."""
    inputs, zs = reference.forward(network, parameters, x)
    input_errors, z_errors = forward(network, parameters, x, eps)
    found = []
    for i in reversed(range(len(zs))):
        weights, biases = reference.layers(network, parameters)[i]
        dweights = product(inputs[i].T, input_errors[i].T, delta, error, eps) + 2 * eps * network.l2 * np.abs(weights)
        dweights += eps * np.abs(inputs[i].T @ delta)
        dbiases = None if biases is None else np.sum(error + len(x) * eps * np.abs(delta), axis=0)
        found.insert(0, (dweights, dbiases))
        error = product(delta, error, weights.T, 0, eps)
        delta = delta @ weights.T
        if i > 0:
            name = network.activations[i - 1]
            slope = activation_derivative(name, zs[i - 1])
            slope_error = moved(lambda z, name=name: activation_derivative(name, z), zs[i - 1], z_errors[i - 1])
            slope_error += 2 * OWN * eps * np.maximum(np.abs(slope), 1)
            error = error * np.abs(slope) + np.abs(delta) * slope_error
            delta = delta * slope
    return reference.flat(found), error


def assert_within(got, expected, bound, what=""):
    """Assert that got is as near to expected as bound says, element by element."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, what
    assert np.isfinite(got).all(), what
    excess = np.abs(got - expected) - bound
    worst = np.unravel_index(np.argmax(excess), excess.shape)
    bound = np.broadcast_to(bound, got.shape)[worst]
    where = f"{what} {list(map(int, worst))}"
    assert excess[worst] <= 0, f"{where}: {got[worst]} is not {expected[worst]} within {bound}"
