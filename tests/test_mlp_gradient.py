"""MLP without training: predictions, losses, gradients and jacobians are the reference's, within bounds on rounding."""

import functools

import networks
import numpy as np
import pytest
import reference_mlp as reference
import rounding
from rounding import assert_within

import fastnn

ROWS = [1, 2, 31, 32, 33]
FEW_OUTPUTS_ROWS = [8, 16, 31, 64, 73, 128, 140, 261]
CUT = 512  # from so many rows on, a small network's gradient and loss are sums of parts
L2 = 0.125


def bounds(dtype):
    """The eps of the network and of the float64 reference, whose errors add."""
    return float(np.finfo(dtype).eps + np.finfo(float).eps)


@functools.lru_cache(maxsize=2048)  # the instruction sets share what is expected
def expected(described, n, weighted, eps):
    """What the reference computes of a network and n rows, and how far rounding may lead from it."""
    x, y, w = networks.data(described, n)
    parameters, w = networks.parameters(described), w if weighted else None
    gradient, _ = reference.gradients(described, parameters, x, y, w)
    gradient_bound, _ = rounding.gradients(described, parameters, x, y, w, eps)
    _, dx = reference.gradients(described, parameters, x, y)
    _, dx_bound = rounding.gradients(described, parameters, x, y, None, eps)
    return {
        "prediction": (reference.predict(described, parameters, x), rounding.output(described, parameters, x, eps)),
        "loss": (
            reference.objective(described, parameters, x, y, w),
            rounding.objective(described, parameters, x, y, w, eps),
        ),
        "gradient": (gradient, gradient_bound),
        "input_gradient": (dx, dx_bound),
    }


def check(described, n, dtype, weighted=False):
    """Compare all that can be computed of a network and n rows with the reference."""
    x, y, w = networks.data(described, n)
    w = w if weighted else None
    net = networks.mlp(described, dtype)
    before = net.parameters.tobytes()
    loss, gradient = net.loss_and_gradient(x, y, sample_weight=w)
    found = {
        "prediction": net.predict(x),
        "loss": net.loss(x, y, sample_weight=w),
        "gradient": gradient,
        "input_gradient": net.input_gradient(x, y),
    }
    assert type(found["loss"]) is type(loss) is float
    assert found["loss"] == loss or n >= CUT
    assert_within(loss, *expected(described, n, weighted, bounds(dtype))["loss"], f"{described}, {n} rows: its loss")
    assert gradient.dtype == found["prediction"].dtype == found["input_gradient"].dtype == dtype
    for name, (wanted, bound) in expected(described, n, weighted, bounds(dtype)).items():
        assert_within(found[name], wanted, bound, f"{described}, {n} rows: {name}")
    assert net.parameters.tobytes() == before


