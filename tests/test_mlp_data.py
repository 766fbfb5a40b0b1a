"""What MLP takes as X, y and sample_weight: any layout and type of numbers, read where they are, never copied whole."""

import os
import sys

import networks
import numpy as np
import pytest

import fastnn
from fastnn import _engine

DESCRIBED = networks.network((6, 9, 2), "tanh", l2=0.125)
N = 45
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


def rows():
    """Small whole numbers, which every type holds."""
    rng = np.random.default_rng(8)
    return rng.integers(0, 2, size=(N, 6)), rng.integers(0, 2, size=(N, 2)), rng.integers(1, 3, size=N)


def test_tiny_numbers_where_numpy_would_raise():
    """What is too small for float32 is rounded to 0, whatever the program has asked of NumPy's own arithmetic."""
    net, tiny = fastnn.MLP([2, 3, 1], seed=0), np.full((4, 2), 1e-300)
    with np.errstate(all="raise"):
        net.fit(tiny, tiny[:, 0], sample_weight=[1e300, 1e-300, 1, 1])
        expected = net.predict(tiny)
        assert net.predictor()(tiny[0]) == expected[0]
        net.weights[0] = np.full((2, 3), 1e-300)
        assert not net.weights[0].any()
        fastnn.NeuralNetwork(tiny, tiny[:, :1], dtype="float32", rng=0).weights1 = np.full((2, 4), 1e-300)
        fastnn.NeuralNetwork(tiny, tiny[:, :1], dtype="float32", learning_rate=1e-300)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def misaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned or array.itemsize == 1
    return view


def strided(array):
    wide = np.full((2 * len(array), *(3 * n for n in array.shape[1:])), 77, array.dtype)
    view = wide[tuple(slice(None, None, step) for step in (2, 3)[: array.ndim])]
    view[...] = array
    return view


def backwards(array):
    every = (slice(None, None, -1),) * array.ndim
    return array[every].copy()[every]


def frame(array, **dtypes):
    pandas = pytest.importorskip("pandas")
    return pandas.Series(array) if array.ndim == 1 else pandas.DataFrame(array)


def mixed_frame(array):
    pandas = pytest.importorskip("pandas")
    if array.ndim == 1:
        return pandas.Series(array, dtype="Int64")
    return pandas.DataFrame(
        {str(i): array[:, i].astype(["f4", "i2", "f8", bool][i % 4]) for i in range(array.shape[1])}
    )


LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "strided": strided,
    "backwards": backwards,
    "read-only": read_only,
    "misaligned": misaligned,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "one row repeated": lambda a: np.broadcast_to(a[:1], a.shape),
    "a field of records": lambda a: np.rec.fromarrays([a, a], names="a,b")["a"],
}
KINDS = {
    "list": np.ndarray.tolist,
    "list of arrays": list,
    "float16": lambda a: a.astype(np.float16),
    "object": lambda a: a.astype(object),
    "DataFrame": frame,
    "DataFrame of mixed columns": mixed_frame,
    "masked array, nothing masked": np.ma.masked_array,
}


def assert_same_as(x, y, w, dtype, plain):
    """Assert that predictions, gradients and a fit are those of plain arrays of float64."""
    one, other = networks.mlp(DESCRIBED, dtype), networks.mlp(DESCRIBED, dtype)
    np.testing.assert_array_equal(one.predict(x), other.predict(plain[0]))
    np.testing.assert_array_equal(one.jacobian(x), other.jacobian(plain[0]))
    np.testing.assert_array_equal(one.input_gradient(x, y), other.input_gradient(*plain[:2]))
    found, expected = (
        one.loss_and_gradient(x, y, sample_weight=w),
        other.loss_and_gradient(*plain[:2], sample_weight=plain[2]),
    )
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])
    assert one.loss(x, y, sample_weight=w) == other.loss(*plain[:2], sample_weight=plain[2])
    for net, (xs, ys, ws) in ((one, (x, y, w)), (other, plain)):
        net.history = net.fit(xs, ys, sample_weight=ws, epochs=2, batch_size=7, validation_data=(xs, ys, ws))
        net.fit(xs, ys, batch_size=None)
        net.fit(xs, ys, batch_size=1, shuffle=False)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    np.testing.assert_array_equal(one.history.validation_loss, other.history.validation_loss)


