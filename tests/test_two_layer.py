"""The fused kernels of the two-layer network, one call at a time."""

import numpy as np
import pytest
import reference

import fastnn
from fastnn import _kernels

# (rows, inputs, hidden, outputs): the book's network, ones, around vectors, and around chunks of 128 rows
SHAPES = [
    (4, 3, 4, 1),
    (1, 1, 1, 1),
    (2, 1, 1, 2),
    (1, 5, 3, 2),
    (3, 2, 4, 3),
    (4, 3, 4, 2),
    (4, 4, 4, 1),
    (5, 3, 4, 1),
    (8, 3, 4, 1),
    (8, 8, 8, 8),
    (7, 9, 15, 17),
    (16, 3, 16, 1),
    (17, 16, 17, 5),
    (9, 33, 2, 31),
    (127, 3, 4, 1),
    (128, 5, 7, 3),
    (129, 3, 4, 1),
    (257, 13, 37, 11),
    (300, 2, 130, 1),
    (65, 270, 9, 2),
]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape)))
RATE = 0.75


def arrays(shape, dtype):
    """Return x, y and weights of moderate size, so that no activation saturates."""
    n, d, h, k = shape
    rng = np.random.default_rng(shape)
    x, y = rng.normal(size=(n, d)), rng.random((n, k))
    weights1, weights2 = rng.normal(size=(d, h)) / np.sqrt(d), rng.normal(size=(h, k)) / np.sqrt(h)
    return [a.astype(dtype) for a in (x, y, weights1, weights2)]


def activations(shape, dtype):
    """Return layer1 and output as a kernel may find them: any numbers between 0 and 1."""
    n, _, h, k = shape
    rng = np.random.default_rng([*shape, 1])
    return rng.uniform(0.05, 0.95, (n, h)).astype(dtype), rng.uniform(0.05, 0.95, (n, k)).astype(dtype)


def longer(dtype):
    return np.float64 if dtype == np.float32 else np.longdouble


@shapes
def test_forward_is_matmul_and_sigmoid(isa, dtype, shape, guarded):
    """To the last bit: a fused kernel saves time, not arithmetic. (Tests of their own hold those to NumPy.)"""
    n, _, h, k = shape
    x, y, weights1, weights2 = arrays(shape, dtype)
    for offset in (0, 1, 3):
        layer1, output = guarded((n, h), dtype, offset), guarded((n, k), dtype, offset + 1)
        given = [guarded(a.shape, dtype, offset, values=a) for a in (x, y, weights1, weights2)]
        _kernels.two_layer_forward(*given, layer1, output)
        np.testing.assert_array_equal(layer1, fastnn.sigmoid(fastnn.matmul(x, weights1)))
        np.testing.assert_array_equal(output, fastnn.sigmoid(fastnn.matmul(layer1, weights2)))
        for a, before in zip(given, (x, y, weights1, weights2), strict=True):
            np.testing.assert_array_equal(a, before)


def assert_update(got, weights, gradient, magnitude, n_roundings):
    """Assert that got = weights + RATE * gradient within the rounding of weights, and n_roundings of the gradient.

    `magnitude` is the gradient computed from absolute values: it bounds every partial sum.
    """
    eps = np.finfo(got.dtype).eps
    judge = np.finfo(longer(got.dtype)).eps
    bound = 1.05 * (eps / 2 + judge) * (np.abs(weights) + (n_roundings + 2) * RATE * magnitude)
    error = np.abs(got - (weights + RATE * gradient))
    assert (error <= bound).all(), f"error / bound is {(error / bound).max()}"


@shapes
def test_backward(isa, dtype, shape, guarded):
    """One update from given activations, against the reference in a longer type."""
    n, _, _, k = shape
    x, y, weights1, weights2 = arrays(shape, dtype)
    layer1, output = activations(shape, dtype)
    wide = [a.astype(longer(dtype)) for a in (x, y, weights2, layer1, output)]
    expected1, expected2 = reference.gradients(*wide)
    size1, size2 = magnitudes(*wide)
    for offset in (0, 1, 5):
        given = [guarded(a.shape, dtype, offset, values=a) for a in (x, y, weights1, weights2, layer1, output)]
        _kernels.two_layer_backward(*given, RATE)
        # delta2 takes 5 roundings (a difference, 1 - a, three products), the sums one for each term
        assert_update(given[3], weights2, expected2, size2, n_roundings=5 + n)
        # delta1 takes those of delta2, k for the sum over outputs, and 3 more
        assert_update(given[2], weights1, expected1, size1, n_roundings=8 + k + n)
        for i, before in ((0, x), (1, y), (4, layer1), (5, output)):
            np.testing.assert_array_equal(given[i], before)