class TestAgainstTheReference:
    """Every loss with every activation, sizes and options in turn."""

    @pytest.mark.parametrize("loss", networks.LOSSES)
    @pytest.mark.parametrize("activation", networks.ACTIVATIONS)
    def test_losses_and_activations(self, isa, dtype, loss, activation):
        case = networks.LOSSES.index(loss) * len(networks.ACTIVATIONS) + networks.ACTIVATIONS.index(activation)
        sizes = [s for s in networks.SIZES if len(s) > 2 and (s[-1] > 1 or loss != "cross_entropy")]
        for i, (bias, l2, weighted) in enumerate(
            [(True, 0, False), (True, L2, True), (False, L2, False), (False, 0, True)]
        ):
            described = networks.network(sizes[(case + i) % len(sizes)], activation, loss, None, None, bias, l2)
            check(described, ROWS[(case + i) % len(ROWS)], dtype, weighted)

    @pytest.mark.parametrize("n", [CUT - 1, CUT, CUT + 1, 767, 4096, 4097, 5000])
    def test_many_rows(self, isa, dtype, n):
        """Around the rows of a piece, and more pieces than parts."""
        check(networks.network((4, 33, 16, 4), "tanh", "mse", l2=L2), n, dtype, weighted=True)

    @pytest.mark.parametrize("loss", networks.FREE_LOSSES)
    @pytest.mark.parametrize("output", networks.ACTIVATIONS)
    def test_output_activations(self, isa, dtype, loss, output):
        for sizes, n in (((3, 9, 2), 5), ((5, 17), 33)):
            check(networks.network(sizes, "tanh", loss, output), n, dtype)

    @pytest.mark.parametrize("sizes", networks.SIZES, ids=str)
    def test_sizes(self, isa, dtype, sizes):
        for i, n in enumerate(ROWS):
            loss = ("mse", "binary_cross_entropy")[i % 2]
            check(networks.network(sizes, ("relu", "tanh", "gelu")[i % 3], loss), n, dtype)

    @pytest.mark.parametrize("k", range(1, 10))
    def test_few_outputs(self, isa, dtype, k):
        """Of few inputs and many, and rows that fill the last lanes or not."""
        for i, n_inputs in enumerate([1, 2, 3, 7, 14, 15, 16, 40]):
            check(networks.network((3, n_inputs, k), "tanh"), FEW_OUTPUTS_ROWS[i % len(FEW_OUTPUTS_ROWS)], dtype)

    @pytest.mark.parametrize(
        ("sizes", "loss"),
        [((100, 300, 130, 10), "cross_entropy"), ((785, 64, 33), "mse"), ((10, 1025, 3), "mse")],
        ids=str,
    )
    def test_wide(self, isa, dtype, sizes, loss):
        """Beyond one block of rows, of k and of columns."""
        check(networks.network(sizes, "relu", loss), 261, dtype)

    @pytest.mark.parametrize("loss", ["huber", "quantile"])
    @pytest.mark.parametrize("parameter", [0.125, 0.75])
    def test_parameters_of_losses(self, dtype, loss, parameter):
        described = networks.network((3, 8, 2), "sigmoid", loss, parameter=parameter)
        check(described, 33, dtype)
        check(described, 32, dtype, weighted=True)

    @pytest.mark.parametrize("sizes", [(2, 100_000, 2), (100_000, 3), (3, 20_000)], ids=str)
    def test_very_wide(self, isa, dtype, sizes):
        for n in (1, 3):
            check(networks.network(sizes, "tanh", "mse"), n, dtype)

    def test_activation_per_layer(self, isa, dtype):
        """Each hidden layer has its own."""
        for shift in range(len(networks.ACTIVATIONS)):
            names = np.roll(networks.ACTIVATIONS, shift)[:5].tolist()
            check(networks.network((3, 4, 5, 6, 7, 8, 2), names), 7, dtype)

    @pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
    def test_many_layers(self, dtype, loss):
        check(networks.network((4, *[5] * 40, 3), "sin", loss), 9, dtype)


