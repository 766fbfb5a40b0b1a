"""Bad input: the right exception, which names the argument and what was expected, and a network left as it was."""

import re

import numpy as np
import pytest

import fastnn

X, Y = np.zeros((4, 3)), np.zeros((4, 1))
ARRAYS = ("input", "y", "weights1", "weights2", "layer1", "output")


def snapshot(nn):
    """Everything that can be seen of a network, as bytes."""
    return [(getattr(nn, name).shape, getattr(nn, name).tobytes()) for name in ARRAYS], nn.learning_rate


@pytest.fixture(params=["new", "trained"])
def nn(request):
    """Return a network of 4 rows, 3 inputs, 5 hidden units and 3 outputs, which the test must leave as it is."""
    rng = np.random.default_rng(0)
    network = fastnn.NeuralNetwork(rng.random((4, 3)), rng.random((4, 3)), hidden=5, rng=rng)
    if request.param == "trained":
        network.train(3)
    before = snapshot(network)
    identities = [getattr(network, name) for name in ARRAYS]
    yield network
    assert snapshot(network) == before
    for name, array in zip(ARRAYS, identities, strict=True):
        assert np.shares_memory(getattr(network, name), array), f"{name} is another array now"
    network.train(1)


def array_with(value, dtype=float):
    array = np.zeros((4, 3), dtype)
    array[2, 1] = value
    return array


# what is wrong with a table of numbers, whatever its name: value, exception, message
BAD_TABLES = {
    "1d": ([1, 2, 3, 4], ValueError, r"must have 2 dimensions, \(rows, columns\); got shape \(4,\); use .*reshape"),
    "0d": (3, ValueError, r"must have 2 dimensions, .* got shape \(\)"),
    "3d": (np.zeros((4, 3, 1)), ValueError, r"must have 2 dimensions, .* got shape \(4, 3, 1\)"),
    "ragged": ([[1, 2, 3], [1, 2]], ValueError, "is not a rectangular array"),
    "complex": (array_with(1j, complex), TypeError, "must hold real numbers.* got dtype complex128"),
    "complex, imaginary parts zero": (np.zeros((4, 3), complex), TypeError, "must hold real numbers"),
    "complex object": (array_with(1j, object), TypeError, "must hold real numbers"),
    "str": (np.full((4, 3), "1"), TypeError, "must hold real numbers.* got dtype <U1"),
    "bytes": (np.full((4, 3), b"1"), TypeError, "must hold real numbers"),
    "str object": (array_with("1", object), TypeError, "must hold real numbers"),
    "None": (None, (TypeError, ValueError), "must"),
    "None object": (array_with(None, object), (TypeError, ValueError), "must"),
    "dict": ({}, TypeError, "must hold real numbers: got dict"),
    "iterator": (iter([1, 2]), TypeError, "must hold real numbers: got list_iterator"),
    "datetime": (np.zeros((4, 3), "M8[s]"), TypeError, "must hold real numbers"),
    "timedelta": (np.zeros((4, 3), "m8[s]"), TypeError, "must hold real numbers"),
    "record": (np.zeros((4, 3), "f8,f8"), TypeError, "must hold real numbers"),
    "longdouble": (np.zeros((4, 3), np.longdouble), TypeError, "must hold real numbers, at most 64 bits wide"),
    "masked": (np.ma.masked_array(np.zeros((4, 3)), array_with(True, bool)), TypeError, "has masked elements"),
    "nan": (array_with(np.nan), ValueError, "must be finite; got nan .*row 2, column 1"),
    "inf": (array_with(np.inf), ValueError, "must be finite; got inf .*row 2, column 1"),
    "-inf": (array_with(-np.inf, np.float32), ValueError, "must be finite; got -inf .*row 2, column 1"),
    "integers beyond float64": (array_with(10**400, object), (TypeError, ValueError), "must"),
    "no columns": (np.zeros((4, 0)), ValueError, r"must have (at least 1 column|\d columns); got"),
}
tables = pytest.mark.parametrize("table", BAD_TABLES)


def refuses(error, message):
    return pytest.raises(error, match=f"^{message}")


