"""The reference itself: its gradients are the slopes of what it computes, found by fourth-order finite differences."""

import networks
import numpy as np
import pytest
import reference
import reference_mlp

STEP = 2.0**-12  # in long double: the fourth-order formula's own error, of order STEP**4, is 4e-15


def slopes(function, at):
    """The derivatives of a function with respect to each element of an array: central differences of fourth order."""
    found = []
    for i in range(at.size):
        values = []
        for k in (-2, -1, 1, 2):
            moved = at.copy()
            moved.flat[i] += k * STEP
            values.append(function(moved))
        found.append((values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * STEP))
    return np.stack(found, axis=-1)


def long(*arrays):
    return [array.astype(np.longdouble) for array in arrays]


# erf is known in float64 only, whose rounding, over STEP, is all that is wrong with the slopes of gelu
TOLERANCE = {"gelu": 1e-16 / STEP * 100}


@pytest.mark.parametrize("name", networks.ACTIVATIONS)
def test_activation_derivative(name):
    (z,) = long(np.linspace(-6, 6, 120))  # steps past the kink at 0
    z = z[np.abs(z) > 2 * STEP]
    with np.errstate(under="ignore"):
        found = slopes(lambda moved: reference.activation(name, moved), z).diagonal()
        expected = reference.activation_derivative(name, z)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE.get(name, 1e-13))


@pytest.mark.parametrize("name", networks.ACTIVATIONS)
def test_activation_at_zero(name):
    """The negative side's slope where there is a kink."""
    (zero,) = long(np.zeros(1))
    left = (reference.activation(name, zero) - reference.activation(name, zero - 1e-9)) / 1e-9
    np.testing.assert_allclose(reference.activation_derivative(name, zero), left, atol=1e-6)


@pytest.mark.parametrize("loss", networks.LOSSES)
@pytest.mark.parametrize("activation", networks.ACTIVATIONS)
def test_gradients(loss, activation):
    """Of the parameters and of x, in turn with and without biases, l2, weights and masks."""
    case = networks.LOSSES.index(loss) + networks.ACTIVATIONS.index(activation)
    output = activation if loss in networks.FREE_LOSSES else None
    described = networks.network(
        (2, 3, 4, 3), activation, loss, output, 0.3 if loss in ("huber", "quantile") else None, case % 2 == 0, case % 3
    )
    x, y, w = long(*networks.data(described, 5))
    (parameters,) = long(networks.parameters(described))
    w = w if case % 5 else None
    masks = [np.random.default_rng(0).integers(0, 2, (5, units)) / 0.5 for units in (3, 4)] if case % 7 else None
    dparameters, dx = reference_mlp.gradients(described, parameters, x, y, w, masks)
    tolerance = TOLERANCE.get(activation, 1e-12) * 10
    found = slopes(lambda moved: reference_mlp.objective(described, moved, x, y, w, masks), parameters)
    np.testing.assert_allclose(dparameters, found, rtol=0, atol=tolerance * np.abs(found).max())
    found = slopes(lambda moved: reference_mlp.objective(described, parameters, moved, y, w, masks), x)
    np.testing.assert_allclose(dx, found.reshape(x.shape), rtol=0, atol=tolerance * np.abs(found).max())


@pytest.mark.parametrize("output", [*networks.ACTIVATIONS, "exp", "softmax"])
def test_jacobian(output):
    described = networks.network((3, 4, 2), "tanh", "mse", output)
    (x,), (parameters,) = long(networks.data(described, 4)[0]), long(networks.parameters(described))
    found = slopes(lambda moved: reference_mlp.predict(described, parameters, moved), x).reshape(4, 2, 4, 3)
    expected = reference_mlp.jacobian(described, parameters, x)
    for i in range(4):  # a row's output depends on this row alone
        np.testing.assert_allclose(found[i, :, i], expected[i], rtol=0, atol=TOLERANCE.get(output, 1e-12))


def test_integer_labels_are_one_hot_rows():
    described = networks.network((3, 4, 5), loss="cross_entropy")
    x, y, _ = networks.data(described, 6)
    parameters = networks.parameters(described)
    expected = reference_mlp.objective(described, parameters, x, y)
    for labels in (y.argmax(axis=1), y.argmax(axis=1)[:, np.newaxis]):
        assert reference_mlp.objective(described, parameters, x, labels) == expected
