"""Law 1: all instruction sets give the same bits. And which of them is used."""

import numpy as np
import pytest

import fastnn
from fastnn import _kernels

AVAILABLE = fastnn.available_isas()


def with_each(work):
    """Return the arrays that work() makes, for each instruction set that runs here."""
    before = fastnn.isa()
    try:
        found = {}
        for name in AVAILABLE:
            _kernels.select(name)
            found[name] = work()
        return found
    finally:
        _kernels.select(before)


def assert_same_bits(work):
    """Assert that work() makes the same numbers everywhere, down to the sign of zero, and NaN in the same places.

    The bits within a NaN say nothing of the result and depend on the order of operands, so they are not compared.
    """
    found = with_each(work)
    first, *others = AVAILABLE
    for name in others:
        for a, b in zip(found[first], found[name], strict=True):
            a, b = np.asarray(a), np.asarray(b)
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b, err_msg=f"{first} and {name}")
            number = ~np.isnan(a)
            np.testing.assert_array_equal(np.signbit(a[number]), np.signbit(b[number]), err_msg=f"{first} and {name}")


def random_patterns(n, dtype):
    """Random bit patterns: all magnitudes, infinities and NaN too."""
    return np.random.default_rng(n).integers(0, 256, n * dtype.itemsize, np.uint8).view(dtype)


@pytest.mark.parametrize("kernel", [_kernels.exp, _kernels.log, fastnn.sigmoid, fastnn.sigmoid_derivative])
def test_elementwise(dtype, kernel):
    def work():
        rng = np.random.default_rng(0)
        yield kernel(random_patterns(300_007, dtype))
        yield kernel(rng.uniform(-120 if dtype == np.float32 else -760, 100, 300_007).astype(dtype))
        yield kernel(rng.normal(size=300_007).astype(dtype))
        yield kernel(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0] * 7, dtype))

    assert_same_bits(lambda: list(work()))


@pytest.mark.parametrize("name", _kernels.ACTIVATIONS)
def test_activation(dtype, name):
    def work():
        rng = np.random.default_rng(0)
        for z in (random_patterns(100_003, dtype), rng.normal(size=100_003).astype(dtype) * 5):
            a, slope, delta = np.empty_like(z), np.zeros_like(z), np.linspace(-2, 2, len(z)).astype(dtype)
            _kernels.activation_forward(name, a, z, slope)
            _kernels.activation_backward(name, delta, a, slope)
            yield from (a, slope, delta)

    assert_same_bits(lambda: list(work()))


@pytest.mark.parametrize("accumulate", [False, True], ids=["set", "accumulate"])
def test_gemm(dtype, accumulate):
    """Shapes on both sides of all limits, in row-major order, transposed and mixed."""
    shapes = [
        (1, 1, 1),
        (3, 5, 7),
        (8, 48, 9),
        (13, 37, 300),
        (97, 101, 257),
        (5, 1100, 70),
        (200, 3, 33),
        (1, 600, 130),
    ]

    def work():
        for m, n, k in shapes:
            rng = np.random.default_rng([m, n, k])
            a, b, c = (rng.normal(size=s).astype(dtype) for s in ((m, k), (k, n), (m, n)))
            for left in "CF":
                for right in "CF":
                    for order in "CF":
                        out = np.array(c, order=order)
                        _kernels.gemm(out, np.array(a, order=left), np.array(b, order=right), accumulate)
                        yield out

    assert_same_bits(lambda: list(work()))


def test_gemm_of_any_bits(dtype):
    """Overflow, underflow, infinities and NaN."""
    a, b = random_patterns(40 * 30, dtype).reshape(40, 30), random_patterns(30 * 50, dtype).reshape(30, 50)
    tiny = np.random.default_rng(1).normal(size=(30, 50)).astype(dtype) * np.finfo(dtype).tiny
    spoilt = a.copy()
    spoilt[~np.isfinite(a)] = 0
    assert_same_bits(lambda: [fastnn.matmul(a, b), fastnn.matmul(spoilt, tiny), fastnn.matmul(tiny.T * 8, tiny)])


