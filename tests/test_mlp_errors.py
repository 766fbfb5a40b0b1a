"""Bad input to MLP: the right exception, which names the argument, its value and what was due; nothing has changed."""

import copy
import re

import numpy as np
import pytest

import fastnn
from fastnn import schedules
from fastnn.data import targets

X, Y = np.zeros((4, 3)), np.zeros((4, 2))


@pytest.fixture(params=["new", "trained"])
def net(request):
    """Return a network 3-5-2, which the test must leave as it is: also its optimizer, its generator and its epochs."""
    network = fastnn.MLP([3, 5, 2], dropout=0.25, dtype="float64", seed=0)
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 3)), rng.random((40, 2))
    optimizer = fastnn.Adam(fastnn.StepDecay(0.1, 0.5, 1))
    if request.param == "trained":
        network.fit(x, y, epochs=2, optimizer=optimizer)
    before, twin = network.parameters.tobytes(), copy.deepcopy(network)
    yield network
    assert network.parameters.tobytes() == before
    histories = [each.fit(x, y, epochs=2, optimizer=optimizer) for each in (network, twin)]
    np.testing.assert_array_equal(network.parameters, twin.parameters)
    np.testing.assert_array_equal(histories[0].learning_rate, histories[1].learning_rate)


def yields(net, history):
    """Begin nothing when it is called, as one who forgets that will see."""
    yield True


async def awaits(net, history):
    """Do the same."""


def refuses(error, message):
    return pytest.raises(error, match=f"^{message}")


def array_with(value, dtype=float, columns=3):
    array = np.zeros((4, columns), dtype)
    array[2, 1] = value
    return array


# what is wrong with a table of numbers, whatever its name and number of columns: value, exception, message
BAD_TABLES = {
    "0d": (lambda k: 3, ValueError, r"must have 2 dimensions.* got shape \(\)"),
    "3d": (lambda k: np.zeros((4, k, 1)), ValueError, r"must have 2 dimensions.* got shape \(4, \d, 1\)"),
    "ragged": (lambda k: [[1, 2, 3], [1, 2]], ValueError, "is not a rectangular array"),
    "complex": (lambda k: array_with(1j, complex, k), TypeError, "must hold real numbers.* got dtype complex128"),
    "str": (lambda k: np.full((4, k), "1"), TypeError, "must hold real numbers.* got dtype <U1"),
    "str object": (lambda k: array_with("1", object, k), TypeError, "must hold real numbers"),
    "None": (lambda k: None, (TypeError, ValueError), "must"),
    "None object": (lambda k: array_with(None, object, k), (TypeError, ValueError), "must"),
    "dict": (lambda k: {}, TypeError, "must hold real numbers"),
    "datetime": (lambda k: np.zeros((4, k), "M8[s]"), TypeError, "must hold real numbers"),
    "record": (lambda k: np.zeros((4, k), "f8,f8"), TypeError, "must hold real numbers"),
    "longdouble": (lambda k: np.zeros((4, k), np.longdouble), TypeError, "must hold real numbers, at most 64 bits"),
    "masked": (lambda k: np.ma.masked_array(np.zeros((4, k)), array_with(True, bool, k)), TypeError, "has masked"),
    "nan": (lambda k: array_with(np.nan, columns=k), ValueError, "must be finite.* nan .*row 2, column 1"),
    "inf": (lambda k: array_with(np.inf, columns=k), ValueError, "must be finite.* inf .*row 2, column 1"),
    "-inf": (lambda k: array_with(-np.inf, np.float32, k), ValueError, "must be finite.* -inf .*row 2, column 1"),
    "nan, backwards": (lambda k: array_with(np.nan, columns=k)[::-1], ValueError, "must be finite.*row 1, column 1"),
    "nan, Fortran": (lambda k: np.asfortranarray(array_with(np.nan, columns=k)), ValueError, "must be finite.*row 2"),
    "no columns": (lambda k: np.zeros((4, 0)), ValueError, "must have"),
    "a column less": (lambda k: np.zeros((4, k - 1)), ValueError, r"must have .*got .*\(4, \d\)"),
    "a column more": (lambda k: np.zeros((4, k + 1)), ValueError, r"must have .*got .*\(4, \d\)"),
}
tables = pytest.mark.parametrize("table", BAD_TABLES)
USES = {  # with X, y and the name that X and y have in the message
    "fit": (lambda net, x, y: net.fit(x, y), "X", "y"),
    "validation": (
        lambda net, x, y: net.fit(X, Y, validation_data=(x, y)),
        r"validation_data\[0\]",
        r"validation_data\[1\]",
    ),
    "loss": (lambda net, x, y: net.loss(x, y), "X", "y"),
    "loss_and_gradient": (lambda net, x, y: net.loss_and_gradient(x, y), "X", "y"),
    "input_gradient": (lambda net, x, y: net.input_gradient(x, y), "X", "y"),
    "predict": (lambda net, x, y: net.predict(x), "X", None),
    "jacobian": (lambda net, x, y: net.jacobian(x), "X", None),
}
uses = pytest.mark.parametrize("use", USES)