class TestJacobian:
    """The derivatives of the outputs with respect to the inputs."""

    @pytest.mark.parametrize("output", [*networks.ACTIVATIONS, "exp", "softmax"])
    def test_against_the_reference(self, isa, dtype, output):
        loss = {"exp": "poisson", "softmax": "cross_entropy"}.get(output, "mse")
        activation = networks.ACTIVATIONS[len(output) % len(networks.ACTIVATIONS)]
        for sizes in ((3, 8, 5), (4, 3), (2, 17, 9, 2)):
            described = networks.network(sizes, activation, loss, output)
            net = networks.mlp(described, dtype)
            parameters = net.parameters.astype(float)
            x, _, _ = networks.data(described, 7)
            found = net.jacobian(x)
            expected = reference.jacobian(described, parameters, x)
            assert found.dtype == dtype
            # as many roundings as the gradient of a loss whose derivative is one, so their bounds' ratio to it
            plain = networks.network(sizes, activation, "sse", "identity")
            ones = reference.predict(plain, parameters, x) - 0.5
            _, bound = rounding.gradients(plain, parameters, x, ones, None, bounds(dtype))
            scale = 1 + np.abs(reference.predict(described, parameters, x)).max()
            assert_within(found, expected, 4 * scale * bound.max(), output)

    def test_input_gradient_is_the_losss_slope_through_it(self):
        described = networks.network((5, 16, 2), "tanh", "mse")
        net = networks.mlp(described)
        x, y, _ = networks.data(described, 6)
        slope = 2 * (net.predict(x) - y) / y.size
        np.testing.assert_allclose(
            net.input_gradient(x, y), np.einsum("nk,nkd->nd", slope, net.jacobian(x)), rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize("loss", networks.LOSSES)
@pytest.mark.parametrize("activation", networks.ACTIVATIONS)
def test_finite_differences(loss, activation):
    """The gradient is the slope of net.loss itself, by central differences of fourth order with a step of 2**-9.

    They are off by about step**4 = 1.5e-11 and, from rounding, eps / step = 1e-13 of the loss; more beside a kink,
    which the few data here are not.
    """
    described = networks.network((2, 3, 2), activation, loss, l2=L2)
    net = networks.mlp(described)
    x, y, w = networks.data(described, 4)
    value, gradient = net.loss_and_gradient(x, y, sample_weight=w)
    assert value == net.loss(x, y, sample_weight=w)
    step = 2.0**-9
    for i in range(len(net.parameters)):
        start, values = net.parameters[i], []
        for k in (-2, -1, 1, 2):
            net.parameters[i] = start + k * step
            values.append(net.loss(x, y, sample_weight=w))
        net.parameters[i] = start
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        assert gradient[i] == pytest.approx(slope, rel=0, abs=1e-9 * max(1, np.abs(gradient).max())), i


class TestLargeLogits:
    """No overflow on the way to a result that does not overflow."""

    @pytest.mark.parametrize("size", [100.0, 1e4])
    @pytest.mark.parametrize("loss", ["binary_cross_entropy", "cross_entropy"])
    def test_losses(self, isa, dtype, loss, size):
        described = networks.network((1, 2), loss=loss)
        net = networks.mlp(described, dtype)
        net.parameters[...] = [size, -size, 0, 0]
        x, y = np.array([[1.0], [-1.0], [1.0], [0.0]]), np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.25, 0.75]])
        parameters, eps = net.parameters.astype(float), bounds(dtype)
        value, gradient = net.loss_and_gradient(x, y)
        predicted = net.predict(x)
        np.testing.assert_array_equal(predicted[3], [0.5, 0.5])
        np.testing.assert_allclose(predicted[:3].astype(float) @ [1, 0], [1, 0, 1], rtol=eps, atol=np.exp(-87))
        expected = reference.objective(described, parameters, x, y)
        assert_within(value, expected, rounding.objective(described, parameters, x, y, None, eps), "loss")
        expected, expected_dx = reference.gradients(described, parameters, x, y)
        bound, bound_dx = rounding.gradients(described, parameters, x, y, None, eps)
        assert_within(gradient, expected, bound, "gradient")
        assert_within(net.input_gradient(x, y), expected_dx, bound_dx, "input_gradient")

    @pytest.mark.parametrize("activation", networks.ACTIVATIONS)
    @pytest.mark.parametrize("size", [100.0, 1e4])
    def test_activations(self, isa, dtype, activation, size):
        described = networks.network((1, 2, 1), activation)
        net = networks.mlp(described, dtype)
        net.parameters[...] = [size, -size, 0, 0, 0.5, 0.25, 0]
        x, y = np.array([[1.0], [-1.0], [0.5]]), np.zeros((3, 1))
        parameters, eps = net.parameters.astype(float), bounds(dtype)
        with np.errstate(under="ignore"):
            assert_within(
                net.predict(x),
                reference.predict(described, parameters, x),
                rounding.output(described, parameters, x, eps),
                "prediction",
            )
            value, gradient = net.loss_and_gradient(x, y)
            assert np.isfinite(value)
            expected, _ = reference.gradients(described, parameters, x, y)
            bound, _ = rounding.gradients(described, parameters, x, y, None, eps)
            assert_within(gradient, expected, bound, "gradient")

    def test_poisson_overflows_to_infinity(self, isa, dtype):
        net = networks.mlp(networks.network((1, 1), loss="poisson"), dtype)
        net.parameters[...] = [1000, 0]
        assert net.predict([[1]]) == np.inf
        assert net.loss([[1]], [[1]]) == np.inf
        with pytest.raises(FloatingPointError, match="epoch 0"):
            net.fit([[1]], [[1]])
        np.testing.assert_array_equal(net.parameters, [1000, 0])