@pytest.mark.parametrize("n", [0, 1, 3, 4, 7, 8, 15, 16, 17, 33, 1000, 1024, 1025, 5000])
def test_sum_squared_error(dtype, n):
    rng = np.random.default_rng(n)
    output, y = rng.random(n).astype(dtype), rng.normal(size=n).astype(dtype)
    assert_same_bits(lambda: [_kernels.sum_squared_error(output, y)])


@pytest.mark.parametrize(
    "size",
    [(4, 3, 4, 1), (1, 1, 1, 1), (3, 2, 5, 2), (4, 8, 16, 1), (40, 9, 17, 3), (300, 6, 11, 1), (260, 20, 33, 9)],
    ids=str,
)
@pytest.mark.parametrize("learning_rate", [0.01, 1.0, 1e30])
def test_training(dtype, size, learning_rate):
    """Whole runs, sane and diverging."""
    n, d, hidden, k = size

    def work():
        rng = np.random.default_rng(size)
        x, y = rng.normal(size=(n, d)), rng.random((n, k))
        nn = fastnn.NeuralNetwork(x, y, hidden=hidden, learning_rate=learning_rate, dtype=dtype, rng=rng)
        losses = nn.train(200)
        kept = [a.copy() for a in (losses, nn.weights1, nn.weights2, nn.layer1, nn.output)]
        nn.feedforward()
        nn.backprop()
        return [*kept, nn.weights1, nn.weights2, nn.loss, nn.predict(rng.normal(size=(1030, d)))]

    assert_same_bits(work)


def test_the_books_network(dtype):
    def work():
        x, y = [[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], [[0], [1], [1], [0]]
        for seed in range(20):
            nn = fastnn.NeuralNetwork(x, y, rng=seed, dtype=dtype)
            yield from (nn.train(1500), nn.weights1, nn.weights2, nn.layer1, nn.output)

    assert_same_bits(lambda: list(work()))


class TestSelection:
    """FASTNN_ISA at import, and select() for tests."""

    def test_names(self):
        built = _kernels.built_isas()
        assert set(AVAILABLE) <= set(built)
        assert [name for name in built if name in AVAILABLE] == AVAILABLE
        assert "scalar" in AVAILABLE
        assert len(set(built)) == len(built)

    @pytest.mark.parametrize("name", AVAILABLE)
    def test_select(self, name):
        before = fastnn.isa()
        try:
            _kernels.select(name)
            assert fastnn.isa() == name
        finally:
            _kernels.select(before)

    @pytest.mark.parametrize("name", ["sse", "", "AVX2", "scalar "])
    def test_select_refuses(self, name):
        before = fastnn.isa()
        with pytest.raises(ValueError, match=f"instruction set '{name}' cannot run here; expected one of .*scalar"):
            _kernels.select(name)
        assert fastnn.isa() == before
        with pytest.raises(TypeError):
            _kernels.select(None)

    @pytest.mark.parametrize("name", AVAILABLE)
    def test_environment_forces_one(self, run, name):
        done = run("-c", "import fastnn; print(fastnn.isa(), fastnn.sigmoid(0))", FASTNN_ISA=name)
        assert done.stdout.split() == [name, "0.5"]

    def test_default_is_the_best(self, run):
        assert run("-c", "import fastnn; print(fastnn.isa())", FASTNN_ISA="").stdout.split() == AVAILABLE[:1]

    @pytest.mark.parametrize("name", ["sse9", "AVX2", "scalar,avx2", "none"])
    def test_unknown_name_is_an_import_error(self, run, name):
        done = run("-c", "import fastnn", FASTNN_ISA=name, check=False)
        self.assert_import_error(done, name)

    def test_unrunnable_name_is_an_import_error(self, run):
        """Built, but not for this processor: there may be none on the best of machines."""
        unrunnable = set(_kernels.built_isas()) - set(AVAILABLE)
        if not unrunnable:
            pytest.skip("this machine runs all that was built")
        for name in unrunnable:
            self.assert_import_error(run("-c", "import fastnn", FASTNN_ISA=name, check=False), name)

    @staticmethod
    def assert_import_error(done, name):
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        expected = f"instruction set {name!r} cannot run here; expected one of {', '.join(AVAILABLE)}"
        assert last == f"ImportError: FASTNN_ISA: {expected}"