class TestTables:
    """X and y, wherever they are given."""

    @uses
    @tables
    def test_x(self, net, use, table):
        make, error, message = BAD_TABLES[table]
        act, name, _ = USES[use]
        with refuses(error, f"{name} {message}"):
            act(net, make(3), Y)

    @pytest.mark.parametrize("use", [use for use in USES if USES[use][2]])
    @tables
    def test_y(self, net, use, table):
        make, error, message = BAD_TABLES[table]
        act, _, name = USES[use]
        with refuses(error, f"{name} {message}"):
            act(net, X, make(2))

    @uses
    def test_one_row_of_x_needs_a_reshape(self, net, use):
        act, name, _ = USES[use]
        with refuses(ValueError, rf"{name} must have 2 dimensions.*got shape \(3,\).*reshape"):
            act(net, [1, 2, 3], Y)

    @pytest.mark.parametrize("use", [use for use in USES if USES[use][2]])
    @pytest.mark.parametrize(("n_x", "n_y"), [(4, 3), (3, 4), (1, 2), (4, 0)])
    def test_lengths(self, net, use, n_x, n_y):
        act, _, name = USES[use]
        with refuses(ValueError, rf"{name} must have .*{n_x}.*got.* {n_y}"):
            act(net, np.zeros((n_x, 3)), np.zeros((n_y, 2)))

    @pytest.mark.parametrize("use", [use for use in USES if USES[use][2]])
    def test_no_rows(self, net, use):
        act, name, _ = USES[use]
        with refuses(ValueError, rf"{name} must have at least 1 row; got shape \(0, 3\)"):
            act(net, np.zeros((0, 3)), np.zeros((0, 2)))

    @pytest.mark.parametrize("use", [use for use in USES if USES[use][2]])
    def test_y_has_two_outputs(self, net, use):
        act, _, name = USES[use]
        with refuses(ValueError, rf"{name} must have .*got"):
            act(net, X, np.zeros(4))

    def test_float32_overflow(self):
        net = fastnn.MLP([3, 2], dtype="float32", seed=0)
        with refuses(ValueError, r"X must be finite in float32; got 1e\+39 in row 2, column 1"):
            net.predict(array_with(1e39))
        with refuses(ValueError, "y must be finite in float32"):
            net.fit(X, array_with(1e39, columns=2))