class TestKinks:
    """Where a derivative jumps, the contract says which side is taken."""

    @pytest.mark.parametrize(("activation", "slope"), [("relu", 0), ("leaky_relu", 0.01), ("elu", 1)])
    def test_activations_at_zero(self, isa, dtype, activation, slope):
        net = fastnn.MLP([1, 1], output_activation=activation, loss="sse", dtype=dtype, seed=0)
        net.parameters[...] = 0
        _, gradient = net.loss_and_gradient([[1]], [[-1]])
        np.testing.assert_array_equal(gradient, dtype.type(2) * dtype.type(slope))

    @pytest.mark.parametrize("loss", ["mae", "huber", "quantile"])
    def test_losses_at_the_target(self, isa, dtype, loss):
        net = fastnn.MLP([2, 3], loss=loss, dtype=dtype, seed=0)
        x = np.random.default_rng(0).normal(size=(9, 2))
        value, gradient = net.loss_and_gradient(x, net.predict(x))
        assert value == 0
        assert not gradient.any()


class TestTargets:
    """Several ways to say the same."""

    def test_labels_one_hot_and_probabilities(self, isa, dtype):
        described = networks.network((4, 8, 5), "relu", "cross_entropy")
        net = networks.mlp(described, dtype)
        x, y, w = networks.data(described, 33)
        labels = y.argmax(axis=1)
        value, gradient = net.loss_and_gradient(x, y, sample_weight=w)
        for same in (labels, labels[:, np.newaxis], labels.astype(np.uint8), labels.tolist(), y.astype(int), y == 1):
            other_value, other_gradient = net.loss_and_gradient(x, same, sample_weight=w)
            # the same p - y, whichever way y comes; only the sum of -y log p may be taken in another order
            np.testing.assert_array_equal(other_gradient, gradient)
            assert other_value == pytest.approx(value, rel=40 * bounds(dtype))
            np.testing.assert_array_equal(net.input_gradient(x, same), net.input_gradient(x, y))

    def test_probabilities(self, isa, dtype):
        described = networks.network((4, 8, 4), "relu", "cross_entropy")
        net = networks.mlp(described, dtype)
        x, _, _ = networks.data(described, 33)
        y = np.random.default_rng(0).multinomial(16, [0.25] * 4, size=33) / 16
        parameters, eps = net.parameters.astype(float), bounds(dtype)
        value, gradient = net.loss_and_gradient(x, y)
        expected = reference.objective(described, parameters, x, y)
        assert_within(value, expected, rounding.objective(described, parameters, x, y, None, eps), "loss")
        expected, _ = reference.gradients(described, parameters, x, y)
        assert_within(gradient, expected, rounding.gradients(described, parameters, x, y, None, eps)[0], "gradient")

    @pytest.mark.parametrize("loss", [loss for loss in networks.LOSSES if loss != "cross_entropy"])
    def test_one_output_takes_a_vector(self, dtype, loss):
        described = networks.network((3, 4, 1), "relu", loss)
        net = networks.mlp(described, dtype)
        x, y, _ = networks.data(described, 10)
        value, gradient = net.loss_and_gradient(x, y)
        assert net.loss(x, y.ravel()) == net.loss(x, y) == value
        np.testing.assert_array_equal(net.loss_and_gradient(x, y.ravel())[1], gradient)
        assert net.predict(x).shape == (10, 1)


