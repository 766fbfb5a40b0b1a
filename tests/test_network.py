"""NeuralNetwork: the book's numbers, what it accepts, and what its methods promise about each other."""

import copy
import pickle

import numpy as np
import pytest
import reference

import fastnn

X = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
Y = np.array([[0], [1], [1], [0]])
ARRAYS = ("input", "y", "weights1", "weights2", "layer1", "output")


def book(seed=0, **options):
    """Build the book's network from NumPy's global generator, and leave that as it was."""
    state = np.random.get_state()  # noqa: NPY002 - the book's generator
    np.random.seed(seed)  # noqa: NPY002
    try:
        return fastnn.NeuralNetwork(X, Y, **options)
    finally:
        np.random.set_state(state)  # noqa: NPY002


def initial_weights(seed):
    """Draw the weights as the book's code does."""
    generator = np.random.RandomState(seed)
    return generator.rand(3, 4), generator.rand(4, 1)


def assert_same(one, other, arrays=ARRAYS):
    """Assert that two networks hold the same bits."""
    for name in arrays:
        a, b = getattr(one, name), getattr(other, name)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), name
        assert a.tobytes() == b.tobytes(), name


class TestBook:
    """The chapter's network, data and numbers."""

    def test_seeds_0_to_299(self, isa):
        """1500 iterations from each seed: outputs and weights within 1e-9 of NumPy's, and the loss falls all the way.

        The reference trains all seeds at once, a stack of 300 networks.
        """
        seeds = range(300)
        weights1, weights2 = (np.stack(w) for w in zip(*map(initial_weights, seeds), strict=True))
        expected1, expected2, _, expected_output, expected_losses = reference.train(X, Y, weights1, weights2, 1500)
        trained = 0
        for seed in seeds:
            nn = book(seed)
            np.testing.assert_array_equal(nn.weights1, weights1[seed])
            np.testing.assert_array_equal(nn.weights2, weights2[seed])
            losses = nn.train(1500)
            for got, expected in (
                (nn.weights1, expected1[seed]),
                (nn.weights2, expected2[seed]),
                (nn.output, expected_output[seed]),
                (losses, expected_losses[:, seed]),
            ):
                np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9, err_msg=f"seed {seed}")
            assert (np.diff(losses) < 0).all(), f"seed {seed}"
            nn.feedforward()
            trained += np.abs(nn.output - Y).max() < 0.05
        assert trained == 299

    def test_seed_0_ends_where_it_ended_in_the_book(self, isa):
        nn = book(0)
        nn.train(1500)
        np.testing.assert_allclose(
            nn.output.ravel(), [0.01009649, 0.97157766, 0.97166525, 0.03297871], rtol=0, atol=5e-9
        )

    def test_the_books_script(self):
        """The chapter's loop, unchanged."""
        nn = book(0)
        for _ in range(1500):
            nn.feedforward()
            nn.backprop()
        nn.feedforward()
        np.testing.assert_allclose(nn.output, Y, rtol=0, atol=0.05)

    def test_attributes(self):
        nn = book()
        assert [getattr(nn, name).shape for name in ARRAYS] == [(4, 3), (4, 1), (3, 4), (4, 1), (4, 4), (4, 1)]
        assert all(getattr(nn, name).dtype == np.float64 for name in ARRAYS)
        assert nn.learning_rate == 1.0
        assert not nn.layer1.any()
        assert not nn.output.any()
        assert repr(nn) == "NeuralNetwork(3-4-1, 4 rows, learning_rate=1.0, dtype=float64)"

    def test_loss(self):
        nn = book()
        assert nn.loss == 2
        nn.feedforward()
        expected = reference.sum_squared_error(Y, nn.output)
        assert nn.loss == pytest.approx(expected, rel=1e-15)
        assert nn.train(1)[0] == nn.loss