class TestTargets:
    """Values that a loss cannot take."""

    @pytest.mark.parametrize(("loss", "due"), [("mse", r"\(4, 1\)"), ("cross_entropy", r"\(4, 1\), .* \(4,\)")])
    def test_a_row_that_should_be_a_column(self, loss, due):
        """The message has the rows of X, not those that y has."""
        with refuses(ValueError, rf"y must have shape {due}; got \(1, 4\)"):
            fastnn.MLP([3, 1], loss=loss).fit(X, np.zeros((1, 4)))

    @pytest.mark.parametrize(
        ("loss", "y", "message"),
        [
            ("cross_entropy", [0, 1, 2, 3], "y must .*0 to 2.* got 3"),
            ("cross_entropy", [0, 1, -1, 2], "y must .*0 to 2.* got -1"),
            ("cross_entropy", [0, 1, 1.5, 2], "y must .*whole.* got 1.5"),
            ("cross_entropy", [[0.5, 0.25, 0]] * 4, "y must .*sum to 1.*0.75"),
            ("cross_entropy", [[1.5, -0.5, 0]] * 4, "y must not be negative.* got -0.5"),
            ("cross_entropy", [[0, 1]] * 4, r"y must have .*\(4, 3\).*got .*\(4, 2\)"),
            ("binary_cross_entropy", [[0, 1, 2]] * 4, "y must .*1 .* got 2"),
            ("binary_cross_entropy", [[0, 1, -0.5]] * 4, "y must not be negative.* got -0.5"),
            ("poisson", [[0, 1, -0.5]] * 4, "y must not be negative.* got -0.5"),
        ],
    )
    def test_of_losses(self, loss, y, message):
        net = fastnn.MLP([3, 3], loss=loss, seed=0)
        before = net.parameters.copy()
        for use in ("fit", "loss", "loss_and_gradient", "input_gradient"):
            with refuses(ValueError, message):
                getattr(net, use)(X, y)
        np.testing.assert_array_equal(net.parameters, before)

    def test_class_numbers_that_float32_would_round(self):
        labels, shape = np.array([2**24 + 1]), (1, 2**24 + 2)
        with refuses(ValueError, "y must hold class numbers of at most 16777216, .* in float32; got 16777217"):
            targets(labels, "y", shape, "cross_entropy", np.dtype(np.float32))
        assert targets(labels - 1, "y", shape, "cross_entropy", np.dtype(np.float32))[1]
        assert targets(labels, "y", shape, "cross_entropy", np.dtype(np.float64))[1]

    def test_validation_data_too(self):
        net = fastnn.MLP([3, 3], loss="cross_entropy", seed=0)
        with refuses(ValueError, r"validation_data\[1\] must .*got 3"):
            net.fit(X, [0, 1, 2, 0], validation_data=(X, [0, 1, 2, 3]))


class TestSampleWeight:
    """One number of at least 0 for each row."""

    @pytest.mark.parametrize("use", ["fit", "loss", "loss_and_gradient"])
    @pytest.mark.parametrize(
        ("value", "error", "message"),
        [
            ([1, 2, 3], ValueError, r"must have shape \(4,\).*got \(3,\)"),
            (np.ones((4, 2)), ValueError, r"must have shape \(4,\).*got \(4, 2\)"),
            ([1, 2, -1, 1], ValueError, "must not be negative; got -1"),
            ([1, np.nan, 1, 1], ValueError, "must be finite.*nan"),
            ([1, np.inf, 1, 1], ValueError, "must be finite.*inf"),
            (["1"] * 4, TypeError, "must hold real numbers"),
            (1.0, ValueError, r"must have shape \(4,\), one weight for each row; got \(\)"),
        ],
        ids=str,
    )
    def test_values(self, net, use, value, error, message):
        with refuses(error, f"sample_weight {message}"):
            getattr(net, use)(X, Y, sample_weight=value)

    def test_in_validation_data(self, net):
        with refuses(ValueError, r"validation_data\[2\] must have shape \(4,\)"):
            net.fit(X, Y, validation_data=(X, Y, [1, 2, 3]))
        with refuses(ValueError, r"validation_data\[2\] must not be 0 for all rows; got 4 zeros"):
            net.fit(X, Y, validation_data=(X, Y, np.zeros(4)))