class TestConstructor:
    """Errors leave NumPy's generator as it was too: no network, no numbers drawn."""

    @pytest.fixture(autouse=True)
    def _draws_nothing(self):
        before = np.random.get_state()  # noqa: NPY002 - the book's generator
        yield
        after = np.random.get_state()  # noqa: NPY002
        assert after[2] == before[2]
        np.testing.assert_array_equal(after[1], before[1])

    @pytest.mark.parametrize("name", ["x", "y"])
    @tables
    def test_tables(self, name, table):
        value, error, message = BAD_TABLES[table]
        with refuses(error, f"{name} {message}"):
            fastnn.NeuralNetwork(**{"x": X, "y": Y, name: value})

    @pytest.mark.parametrize(("x", "y"), [(4, 3), (3, 4), (1, 2), (4, 0)])
    def test_length(self, x, y):
        with refuses(ValueError, f"y must have {x} rows; got {y}"):
            fastnn.NeuralNetwork(np.zeros((x, 3)), np.zeros((y, 1)))

    def test_no_rows(self):
        with refuses(ValueError, r"x must have at least 1 row; got shape \(0, 3\)"):
            fastnn.NeuralNetwork(np.zeros((0, 3)), np.zeros((0, 1)))
        with refuses(ValueError, "x must"):
            fastnn.NeuralNetwork([], [])

    @pytest.mark.parametrize("name", ["x", "y"])
    def test_float32_overflow(self, name):
        with refuses(ValueError, rf"{name} must be finite; got inf \(float32\) in row 2, column 1"):
            fastnn.NeuralNetwork(**{"x": X, "y": X, name: array_with(1e39)}, dtype="float32")

    @pytest.mark.parametrize("value", [0, -1, -(10**30), 2**63, 10**30])
    def test_hidden_out_of_range(self, value):
        with refuses(ValueError, f"hidden must (be at least 1|fit in 64 bits); got {value}"):
            fastnn.NeuralNetwork(X, Y, hidden=value)

    @pytest.mark.parametrize("value", [4.0, "4", None, [4], True, np.True_, np.float64(4)], ids=repr)
    def test_hidden_of_another_type(self, value):
        with refuses(TypeError, f"hidden must be an integer; got {re.escape(repr(value))}"):
            fastnn.NeuralNetwork(X, Y, hidden=value)

    @pytest.mark.parametrize("hidden", [2**62, 2**61, 2**60, 2**50])
    def test_hidden_beyond_memory(self, hidden):
        """The sizes are 64-bit, and a product of them that is not must not wrap around."""
        with pytest.raises((MemoryError, ValueError, OverflowError)):
            fastnn.NeuralNetwork(X, Y, hidden=hidden)

    @pytest.mark.parametrize("hidden", [2**58, 2**47])
    def test_hidden_beyond_64_bits(self, hidden):
        with refuses(ValueError, rf"hidden must make at most 2\*\*48 weights; got {hidden}"):
            fastnn.NeuralNetwork(X, Y, hidden=hidden)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=repr)
    def test_learning_rate_not_finite(self, value):
        with refuses(ValueError, f"learning_rate must be finite; got {value}"):
            fastnn.NeuralNetwork(X, Y, learning_rate=value)

    @pytest.mark.parametrize(("value", "dtype"), [(10**400, "float64"), (1e39, "float32")], ids=["int", "float32"])
    def test_learning_rate_beyond_the_dtype(self, value, dtype):
        with refuses(ValueError, "learning_rate must be finite"):
            fastnn.NeuralNetwork(X, Y, learning_rate=value, dtype=dtype)

    @pytest.mark.parametrize("value", ["1", b"1", None, 1j, [1, 2], True, np.True_], ids=repr)
    def test_learning_rate_no_number(self, value):
        with refuses(TypeError, f"learning_rate must be a number; got {re.escape(repr(value))}"):
            fastnn.NeuralNetwork(X, Y, learning_rate=value)

    @pytest.mark.parametrize("value", ["float16", "int", None, "nonsense", complex, np.longdouble, 3], ids=repr)
    def test_dtype(self, value):
        with refuses(ValueError, f"dtype must be 'float32' or 'float64'; got {re.escape(repr(value))}"):
            fastnn.NeuralNetwork(X, Y, dtype=value)

    @pytest.mark.parametrize("value", ["0", 0.5, [1], np.random], ids=repr)
    def test_rng_of_another_type(self, value):
        with refuses(TypeError, "rng must be"):
            fastnn.NeuralNetwork(X, Y, rng=value)

    def test_rng_negative(self):
        with refuses(ValueError, "rng must be at least 0; got -1"):
            fastnn.NeuralNetwork(X, Y, rng=-1)

    def test_options_are_by_name(self):
        with pytest.raises(TypeError, match="positional"):
            fastnn.NeuralNetwork(X, Y, 4)
        with pytest.raises(TypeError, match="hiden"):
            fastnn.NeuralNetwork(X, Y, hiden=4)