class TestKinds:
    """All give the bits that plain arrays give."""

    @pytest.mark.parametrize("element", ["float32", "float64", *INTEGERS])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_layouts_and_types(self, isa, layout, element):
        dtype = np.dtype(["float32", "float64"][len(layout + element) % 2])
        x, y, w = (LAYOUTS[layout](a.astype(element)) for a in rows())
        assert_same_as(x, y, w, dtype, [np.array(a, float) for a in (x, y, w)])

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_bool(self, dtype, layout):
        if layout == "byte-swapped":
            pytest.skip("a byte has no order")
        x, y, w = rows()
        x, y, w = (LAYOUTS[layout](a) for a in (x == 1, y == 1, w == w[0]))  # the row that one layout repeats counts
        assert_same_as(x, y, w, dtype, [np.array(a, float) for a in (x, y, w)])

    @pytest.mark.parametrize("kind", KINDS)
    def test_other_kinds(self, dtype, kind):
        plain = rows()
        x, y, w = (KINDS[kind](a) for a in plain)
        assert_same_as(x, y, w, dtype, [a.astype(float) for a in plain])

    @pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
    def test_matrix(self, dtype):
        x, y, w = rows()
        assert_same_as(np.asmatrix(x), np.asmatrix(y), w, dtype, [a.astype(float) for a in (x, y, w)])

    @pytest.mark.parametrize("element", ["float32", "float64", "int16", "uint8"])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_memory_map(self, dtype, tmp_path, element, order):
        maps = []
        for i, array in enumerate(rows()):
            np.save(tmp_path / f"{i}.npy", np.asarray(array, element, order=order))
            maps.append(np.load(tmp_path / f"{i}.npy", mmap_mode="r"))
        assert_same_as(*maps, dtype, [np.array(a, float) for a in maps])

    @pytest.mark.parametrize("element", ["float64", "int32", "uint32", "int64", "uint64"])
    def test_numbers_are_rounded_once(self, element):
        """To float32, as NumPy rounds them."""
        rng = np.random.default_rng(0)
        x = (rng.random((N, 6)) if element == "float64" else rng.integers(2**27, 2**31, (N, 6))).astype(element)
        net = networks.mlp(DESCRIBED, "float32")
        net.parameters[...] *= np.float32(2.0**-28)
        np.testing.assert_array_equal(net.predict(x), net.predict(x.astype(np.float32)))

    def test_x_is_left_alone(self):
        """Neither written nor kept."""
        x, y, w = (a.astype(float) for a in rows())
        kept = [a.copy() for a in (x, y, w)]
        net = networks.mlp(DESCRIBED)
        counts = [sys.getrefcount(a) for a in (x, y, w)]
        net.fit(x, y, sample_weight=w, validation_data=(x, y, w))
        net.predict(x)
        net.loss_and_gradient(x, y)
        assert [sys.getrefcount(a) for a in (x, y, w)] == counts
        for a, b in zip((x, y, w), kept, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_no_rows_to_predict(self, dtype):
        net = networks.mlp(DESCRIBED, dtype)
        for rows_ in (np.zeros((0, 6)), np.zeros((0, 6), np.int8), np.zeros((0, 6), order="F")):
            assert net.predict(rows_).shape == (0, 2)
            assert net.jacobian(rows_).shape == (0, 2, 6)

    def test_validation_data_of_another_kind(self, dtype):
        x, y, w = rows()
        one, other = networks.mlp(DESCRIBED, dtype), networks.mlp(DESCRIBED, dtype)
        found = one.fit(x, y, validation_data=[x.astype(np.int8), np.asfortranarray(y), w.tolist()])
        expected = other.fit(x, y, validation_data=(x.astype(float), y.astype(float), w))
        assert found.validation_loss == expected.validation_loss


class TestTargets:
    """Training with each way to write them; test_mlp_gradient.py has the losses."""

    @pytest.mark.parametrize("element", ["int8", "uint64", "int64", "float32", "float64"])
    def test_labels(self, isa, dtype, element):
        described = networks.network((6, 9, 5), "relu", "cross_entropy")
        x, one_hot, w = networks.data(described, N)
        labels = one_hot.argmax(axis=1).astype(element)
        expected = networks.mlp(described, dtype)
        expected.fit(x, one_hot, sample_weight=w, epochs=2)
        for y in (labels, labels[:, np.newaxis], labels.tolist(), strided(labels), backwards(labels), frame(labels)):
            net = networks.mlp(described, dtype)
            net.fit(x, y, sample_weight=w, epochs=2)
            np.testing.assert_array_equal(net.parameters, expected.parameters)

    @pytest.mark.parametrize("loss", ["mse", "sse", "huber", "poisson", "binary_cross_entropy"])
    def test_a_vector_for_one_output(self, dtype, loss):
        described = networks.network((6, 9, 1), "relu", loss)
        x, y, _ = networks.data(described, N)
        expected = networks.mlp(described, dtype)
        expected.fit(x, y, epochs=2, validation_data=(x, y))
        for same in (y.ravel(), y.ravel().tolist(), strided(y.ravel()), frame(y.ravel())):
            net = networks.mlp(described, dtype)
            net.fit(x, same, epochs=2, validation_data=(x, same))
            np.testing.assert_array_equal(net.parameters, expected.parameters)


# Trains, predicts and takes the loss with no more than 24 MB beside X, which has 100 MB.
CHILD = """
import resource
import sys
import numpy as np
import fastnn

N, D = 400_000, 256  # of bytes; wider elements mean fewer columns

def limit_memory(extra):
    with open("/proc/self/status") as status:
        used = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (used + extra, used + extra))

def make(kind):
    if kind == "memory map":
        x = np.memmap("x.bin", np.float32, "w+", shape=(N, D // 4))  # a hole, but for its end
        x[-1] = 1
        x.flush()
        return np.memmap("x.bin", np.float32, "r", shape=(N, D // 4))
    name, order = kind.split()
    dtype = np.dtype(name)
    shape = (N, D // dtype.itemsize)
    if order == "strided":
        shape = (2 * N, shape[1])
    x = np.zeros(shape, dtype, order="F" if order == "F" else "C")
    x = x[::-2] if order == "strided" else x[::-1] if order == "backwards" else x
    x[-1] = 1
    return x

kind, kernel_dtype = sys.argv[1:]
x = make(kind)
assert x.nbytes >= 100_000_000
y = np.zeros(len(x), np.float32)
limit_memory(24_000_000)
try:
    np.ones(30_000_000, np.uint8)
except MemoryError:
    pass
else:
    sys.exit("the limit does not work here")
net = fastnn.MLP([x.shape[1], 4, 1], dtype=kernel_dtype, seed=0)
assert net.predict(x).shape == (len(x), 1)
net.loss(x, y)
history = net.fit(x, y, batch_size=256, optimizer=fastnn.SGD(0.0), validation_data=(x, y))
print(history.epochs, history.loss[0] > 0, history.validation_loss[0] == net.loss(x, y))
"""


@pytest.mark.isa_independent
@pytest.mark.skipif(sys.platform != "linux", reason="the limit on a process's data is Linux's")
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer needs memory of its own")
@pytest.mark.parametrize(
    "kind", ["memory map", "float32 C", "float32 F", "float64 C", "int8 C", "int64 strided", "float32 backwards"]
)
def test_x_is_never_copied_whole(run, kind):
    done = run("-c", CHILD, kind, "float64" if kind == "float32 C" else "float32", check=False)
    if "the limit does not work here" in done.stderr:
        pytest.skip("the limit on a process's data has no effect here")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "True", "True"]