SIZES = [(4, 3, 4, 1), (1, 1, 1, 1), (5, 3, 4, 2), (40, 9, 17, 3), (131, 5, 33, 2), (1030, 3, 5, 1), (9, 70, 3, 35)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "-".join(map(str, size)))
class TestSizes:
    """Networks of any size, also with several outputs."""

    @staticmethod
    def build(size, dtype="float64", learning_rate=None):
        n, d, hidden, k = size
        rng = np.random.default_rng(size)
        x, y = rng.normal(size=(n, d)), rng.random((n, k))
        return fastnn.NeuralNetwork(x, y, hidden=hidden, dtype=dtype, rng=rng, learning_rate=learning_rate or 1 / n)

    def test_train_is_the_loop_to_the_last_bit(self, isa, dtype, size):
        one, other = self.build(size, dtype), self.build(size, dtype)
        losses = one.train(20)
        expected = []
        for _ in range(20):
            other.feedforward()
            expected.append(dtype.type(other.loss))
            other.backprop()
        assert_same(one, other)
        assert losses.dtype == dtype
        np.testing.assert_array_equal(losses, expected)

    def test_train_may_be_split(self, isa, dtype, size):
        one, other = self.build(size, dtype), self.build(size, dtype)
        losses = one.train(12)
        np.testing.assert_array_equal(losses, np.concatenate([other.train(n) for n in (5, 0, 1, 6)]))
        assert_same(one, other)

    def test_against_the_reference(self, isa, size):
        nn = self.build(size)
        start = nn.weights1.copy(), nn.weights2.copy()
        losses = nn.train(50)
        *expected, expected_losses = reference.train(nn.input, nn.y, *start, 50, nn.learning_rate)
        for got, wanted in zip((nn.weights1, nn.weights2, nn.layer1, nn.output), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-9)
        np.testing.assert_allclose(losses, expected_losses, rtol=1e-9)
        assert losses[-1] < losses[0] or size[0] == 1

    def test_float32_stays_near(self, isa, size):
        """Ten steps along a smooth path: errors of one step, some eps, do not grow a hundredfold."""
        short, long = self.build(size, "float32"), self.build(size)
        short.train(10)
        long.train(10)
        for name in ("weights1", "weights2", "layer1", "output"):
            assert getattr(short, name).dtype == np.float32
            scale = max(1, np.abs(getattr(long, name)).max())
            np.testing.assert_allclose(getattr(short, name), getattr(long, name), rtol=0, atol=1e-4 * scale)

    def test_predict_is_feedforward(self, isa, dtype, size):
        nn = self.build(size, dtype)
        nn.train(3)
        before = nn.layer1.copy(), nn.output.copy()
        predicted = nn.predict(nn.input)
        np.testing.assert_array_equal(nn.layer1, before[0])
        np.testing.assert_array_equal(nn.output, before[1])
        nn.feedforward()
        assert predicted.dtype == dtype
        np.testing.assert_array_equal(predicted, nn.output)