class TestConstructor:
    """Its arguments, one by one."""

    @pytest.mark.parametrize(
        ("value", "error", "message"),
        [
            ([], ValueError, r"must have at least 2 .*got \[\]"),
            ([3], ValueError, r"must have at least 2 .*got \[3\]"),
            (3, TypeError, "must be a sequence of integers; got 3"),
            ("32", TypeError, "must be a sequence of integers; got '32'"),
            (None, TypeError, "must be a sequence of integers; got None"),
            (np.array(3), TypeError, r"must be a sequence of integers; got array\(3\)"),
            ({3: 1, 2: 1}, TypeError, "must be a sequence of integers; got {"),
            ([3, 0], ValueError, r"\[1\] must be at least 1; got 0"),
            ([-3, 2], ValueError, r"\[0\] must be at least 1; got -3"),
            ([3, 10**30], ValueError, r"\[1\] must .*got 10"),
            ([3, 2.0], TypeError, r"\[1\] must be an integer; got 2.0"),
            ([3, True], TypeError, r"\[1\] must be an integer; got True"),
            ([3, None], TypeError, r"\[1\] must be an integer; got None"),
        ],
        ids=str,
    )
    def test_layer_sizes(self, value, error, message):
        with refuses(error, f"layer_sizes ?{message}".replace(r" ?\[", r"\[")):
            fastnn.MLP(value)

    @pytest.mark.parametrize(
        "sizes", [[2**31, 2**31], [2**40, 2**40], [2**62, 4], [1, 2**62, 1], [2**33, 2**33, 2**33]]
    )
    def test_beyond_memory(self, sizes):
        """The sizes are 64-bit, and a product of them that is not must not wrap around."""
        with pytest.raises((MemoryError, ValueError, OverflowError)):
            fastnn.MLP(sizes)

    @pytest.mark.parametrize("value", ["Relu", "softmax", "exp", "", None, 1, ["relu", 3]], ids=repr)
    def test_activation(self, value):
        shown = re.escape(repr(value if not isinstance(value, list) else 3))
        with refuses((TypeError, ValueError), f"activation must .*got .*{shown}"):
            fastnn.MLP([3, 4, 5, 2], activation=value)

    @pytest.mark.parametrize("value", [[], ["relu"], ["relu"] * 3])
    def test_activations_of_another_number(self, value):
        with refuses(ValueError, f"activation must .*2 hidden layers.*got {re.escape(repr(value))}"):
            fastnn.MLP([3, 4, 5, 2], activation=value)

    @pytest.mark.parametrize(
        ("loss", "value"),
        [
            ("mse", "softmax"),
            ("mse", "exp"),
            ("mse", "Relu"),
            ("mse", 3),
            ("mse", ["relu"]),
            ("cross_entropy", "sigmoid"),
            ("cross_entropy", "identity"),
            ("binary_cross_entropy", "softmax"),
            ("poisson", "identity"),
        ],
    )
    def test_output_activation(self, loss, value):
        with refuses((TypeError, ValueError), f"output_activation must be .*{loss}.*got {re.escape(repr(value))}"):
            fastnn.MLP([3, 2], loss=loss, output_activation=value)

    @pytest.mark.parametrize("value", ["MSE", "", None, 3, ["mse"], fastnn.Huber], ids=repr)
    def test_loss(self, value):
        with refuses((TypeError, ValueError), f"loss must be .*mse.*got {re.escape(repr(value))}"):
            fastnn.MLP([3, 2], loss=value)

    @pytest.mark.parametrize("value", [0, 1.0, "yes", None], ids=repr)
    def test_bias(self, value):
        with refuses(TypeError, f"bias must be .*got {re.escape(repr(value))}"):
            fastnn.MLP([3, 2], bias=value)

    @pytest.mark.parametrize("name", ["l2", "dropout"])
    @pytest.mark.parametrize(
        ("value", "error"),
        [
            (-0.1, ValueError),
            (np.nan, ValueError),
            (np.inf, ValueError),
            ("1", TypeError),
            (None, TypeError),
            (1j, TypeError),
            ([1], TypeError),
        ],
        ids=str,
    )
    def test_numbers(self, name, value, error):
        with refuses(error, f"{name} must .*got {re.escape(repr(value))}"):
            fastnn.MLP([3, 4, 2], **{name: value})

    @pytest.mark.parametrize("value", [1, 1.5])
    def test_dropout_of_all(self, value):
        with refuses(ValueError, f"dropout must .*1.*got {value}"):
            fastnn.MLP([3, 4, 2], dropout=value)

    @pytest.mark.parametrize("value", ["float16", "int", None, "nonsense", complex, np.longdouble, 3], ids=repr)
    def test_dtype(self, value):
        with refuses(ValueError, f"dtype must be 'float32' or 'float64'; got {re.escape(repr(value))}"):
            fastnn.MLP([3, 2], dtype=value)

    @pytest.mark.parametrize(
        ("value", "error"),
        [(-1, ValueError), (1.0, TypeError), ("1", TypeError), (True, TypeError), ([1], TypeError)],
        ids=str,
    )
    def test_seed(self, value, error):
        with refuses(error, f"seed must be .*got {re.escape(repr(value))}"):
            fastnn.MLP([3, 2], seed=value)

    def test_options_are_by_name(self):
        with pytest.raises(TypeError, match="positional"):
            fastnn.MLP([3, 2], "relu")
        with pytest.raises(TypeError, match="activtion"):
            fastnn.MLP([3, 2], activtion="relu")