class TestSampleWeight:
    """Weights of rows in losses and gradients."""

    @pytest.mark.parametrize("loss", networks.LOSSES)
    def test_a_row_of_weight_zero_is_not_there(self, isa, dtype, loss):
        described = networks.network((3, 7, 2), "tanh", loss, l2=L2)
        net = networks.mlp(described, dtype)
        x, y, w = networks.data(described, 20)
        some = w > 0
        assert not some.all()
        parameters, eps = net.parameters.astype(float), bounds(dtype)
        value, gradient = net.loss_and_gradient(x, y, sample_weight=w)
        other, other_gradient = net.loss_and_gradient(x[some], y[some], sample_weight=w[some])
        bound = rounding.objective(described, parameters, x, y, w, eps)
        assert_within(value, other, 2 * bound, "loss")
        assert_within(gradient, other_gradient, 2 * rounding.gradients(described, parameters, x, y, w, eps)[0])

    @pytest.mark.parametrize("loss", networks.LOSSES)
    def test_all_weights_zero(self, isa, dtype, loss):
        """Nothing is left but the penalty."""
        described = networks.network((3, 7, 2), "tanh", loss, l2=L2)
        net = networks.mlp(described, dtype)
        x, y, _ = networks.data(described, 5)
        value, gradient = net.loss_and_gradient(x, y, sample_weight=np.zeros(5))
        parameters = net.parameters.astype(float)
        expected = reference.objective(described, parameters, x, y, np.zeros(5))
        assert value == pytest.approx(expected, rel=len(parameters) * bounds(dtype))
        weights = reference.flat([(w, 0 * b) for w, b in reference.layers(described, parameters)])
        np.testing.assert_array_equal(gradient, (L2 * weights).astype(dtype))

    def test_ones_are_no_weights(self, dtype):
        described = networks.network((3, 7, 2), "tanh")
        net = networks.mlp(described, dtype)
        x, y, _ = networks.data(described, 31)
        eps = bounds(dtype)
        value, gradient = net.loss_and_gradient(x, y)
        other, other_gradient = net.loss_and_gradient(x, y, sample_weight=np.ones(31))
        parameters = net.parameters.astype(float)
        assert_within(other, value, 2 * rounding.objective(described, parameters, x, y, None, eps))
        assert_within(other_gradient, gradient, 2 * rounding.gradients(described, parameters, x, y, None, eps)[0])


def test_the_gradient_is_the_callers(dtype):
    net = fastnn.MLP([3, 4, 2], dtype=dtype, seed=0)
    x, y = np.ones((5, 3)), np.zeros((5, 2))
    _, first = net.loss_and_gradient(x, y)
    kept = first.copy()
    assert first.shape == net.parameters.shape
    assert not np.shares_memory(first, net.parameters)
    net.fit(x, y)
    net.loss_and_gradient(x, y)
    np.testing.assert_array_equal(first, kept)


def test_dropout_is_for_training_alone(dtype):
    """Nothing but fit drops anything."""
    plain, dropping = (fastnn.MLP([3, 40, 2], dropout=rate, dtype=dtype, seed=0) for rate in (0.0, 0.5))
    x, y = np.ones((5, 3)), np.zeros((5, 2))
    np.testing.assert_array_equal(plain.parameters, dropping.parameters)
    np.testing.assert_array_equal(plain.predict(x), dropping.predict(x))
    np.testing.assert_array_equal(plain.jacobian(x), dropping.jacobian(x))
    assert plain.loss(x, y) == dropping.loss(x, y)
    np.testing.assert_array_equal(plain.loss_and_gradient(x, y)[1], dropping.loss_and_gradient(x, y)[1])
    np.testing.assert_array_equal(plain.input_gradient(x, y), dropping.input_gradient(x, y))