class TestAssignment:
    """Attributes check like the constructor."""

    @pytest.mark.parametrize("name", ["input", "y"])
    @tables
    def test_tables(self, nn, name, table):
        value, error, message = BAD_TABLES[table]
        with refuses(error, f"{name} {message}"):
            setattr(nn, name, value)

    @pytest.mark.parametrize(
        ("name", "columns", "expected"), [("input", 4, 3), ("input", 2, 3), ("y", 1, 3), ("y", 4, 3)]
    )
    def test_columns(self, nn, name, columns, expected):
        with refuses(ValueError, f"{name} must have {expected} columns; got {columns}"):
            setattr(nn, name, np.zeros((4, columns)))

    @pytest.mark.parametrize("name", ["input", "y"])
    def test_no_rows(self, nn, name):
        with refuses(ValueError, rf"{name} must have at least 1 row; got shape \(0, 3\)"):
            setattr(nn, name, np.zeros((0, 3)))

    @pytest.mark.parametrize("name", ["weights1", "weights2", "layer1", "output"])
    @pytest.mark.parametrize("change", ["a row more", "a column less", "1d", "3d", "transposed", "scalar", "one row"])
    def test_weights_of_another_shape(self, nn, name, change):
        rows, columns = shape = getattr(nn, name).shape
        wrong = {
            "a row more": (rows + 1, columns),
            "a column less": (rows, columns - 1),
            "1d": (rows * columns,),
            "3d": (1, rows, columns),
            "transposed": (columns, rows),
            "scalar": (),
            "one row": (1, columns),  # NumPy would broadcast it
        }[change]
        with refuses(ValueError, re.escape(f"{name} must have shape {shape}; got {wrong}")):
            setattr(nn, name, np.zeros(wrong))

    @pytest.mark.parametrize("name", ["weights1", "weights2", "layer1", "output"])
    @pytest.mark.parametrize("kind", ["complex", "str", "datetime", "longdouble"])
    def test_weights_that_are_no_real_numbers(self, nn, name, kind):
        dtype = {"complex": complex, "str": "U1", "datetime": "M8[s]", "longdouble": np.longdouble}[kind]
        with refuses(TypeError, f"{name} must hold real numbers"):
            setattr(nn, name, np.zeros(getattr(nn, name).shape, dtype))

    @pytest.mark.parametrize("name", ["weights1", "weights2"])
    def test_ragged_weights(self, nn, name):
        with refuses(ValueError, f"{name} is not a rectangular array"):
            setattr(nn, name, [[1, 2], [3]])

    def test_learning_rate(self, nn):
        with refuses(ValueError, "learning_rate must be finite; got nan"):
            nn.learning_rate = np.nan
        with refuses(TypeError, "learning_rate must be a number; got '1'"):
            nn.learning_rate = "1"

    @pytest.mark.parametrize("name", [*ARRAYS, "loss"])
    def test_attributes_are_not_deleted(self, nn, name):
        with pytest.raises(AttributeError, match=name):
            delattr(nn, name)

    def test_loss_is_not_assigned(self, nn):
        with pytest.raises(AttributeError, match="loss"):
            nn.loss = 0


class TestTrain:
    """The number of iterations."""

    @pytest.mark.parametrize("value", [-1, -(2**63), -(10**30), 2**63, 10**30])
    def test_out_of_range(self, nn, value):
        with refuses(ValueError, f"iterations must (be at least 0|fit in 64 bits); got {value}"):
            nn.train(value)

    @pytest.mark.parametrize("value", [1.0, "1", None, [1], True, np.float64(1)], ids=repr)
    def test_of_another_type(self, nn, value):
        with refuses(TypeError, f"iterations must be an integer; got {re.escape(repr(value))}"):
            nn.train(value)

    def test_beyond_64_bits(self, nn):
        with refuses(ValueError, rf"iterations must be at most 2\*\*48, .*; got {2**60}"):
            nn.train(2**60)

    @pytest.mark.parametrize("value", [2**62, 2**61, 2**60, 2**50])
    def test_beyond_memory(self, nn, value):
        with pytest.raises((MemoryError, ValueError)):
            nn.train(value)

    def test_none_is_fine(self, nn):
        assert nn.train(0).shape == (0,)
        assert nn.train(np.int8(0)).dtype == np.float64


class TestPredict:
    """Rows to predict."""

    @tables
    def test_tables(self, nn, table):
        value, error, message = BAD_TABLES[table]
        with refuses(error, f"x {message}"):
            nn.predict(value)

    @pytest.mark.parametrize("columns", [1, 2, 4])
    def test_columns(self, nn, columns):
        with refuses(ValueError, f"x must have 3 columns; got {columns}"):
            nn.predict(np.zeros((2, columns)))


class TestOrder:
    """Methods that need another first."""

    def test_backprop_without_feedforward(self):
        nn = fastnn.NeuralNetwork(X, Y, rng=0)
        before = snapshot(nn)
        with refuses(RuntimeError, r"backprop\(\) needs the activations of a feedforward\(\)"):
            nn.backprop()
        assert snapshot(nn) == before

    def test_backprop_after_other_rows(self):
        nn = fastnn.NeuralNetwork(X, Y, rng=0)
        nn.train(1)
        nn.input, nn.y = np.ones((2, 3)), np.ones((2, 1))
        before = snapshot(nn)
        with refuses(RuntimeError, r"backprop\(\) needs the activations"):
            nn.backprop()
        assert snapshot(nn) == before

    @pytest.mark.parametrize("act", [lambda nn: nn.backprop(), lambda nn: nn.train(1), lambda nn: nn.loss])
    @pytest.mark.parametrize("name", ["input", "y"])
    def test_lengths_that_differ(self, act, name):
        nn = fastnn.NeuralNetwork(X, Y, rng=0)
        nn.train(1)
        setattr(nn, name, np.ones((6, 3 if name == "input" else 1)))
        nn.feedforward()
        before = snapshot(nn)
        with refuses(ValueError, r"y must have as many rows as input \([46]\); got [46]"):
            act(nn)
        assert snapshot(nn) == before