class OfANumber(schedules.Schedule):
    """A user's own schedule, whose first rates are right."""

    def __init__(self, rate):
        self.rate = rate

    def at(self, epoch):
        return 0.1 if epoch < 2 else self.rate


class TestFit:
    """Its options, one by one."""

    @pytest.mark.parametrize(
        ("rate", "error"),
        [(-1.0, ValueError), (np.nan, ValueError), ("1", TypeError), (None, TypeError), (np.ones(1), TypeError)],
        ids=repr,
    )
    def test_learning_rates_of_a_schedule(self, net, rate, error):
        with refuses(error, f"learning_rate must be .* in every epoch; .*OfANumber.* gave {re.escape(repr(rate))}"):
            net.fit(X, Y, epochs=3, optimizer=fastnn.SGD(OfANumber(rate)))

    @pytest.mark.parametrize(
        ("name", "value", "error", "message"),
        [
            ("epochs", -1, ValueError, "must be at least 0; got -1"),
            ("epochs", 10**30, ValueError, "must fit in 64 bits; got 10"),
            ("epochs", 1.0, TypeError, "must be an integer; got 1.0"),
            ("epochs", None, TypeError, "must be an integer; got None"),
            ("epochs", True, TypeError, "must be an integer; got True"),
            ("batch_size", 0, ValueError, "must be at least 1; got 0"),
            ("batch_size", -32, ValueError, "must be at least 1; got -32"),
            ("batch_size", 32.0, TypeError, "must be an integer.*got 32.0"),
            ("batch_size", "auto", TypeError, "must be an integer.*got 'auto'"),
            ("optimizer", "adam", TypeError, "must be .*Adam.*got 'adam'"),
            ("optimizer", fastnn.Adam, TypeError, "must be .*got <class"),
            ("optimizer", 0.01, TypeError, "must be .*got 0.01"),
            ("shuffle", 1, TypeError, "must be .*got 1"),
            ("shuffle", None, TypeError, "must be .*got None"),
            ("validation_data", X, (TypeError, ValueError), r"must be \(X, y\) or \(X, y, sample_weight\)"),
            ("validation_data", (X,), (TypeError, ValueError), r"must be \(X, y\) or"),
            ("validation_data", (X, Y, None, None), (TypeError, ValueError), r"must be \(X, y\) or"),
            ("validation_data", 0.1, (TypeError, ValueError), r"must be \(X, y\) or"),
            ("early_stopping", 5, TypeError, "must be .*EarlyStopping.*got 5"),
            ("early_stopping", True, TypeError, "must be .*EarlyStopping.*got True"),
            ("max_time", -1, ValueError, "must be .*got -1"),
            ("max_time", np.nan, ValueError, "must be .*got nan"),
            ("max_time", "1 s", TypeError, "must be .*got '1 s'"),
            ("callbacks", 5, TypeError, "must .*got 5"),
            ("callbacks", [5], TypeError, "must .*got 5"),
            ("callbacks", None, TypeError, "must .*got None"),
            ("callbacks", yields, TypeError, "must be .*without yield.*got <function yields"),
            ("callbacks", [awaits], TypeError, "must be .*not async.*got <function awaits"),
            ("verbose", 2, ValueError, "must be 0 or 1; got 2"),
            ("verbose", "yes", (TypeError, ValueError), "must be 0 or 1; got 'yes'"),
            ("n_threads", 0, ValueError, "must be at least 1; got 0"),
            ("n_threads", -1, ValueError, "must be at least 1; got -1"),
            ("n_threads", 1.5, TypeError, "must be an integer; got 1.5"),
        ],
    )
    def test_options(self, net, name, value, error, message):
        with refuses(error, f"{name} {message}"):
            net.fit(X, Y, **{name: value})

    def test_early_stopping_without_validation_data(self, net):
        with refuses(ValueError, "early_stopping .*validation_data must be given"):
            net.fit(X, Y, early_stopping=fastnn.EarlyStopping(3))

    def test_options_are_by_name(self, net):
        with pytest.raises(TypeError, match="positional"):
            net.fit(X, Y, 10)
        with pytest.raises(TypeError, match="epoch"):
            net.fit(X, Y, epoch=10)

    @pytest.mark.parametrize("epochs", [2**62, 2**50])
    def test_epochs_beyond_memory(self, net, epochs):
        """Their figures are not reserved beforehand, so a fit that something else ends works."""
        twin = copy.deepcopy(net)
        history = twin.fit(X, Y, epochs=epochs, callbacks=[lambda net, history: True])
        assert (history.epochs, history.stopped_by) == (1, "callback")