def magnitudes(x, y, weights2, layer1, output):
    """The gradients from absolute values: what their partial sums cannot exceed."""
    delta2 = np.abs(2 * (y - output) * reference.sigmoid_derivative(output))
    delta1 = (delta2 @ np.abs(weights2).T) * reference.sigmoid_derivative(layer1)
    return np.abs(x).T @ delta1, layer1.T @ delta2


@shapes
def test_train_is_forward_and_backward(isa, dtype, shape, guarded):
    """To the last bit, with the loss before each update; shortcuts for small networks change no arithmetic."""
    n, _, h, k = shape
    x, y, weights1, weights2 = arrays(shape, dtype)
    expected1, expected2 = weights1.copy(), weights2.copy()
    layer1, output = np.empty((n, h), dtype), np.empty((n, k), dtype)
    iterations = 5
    expected_losses = []
    for _ in range(iterations):
        _kernels.two_layer_forward(x, y, expected1, expected2, layer1, output)
        expected_losses.append(dtype.type(_kernels.sum_squared_error(output.reshape(-1), y.reshape(-1))))
        _kernels.two_layer_backward(x, y, expected1, expected2, layer1, output, 0.01)
    for offset in (0, 1, 7):
        given = [guarded(a.shape, dtype, offset, values=a) for a in (x, y, weights1, weights2)]
        given += [guarded((n, h), dtype, offset + 2), guarded((n, k), dtype, offset + 3)]
        losses = guarded(iterations, dtype, offset)
        _kernels.two_layer_train(*given, 0.01, losses)
        for got, expected in zip(given, (x, y, expected1, expected2, layer1, output), strict=True):
            np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(losses, expected_losses)


@pytest.mark.parametrize("inputs", range(1, 11))
def test_train_is_forward_and_backward_for_all_small_sizes(isa, dtype, inputs):
    """Four rows and one output: the sizes around those that are trained in registers, to the last bit."""
    for hidden in range(1, 19):
        shape = (4, inputs, hidden, 1)
        one, other = arrays(shape, dtype), arrays(shape, dtype)
        for given in (one, other):
            given += [np.empty((4, hidden), dtype), np.empty((4, 1), dtype)]
        losses, expected = np.empty(3, dtype), []
        _kernels.two_layer_train(*one, RATE, losses)
        for _ in range(3):
            _kernels.two_layer_forward(*other)
            expected.append(dtype.type(_kernels.sum_squared_error(other[-1].reshape(-1), other[1].reshape(-1))))
            _kernels.two_layer_backward(*other, RATE)
        for a, b in zip([*one, losses], [*other, expected], strict=True):
            np.testing.assert_array_equal(a, b)


@shapes
def test_iterations_may_be_split(isa, dtype, shape):
    """Whatever train keeps in registers or scratch memory, it begins anew each time."""
    whole, parts = arrays(shape, dtype), arrays(shape, dtype)
    n, _, h, k = shape
    found = []
    for given, pieces in ((whole, [7]), (parts, [1, 3, 2, 1])):
        given += [np.full((n, h), np.nan, dtype), np.full((n, k), np.nan, dtype)]
        losses = [np.full(piece, np.nan, dtype) for piece in pieces]
        for piece in losses:
            _kernels.two_layer_train(*given, 0.01, piece)
        found.append(np.concatenate(losses))
    for a, b in zip([*whole, found[0]], [*parts, found[1]], strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(4, 3, 4, 1), (5, 2, 3, 2), (130, 3, 5, 2)], ids=str)