class TestPredict:
    """Other rows than those of training."""

    @pytest.mark.parametrize("rows", [0, 1, 2, 127, 128, 129, 1023, 1024, 1025, 2048, 2049, 3000])
    def test_a_row_does_not_depend_on_the_rows_around(self, isa, dtype, network, rows):
        nn = fastnn.NeuralNetwork(network.input, network.y, hidden=5, dtype=dtype, rng=1)
        x = np.random.default_rng(rows).normal(size=(rows, 3)).astype(dtype)
        got = nn.predict(x)
        assert got.shape == (rows, 2)
        some = range(0, rows, max(1, rows // 50))
        for i in some:
            np.testing.assert_array_equal(nn.predict(x[i : i + 1])[0], got[i])
        np.testing.assert_array_equal(nn.predict(x[some]), got[some])
        _, expected = reference.forward(x, nn.weights1, nn.weights2)
        # sums of few terms of order 1, then 1.5 ULP, twice
        np.testing.assert_allclose(got, expected, rtol=0, atol=20 * np.finfo(dtype).eps)

    def test_takes_lists_and_integers(self, network):
        np.testing.assert_array_equal(network.predict([[1, 0, 2]]), network.predict(np.array([[1.0, 0.0, 2.0]])))

    def test_result_is_the_callers(self, network):
        first = network.predict(network.input)
        kept = first.copy()
        network.train(5)
        network.predict(network.input)
        np.testing.assert_array_equal(first, kept)
        first[...] = 0
        assert network.output.any()


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def misaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned
    return view


def frame(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


INPUT_KINDS = {
    "int64": lambda a: a,
    "int8": lambda a: a.astype(np.int8),
    "bool": lambda a: a.astype(bool),
    "float32": lambda a: a.astype(np.float32),
    "float16": lambda a: a.astype(np.float16),
    "list": lambda a: a.tolist(),
    "list of arrays": list,
    "tuple": lambda a: tuple(map(tuple, a.tolist())),
    "object": lambda a: a.astype(object),
    "DataFrame": frame,
    "DataFrame of mixed columns": lambda a: frame(
        {i: a[:, i].astype(["f4", "i2", "f8"][i]) for i in range(a.shape[1])}
    ),
    "Fortran": lambda a: np.asfortranarray(a.astype(float)),
    "strided": lambda a: np.repeat(np.repeat(a.astype(float), 2, 0), 3, 1)[::2, ::3],
    "reversed": lambda a: a.astype(float)[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": lambda a: read_only(a.astype(float)),
    "byte-swapped": lambda a: a.astype(np.dtype(float).newbyteorder()),
    "misaligned": lambda a: misaligned(a.astype(float)),
    "matrix": lambda a: np.asarray(a, float).view(np.matrix),
    "masked array, nothing masked": lambda a: np.ma.masked_array(a),
}


@pytest.mark.parametrize("kind", INPUT_KINDS)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_input_kinds(kind):
    """All give the network of the plain arrays, and are left as they were."""
    make = INPUT_KINDS[kind]
    x, y = make(X), make(Y)
    nn = fastnn.NeuralNetwork(x, y, rng=5)
    expected = fastnn.NeuralNetwork(X.astype(float), Y.astype(float), rng=5)
    assert type(nn.input) is type(nn.y) is np.ndarray
    assert_same(nn, expected)
    nn.train(10)
    expected.train(10)
    assert_same(nn, expected)
    np.testing.assert_array_equal(np.asarray(x, float), X)
    np.testing.assert_array_equal(np.asarray(y, float), Y)
    np.testing.assert_array_equal(nn.predict(x), expected.predict(X))
    nn.input, nn.y = x, y
    assert_same(nn, expected)


@pytest.mark.parametrize("name", ["input", "y"])
def test_data_are_copied(name):
    """Neither does editing the caller's array reach the network, nor the other way around."""
    data = {"input": X.astype(float), "y": Y.astype(float)}
    nn = fastnn.NeuralNetwork(data["input"], data["y"], rng=0)
    for _ in range(2):
        data[name][...] = 7
        assert not (getattr(nn, name) == 7).any()
        getattr(nn, name)[...] = 8
        assert not (data[name] == 8).any()
        data[name][...] = 0.5
        setattr(nn, name, data[name])


class TestInitialWeights:
    """Where they come from."""

    def test_global_generator(self):
        for seed in range(5):
            nn = book(seed)
            weights1, weights2 = initial_weights(seed)
            np.testing.assert_array_equal(nn.weights1, weights1)
            np.testing.assert_array_equal(nn.weights2, weights2)

    def test_global_generator_advances_as_in_the_book(self):
        state = np.random.get_state()  # noqa: NPY002
        try:
            np.random.seed(3)  # noqa: NPY002
            fastnn.NeuralNetwork(X, Y)
            after = np.random.rand()  # noqa: NPY002
        finally:
            np.random.set_state(state)  # noqa: NPY002
        assert after == np.random.RandomState(3).rand(3 * 4 + 4 + 1)[-1]

    @pytest.mark.parametrize("seed", [0, 7, np.int64(7), 2**40])
    def test_an_int_seeds_a_generator(self, seed):
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        nn = fastnn.NeuralNetwork(X, Y, rng=seed)
        generator = np.random.default_rng(seed)
        np.testing.assert_array_equal(nn.weights1, generator.random((3, 4)))
        np.testing.assert_array_equal(nn.weights2, generator.random((4, 1)))
        np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002

    def test_a_generator_is_drawn_from(self):
        generator = np.random.default_rng(9)
        nn = fastnn.NeuralNetwork(X, Y, rng=generator)
        same = np.random.default_rng(9)
        np.testing.assert_array_equal(nn.weights1, same.random((3, 4)))
        np.testing.assert_array_equal(nn.weights2, same.random((4, 1)))
        assert generator.random() == same.random()

    def test_float32_rounds_the_same_numbers(self):
        np.testing.assert_array_equal(book(4, dtype="float32").weights1, book(4).weights1.astype(np.float32))


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("float64"), float, "f4", "d"], ids=str)
def test_dtype_names(dtype):
    assert book(dtype=dtype).weights1.dtype == np.dtype(dtype)


def test_learning_rate_scales_the_step(isa):
    slow, fast = book(learning_rate=0.25), book()
    start = slow.weights1.copy()
    slow.train(1)
    fast.train(1)
    # a difference of numbers of order 1, rounded
    np.testing.assert_allclose(4 * (slow.weights1 - start), fast.weights1 - start, rtol=0, atol=4e-16 * 4)
    slow.learning_rate = 1
    assert slow.learning_rate == 1.0
    slow.weights1, slow.weights2 = start, book().weights2
    slow.train(1)
    assert_same(slow, fast)


class TestAssignment:
    """Arrays may be assigned or edited in place; either counts from the next call on."""

    @pytest.mark.parametrize("name", ["weights1", "weights2", "input", "y"])
    @pytest.mark.parametrize("how", ["assign", "edit", "edit a view kept from before"])
    def test_takes_effect_at_the_next_call(self, network, name, how):
        kept = getattr(network, name)
        network.train(2)
        value = np.random.default_rng(1).random(kept.shape)
        if how == "assign":
            setattr(network, name, value)
        elif how == "edit":
            getattr(network, name)[...] = value
        else:
            kept[...] = value
        np.testing.assert_array_equal(getattr(network, name), value)
        start = network.weights1.copy(), network.weights2.copy()
        network.feedforward()
        layer1, output = reference.forward(network.input, *start)
        np.testing.assert_allclose(network.output, output, rtol=0, atol=1e-14)
        network.backprop()
        weights1, weights2 = reference.update(network.input, network.y, *start, layer1, output)
        np.testing.assert_allclose(network.weights1, weights1, rtol=0, atol=1e-13)
        np.testing.assert_allclose(network.weights2, weights2, rtol=0, atol=1e-13)

    def test_one_element(self, network):
        network.feedforward()
        before = network.output.copy()
        network.weights2[1, 0] += 0.5
        network.feedforward()
        assert (network.output[:, 0] != before[:, 0]).all()
        np.testing.assert_array_equal(network.output[:, 1], before[:, 1])

    def test_operators_in_place(self, network):
        expected = network.weights1 * 2
        network.weights1 *= 2
        np.testing.assert_array_equal(network.weights1, expected)

    def test_backprop_reads_layer1_and_output_as_they_are(self, network):
        rng = np.random.default_rng(2)
        start = network.weights1.copy(), network.weights2.copy()
        network.layer1, network.output = rng.random((7, 5)), rng.random((7, 2))
        network.backprop()
        weights1, weights2 = reference.update(network.input, network.y, *start, network.layer1, network.output)
        np.testing.assert_allclose(network.weights1, weights1, rtol=0, atol=1e-13)
        np.testing.assert_allclose(network.weights2, weights2, rtol=0, atol=1e-13)

    @pytest.mark.parametrize("given", ["list", "int", "float32", "Fortran", "reversed"])
    def test_weights_of_any_kind(self, network, given):
        value = np.arange(15).reshape(3, 5)
        network.weights1 = {
            "list": value.tolist(),
            "int": value,
            "float32": value.astype(np.float32),
            "Fortran": np.asfortranarray(value),
            "reversed": value[::-1][::-1],
        }[given]
        assert network.weights1.dtype == np.float64
        np.testing.assert_array_equal(network.weights1, value)

    def test_assigned_weights_are_copied(self, network):
        value = np.zeros((3, 5))
        network.weights1 = value
        value[...] = 1
        assert not network.weights1.any()

    @pytest.mark.parametrize("rows", [1, 4, 9, 200])
    def test_another_number_of_rows(self, network, rows):
        """Both x and y, in either order; between the two, feedforward and predict work and backprop waits."""
        rng = np.random.default_rng(rows)
        x, y = rng.normal(size=(rows, 3)), rng.random((rows, 2))
        network.train(1)
        network.input = x
        network.feedforward()
        assert network.output.shape == (rows, 2)
        network.y = y
        network.feedforward()
        fresh = fastnn.NeuralNetwork(x, y, hidden=5)
        fresh.weights1, fresh.weights2 = network.weights1, network.weights2
        np.testing.assert_array_equal(network.train(5), fresh.train(5))
        assert_same(network, fresh)

    def test_y_first(self, network):
        network.y = np.ones((2, 2))
        network.feedforward()
        assert network.output.shape == (7, 2)
        network.input = np.ones((2, 3))
        network.train(1)
        assert network.output.shape == (2, 2)


class TestCopies:
    """Pickle, copy and deepcopy."""

    WAYS = {  # noqa: RUF012
        "copy": copy.copy,
        "deepcopy": copy.deepcopy,
        **{
            f"pickle {n}": lambda nn, n=n: pickle.loads(pickle.dumps(nn, n))
            for n in range(2, pickle.HIGHEST_PROTOCOL + 1)
        },
    }

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("trained", [False, True], ids=["new", "trained"])
    def test_is_the_same_network(self, dtype, way, trained):
        nn = book(2, dtype=dtype, learning_rate=0.5, hidden=3)
        if trained:
            nn.train(7)
        twin = self.WAYS[way](nn)
        assert type(twin) is fastnn.NeuralNetwork
        assert twin.learning_rate == 0.5
        assert_same(nn, twin)
        np.testing.assert_array_equal(nn.train(9), twin.train(9))
        assert_same(nn, twin)

    @pytest.mark.parametrize("way", WAYS)
    def test_attributes_of_the_users_own_come_along(self, network, way):
        network.note = "mine"
        assert self.WAYS[way](network).note == "mine"

    @pytest.mark.parametrize("way", WAYS)
    def test_shares_no_memory(self, network, way):
        network.feedforward()
        twin = self.WAYS[way](network)
        for name in ARRAYS:
            assert not np.shares_memory(getattr(network, name), getattr(twin, name)), name
        kept = twin.weights1.copy()
        network.train(3)
        np.testing.assert_array_equal(twin.weights1, kept)
        twin.backprop()  # its activations came along

    @pytest.mark.parametrize("way", WAYS)
    def test_a_new_network_still_wants_feedforward(self, network, way):
        with pytest.raises(RuntimeError, match="feedforward"):
            self.WAYS[way](network).backprop()

    @pytest.mark.parametrize("way", WAYS)
    def test_between_input_and_y(self, network, way):
        network.input = np.ones((3, 3))
        network.feedforward()
        twin = self.WAYS[way](network)
        assert_same(network, twin)
        with pytest.raises(ValueError, match="y must have as many rows as input"):
            twin.backprop()


def test_no_floating_point_warnings(isa, dtype):
    """Neither where activations saturate nor where they overflow."""
    x, y = [[1e30, -1e30], [1e-30, 1]], [[0], [1]]
    with np.errstate(all="raise"):
        nn = fastnn.NeuralNetwork(x, y, dtype=dtype, rng=0, learning_rate=1e10)
        nn.train(20)
        nn.feedforward()
        nn.backprop()
        nn.predict(x)
        assert np.isfinite(nn.loss)


def test_arrays_outlive_the_network():
    """The views hold the memory that they show."""
    kept = book(1).weights1
    expected, _ = initial_weights(1)
    others = [book(2) for _ in range(50)]  # would reuse memory that was freed
    np.testing.assert_array_equal(kept, expected)
    assert len(others) == 50


def test_subclass():
    """A reader may extend the class as the book's."""

    class Named(fastnn.NeuralNetwork):
        def __init__(self, x, y, name):
            super().__init__(x, y, rng=0)
            self.name = name

    nn = Named(X, Y, "xor")
    nn.train(2)
    assert nn.name == "xor"