class TestPredict:
    """Where to write, and with how many threads."""

    @pytest.mark.parametrize(
        ("out", "error", "message"),
        [
            (np.zeros((4, 3)), ValueError, r"must have shape \(4, 2\); got \(4, 3\)"),
            (np.zeros((5, 2)), ValueError, r"must have shape \(4, 2\); got \(5, 2\)"),
            (np.zeros(8), ValueError, r"must have shape \(4, 2\); got \(8,\)"),
            (np.zeros((4, 2), np.float32), TypeError, "must have dtype float64; got float32"),
            (np.zeros((4, 2), int), TypeError, "must have dtype float64; got int64"),
            (np.zeros((4, 2), ">f8"), TypeError, "must have dtype float64; got >f8"),
            ([[0, 0]] * 4, TypeError, "must be a numpy.ndarray; got list"),
            (np.broadcast_to(0.0, (4, 2)), ValueError, "must be writeable"),
        ],
        ids=["columns", "rows", "1d", "float32", "int", "byte order", "list", "read-only"],
    )
    def test_out(self, net, out, error, message):
        before = np.array(out)
        with refuses(error, f"out {message}"):
            net.predict(X, out=out)
        np.testing.assert_array_equal(out, before)

    @pytest.mark.parametrize(
        ("value", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError)]
    )
    @pytest.mark.parametrize("use", ["predict", "loss", "loss_and_gradient"])
    def test_n_threads(self, net, use, value, error):
        with refuses(error, f"n_threads must be .*got {value!r}"):
            getattr(net, use)(X, *([] if use == "predict" else [Y]), n_threads=value)


class TestParameters:
    """Assigned whole."""

    @pytest.mark.parametrize(
        ("value", "error", "message"),
        [
            (np.zeros(31), ValueError, r"must have shape \(32,\); got \(31,\)"),
            (np.zeros((32, 1)), ValueError, r"must have shape \(32,\); got \(32, 1\)"),
            (0.0, ValueError, r"must have shape \(32,\); got \(\)"),
            (["0"] * 32, TypeError, "must hold real numbers"),
            ([np.nan] * 32, ValueError, "must be finite"),
        ],
        ids=["a number less", "2d", "scalar", "str", "nan"],
    )
    def test_values(self, net, value, error, message):
        with refuses(error, f"parameters {message}"):
            net.parameters = value

    @pytest.mark.parametrize("name", ["weights", "biases", "layer_sizes"])
    def test_others_are_not_assigned(self, net, name):
        with pytest.raises(AttributeError, match=name):
            setattr(net, name, getattr(net, name))


class TestFiles:
    """Paths; test_mlp_usage.py has what is in the files."""

    @pytest.mark.parametrize("value", [None, 3, 1.0, ["a"]], ids=repr)
    def test_path(self, net, value):
        with refuses(TypeError, f"path must be .*got {re.escape(repr(value))}"):
            net.save(value)
        with refuses(TypeError, f"path must be .*got {re.escape(repr(value))}"):
            fastnn.MLP.load(value)

    def test_no_such_folder(self, net, tmp_path):
        with pytest.raises(FileNotFoundError):
            net.save(tmp_path / "nowhere" / "net.npz")
        with pytest.raises(FileNotFoundError):
            fastnn.MLP.load(tmp_path / "net.npz")

    def test_a_folder(self, net, tmp_path):
        with pytest.raises((OSError, ValueError)):
            net.save(tmp_path)
        with pytest.raises(OSError, match=re.escape(str(tmp_path))):
            fastnn.MLP.load(tmp_path)