def test_gradient_is_the_slope_of_the_loss(isa, shape):
    """Fourth-order finite differences of the loss against one update with learning rate 1.

    For a step h the formula errs by h^4 times a fifth derivative, here below 1e-12 times a moderate number, and by the
    rounding of the loss, 1e-16 times its size over h.
    """
    step = 1e-3
    x, y, *weights = arrays(shape, np.float64)
    n, _, hidden, k = shape
    layer1, output = np.empty((n, hidden)), np.empty((n, k))

    def loss_at(array, index, change):
        kept = array[index]
        array[index] = kept + change
        _kernels.two_layer_forward(x, y, *weights, layer1, output)
        array[index] = kept
        return _kernels.sum_squared_error(output.reshape(-1), y.reshape(-1))

    slopes = [
        np.array(
            [
                sum(f * loss_at(w, i, m * step) for f, m in ((1, -2), (-8, -1), (8, 1), (-1, 2))) / (12 * step)
                for i in np.ndindex(w.shape)
            ]
        ).reshape(w.shape)
        for w in weights
    ]
    before = [w.copy() for w in weights]
    _kernels.two_layer_forward(x, y, *weights, layer1, output)
    _kernels.two_layer_backward(x, y, *weights, layer1, output, 1.0)
    for w, old, slope in zip(weights, before, slopes, strict=True):
        assert np.abs(slope).max() > 1e-3
        np.testing.assert_allclose(old - w, slope, rtol=0, atol=1e-11 * max(n, 10))


@pytest.mark.parametrize("shape", [(4, 3, 4, 1), (129, 13, 17, 5)], ids=str)
def test_nan_in_a_row_stays_in_its_row(isa, dtype, shape):
    x, y, *weights = arrays(shape, dtype)
    n, _, h, k = shape
    clean, spoilt = [[np.empty((n, h), dtype), np.empty((n, k), dtype)] for _ in range(2)]
    _kernels.two_layer_forward(x, y, *weights, *clean)
    for row in (0, n // 2, n - 1):
        bad = x.copy()
        bad[row, -1] = np.nan
        _kernels.two_layer_forward(bad, y, *weights, *spoilt)
        for a, b in zip(clean, spoilt, strict=True):
            assert np.isnan(b[row]).all()
            np.testing.assert_array_equal(np.delete(a, row, 0), np.delete(b, row, 0))
        losses = np.empty(3, dtype)
        trained = [w.copy() for w in weights]
        with np.errstate(all="raise"):
            _kernels.two_layer_train(bad, y, *trained, *spoilt, 1.0, losses)
        assert np.isnan(losses).all()
        assert np.isnan(trained[1]).all()


def test_saturated_activations_train_no_further(isa, dtype):
    """Where an output is exactly 0 or 1 its derivative is zero, not NaN."""
    x, y = np.array([[1.0], [-1.0]], dtype), np.array([[0.0], [1.0]], dtype)
    weights1, weights2 = np.full((1, 2), 1000, dtype), np.array([[2000.0], [2000.0]], dtype)
    layer1, output = np.empty((2, 2), dtype), np.empty((2, 1), dtype)
    losses = np.empty(2, dtype)
    _kernels.two_layer_train(x, y, weights1, weights2, layer1, output, 1.0, losses)
    np.testing.assert_array_equal(layer1, [[1, 1], [0, 0]])
    np.testing.assert_array_equal(output, [[1], [0.5]])
    assert losses[0] == 1.25
    np.testing.assert_array_equal(weights1, [[1000, 1000]])


def test_read_only_data(isa, dtype):
    shape = (4, 3, 4, 1)
    x, y, *weights = arrays(shape, dtype)
    layer1, output = activations(shape, dtype)
    x.flags.writeable = y.flags.writeable = False
    _kernels.two_layer_train(x, y, *weights, layer1, output, 1.0, np.empty(2, dtype))


@pytest.mark.parametrize(
    ("name", "index", "shape"),
    [("y", 1, (4, 2)), ("weights1", 2, (2, 4)), ("layer1", 4, (4, 3)), ("output", 5, (3, 1))],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_shapes_are_checked(name, index, shape):
    given = [np.zeros(s) for s in ((4, 3), (4, 1), (3, 4), (4, 1), (4, 4), (4, 1))]
    given[index] = np.zeros(shape)
    with pytest.raises(ValueError, match=f"^{name} must have shape"):
        _kernels.two_layer_forward(*given)


def test_empty_networks_are_refused():
    given = [np.zeros(s) for s in ((0, 3), (0, 1), (3, 4), (4, 1), (0, 4), (0, 1))]
    with pytest.raises(ValueError, match="must not be empty"):
        _kernels.two_layer_forward(*given)