class TestPlainAndFinite:
    """What the engine itself finds finite; anything else takes the way that names the element."""

    @pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
    def test_wherever_it_is(self, isa, dtype, wrong):
        array = np.ones((37, 3), dtype)
        assert _engine.is_plain_and_finite(array, dtype)
        for i in range(array.size):
            array.flat[i] = wrong
            assert not _engine.is_plain_and_finite(array, dtype)
            array.flat[i] = np.finfo(dtype).max

    def test_at_the_edge_of_what_is_looked_at_at_once(self):
        array = np.ones((2**22 + 5, 1), np.float32)
        for i in (2**22 - 1, 2**22, 2**22 + 4):
            array[i] = np.nan
            assert not _engine.is_plain_and_finite(array, array.dtype)
            array[i] = 1
        assert _engine.is_plain_and_finite(array, array.dtype)

    def test_what_is_not_plain(self, dtype):
        array = np.ones((6, 4), dtype)
        shifted = np.ones(6 * 4 * dtype.itemsize + 1, np.uint8)[1:].view(dtype).reshape(6, 4)
        others = [array.T, array[:, :3], array[::2], array[::-1], array[:0], array[:, :0], array[0], array[None]]
        others += [array.astype(dtype.newbyteorder()), array.astype(int), array.view(np.matrix), shifted, None]
        assert not any(_engine.is_plain_and_finite(other, dtype) for other in others)
        for plain in (array[2:4], array[:1, :3], array[:, :1].copy(), array[3:, :]):
            assert _engine.is_plain_and_finite(plain, dtype)
