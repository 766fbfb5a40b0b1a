"""Matrix products: the kernel at every edge of its tiles and blocks, in every layout, and the public matmul."""

from functools import cache

import numpy as np
import pytest
import reference
from accuracy import assert_same_bits

import fastnn
from fastnn import _kernels, threads

# Tiles are 4, 6 or 12 rows by 2 to 4 vectors of 1 to 16 lanes; a block is 36 to 144 rows, 256 or 512 of k, and 512 or
# 1024 columns; A and B are packed from 128 KiB on. These are the numbers around all of them, for any instruction set.
ROWS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 31, 95, 96, 97]
COLUMNS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 23, 24, 25, 31, 32, 33, 37, 47, 48, 49, 63, 64, 65]
DEPTHS = [0, 1, 2, 7, 8, 17]
BEYOND_BLOCKS = [
    # (m, n, k)
    (3, 5, 127),
    (3, 5, 128),
    (3, 5, 129),
    (9, 17, 255),
    (9, 17, 256),
    (9, 17, 257),
    (7, 31, 511),
    (9, 17, 512),
    (7, 31, 513),
    (37, 530, 515),
    (73, 270, 1025),
    (5, 511, 3),
    (5, 512, 3),
    (5, 513, 3),
    (7, 1007, 40),
    (2, 1009, 131),
    (3, 1023, 37),
    (3, 1025, 70),
    (1, 2100, 64),
    (71, 1030, 40),
    (73, 1100, 129),
    (143, 600, 70),
    (145, 1029, 258),
    (151, 1000, 261),
    (191, 3, 5),
    (193, 50, 19),
    (1000, 1, 3),
    (1000, 2, 130),
    (1100, 7, 33),
    (1, 1, 1031),
    (1, 300, 300),
    (300, 1, 300),
    (67, 131, 263),
    (101, 521, 259),
    # as many rows as the last block may have
    (42, 530, 512),
    (78, 530, 512),
    (108, 530, 512),
    (204, 530, 1024),
    # so many rows and columns that A is packed, whose tiles are lower up to k = 48 in AVX2
    (709, 270, 47),
    (706, 257, 48),
    (707, 260, 49),
]


def shape_id(shape):
    return "x".join(map(str, shape))


@cache
def operands(dtype, m, n, k):
    """Return A, B, their product in a longer type, |A||B| and the longer type's unit roundoff."""
    rng = np.random.default_rng([m, n, k])
    a, b = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    longer = np.float64 if dtype == np.float32 else np.longdouble
    exact = reference.matmul(a.astype(longer), b.astype(longer))
    return a, b, exact, np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64), np.finfo(longer).eps / 2


def assert_product(got, exact, magnitude, n_terms, judge):
    """Assert the bound of a chain of fused multiply-adds.

    Each of n_terms roundings errs by at most u = eps / 2 of a partial sum, which |A||B| bounds: n_terms u |A||B| to
    first order. The judge errs likewise with its own u. The factor 1.01 is for the higher orders.
    """
    bound = 1.01 * n_terms * (np.finfo(got.dtype).eps / 2 + judge) * magnitude
    error = np.abs(got.astype(exact.dtype) - exact)
    assert (error <= bound).all(), f"error / bound is {(error / bound).max()}"


@pytest.mark.parametrize("m", ROWS)
def test_edges_of_tiles(isa, dtype, m, guarded):
    """All numbers of rows, columns and terms around a tile's; C starts at every misalignment."""
    for n in COLUMNS:
        for k in DEPTHS:
            a, b, exact, magnitude, judge = operands(dtype, m, n, k)
            c = guarded((m, n), dtype, offset=(n + k) % 17)
            _kernels.gemm(c, a, b)
            assert_product(c, exact, magnitude, k, judge)


@pytest.mark.parametrize("shape", BEYOND_BLOCKS, ids=shape_id)
@pytest.mark.parametrize("layout", ["row-major", "transposed", "A transposed", "strided", "B's rows far apart"])
def test_edges_of_blocks(isa, dtype, shape, layout, guarded):
    """Packed and unpacked, several blocks of rows, columns and k; the operands, and the result, in several layouts."""
    m, n, k = shape
    a, b, exact, magnitude, judge = operands(dtype, *shape)
    c = guarded((m, n), dtype, strides=(1, m) if layout == "transposed" else None)
    if layout == "transposed":
        a, b = np.asfortranarray(a), np.asfortranarray(b)
    elif layout == "A transposed":
        a = np.asfortranarray(a)
    elif layout == "strided":
        a, b = np.repeat(a, 2, axis=1)[:, ::2], np.repeat(b, 3, axis=1)[:, ::3]
    elif layout == "B's rows far apart":  # so that together they are over 128 KiB
        b = spread(b, n + 128 * 1024 // (k * b.itemsize), 1, offset=3)
    _kernels.gemm(c, a, b)
    assert_product(c, exact, magnitude, k, judge)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 79, 127, 128, 129, 145, 257])
@pytest.mark.parametrize("accumulate", [False, True], ids=["set", "accumulate"])
def test_one_row_or_column(isa, dtype, n, accumulate, guarded):
    """These have loops of their own: the bits of the same row within a larger product, in all layouts."""
    for k in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 259):
        a, b, exact, magnitude, judge = operands(dtype, 5, n, k)
        start = np.random.default_rng([n, k]).normal(size=(5, n)).astype(dtype) * accumulate
        expected = start.copy()
        _kernels.gemm(expected, a, b, accumulate)
        assert_product(expected, exact + start, magnitude + np.abs(start), k + accumulate, judge * 2)
        for i, a_stride in enumerate((1, 3)):
            row = spread(a[2:3], a_stride * k, a_stride, offset=i)
            for j, layout in enumerate(("C", "F", "padded C", "padded F", "strided")):
                right = spread(b, *LAYOUTS[layout](k, n), offset=j)
                c = guarded((1, n), dtype, offset=(i + 3 * j + k) % 17, values=start[2:3])
                _kernels.gemm(c, row, right, accumulate)
                assert_same_bits(c, expected[2:3])
                c = guarded((n, 1), dtype, offset=(i + 3 * j + k) % 17, values=start[2:3].T)
                _kernels.gemm(c, right.T, row.T, accumulate)
                assert_same_bits(c, expected[2:3].T)


def spread(matrix, rows, columns, offset):
    """Copy a matrix amid NaN, `offset` elements into it, with strides of `rows` and `columns` elements."""
    (m, n), size = matrix.shape, matrix.dtype.itemsize
    first = (m - 1) * max(-rows, 0) + (n - 1) * max(-columns, 0)
    extent = first + (m - 1) * max(rows, 0) + (n - 1) * max(columns, 0) + 1
    memory = np.full(offset + extent + 32, np.nan, matrix.dtype)
    copy = np.ndarray((m, n), matrix.dtype, memory, (offset + first) * size, (rows * size, columns * size))
    copy[...] = matrix
    return copy


LAYOUTS = {  # of an (m, n) matrix: row and column stride in elements
    "C": lambda m, n: (n, 1),
    "F": lambda m, n: (1, m),
    "padded C": lambda m, n: (n + 5, 1),
    "padded F": lambda m, n: (1, m + 3),
    "strided": lambda m, n: (3 * n, 2),
    "rows reversed": lambda m, n: (-n, 1),
    "columns reversed": lambda m, n: (n, -1),
    "F reversed": lambda m, n: (-1, -m),
}
ODD_SHAPES = [(1, 1, 1), (3, 2, 5), (13, 37, 11), (37, 13, 29), (8, 33, 17), (5, 3, 300)]


@pytest.mark.parametrize("c_layout", LAYOUTS)
@pytest.mark.parametrize("accumulate", [False, True], ids=["set", "accumulate"])
def test_layouts(isa, dtype, c_layout, accumulate, guarded):
    """All layouts of A and B for each of C: the bits are those of row-major order, C's surroundings stay as is."""
    for m, n, k in ODD_SHAPES:
        a, b, exact, magnitude, judge = operands(dtype, m, n, k)
        start = np.random.default_rng(2).normal(size=(m, n)).astype(dtype)
        expected = start.copy()
        _kernels.gemm(expected, a, b, accumulate)
        if accumulate:
            assert_product(expected, exact + start, magnitude + np.abs(start), k, judge * 2)
        else:
            assert_product(expected, exact, magnitude, k, judge)
        for i, a_layout in enumerate(LAYOUTS.values()):
            for j, b_layout in enumerate(LAYOUTS.values()):
                c = guarded((m, n), dtype, offset=(i + 3 * j) % 17, strides=LAYOUTS[c_layout](m, n))
                c[...] = start if accumulate else np.nan
                left, right = spread(a, *a_layout(m, k), offset=i), spread(b, *b_layout(k, n), offset=j)
                left.flags.writeable = right.flags.writeable = False
                _kernels.gemm(c, left, right, accumulate)
                assert_same_bits(c, expected)


@pytest.mark.parametrize("pack", [False, True], ids=["in place", "packed"])
def test_broadcast_operands(isa, dtype, pack):
    """Strides of zero: the product of constants is known exactly."""
    k = 150 if pack else 7
    a, b = np.arange(6, dtype=dtype)[:, None], np.arange(300, dtype=dtype)
    b = np.broadcast_to(b, (k, 300)) if not pack else np.broadcast_to(b[:, None], (300, k)).T
    got = fastnn.matmul(np.broadcast_to(a, (6, k)), b)
    np.testing.assert_array_equal(got, k * a * np.arange(300, dtype=dtype))
    ones = np.broadcast_to(dtype.type(1), (k, k))
    np.testing.assert_array_equal(fastnn.matmul(ones, ones), np.full((k, k), k, dtype))


@pytest.mark.parametrize("shape", [(2, 3, 1), (2, 3, 2), (3, 2, 40), (2, 2, 300)], ids=shape_id)
@pytest.mark.parametrize("accumulate", [False, True], ids=["set", "accumulate"])
def test_each_element_is_one_chain_of_fused_multiply_adds(isa, dtype, shape, accumulate):
    """To the last bit, in order from zero or from C, also across blocks of k: law 1."""
    m, n, k = shape
    a, b, *_ = operands(dtype, m, n, k)
    c = np.random.default_rng(3).normal(size=(m, n)).astype(dtype)
    expected = c.copy() if accumulate else np.zeros_like(c)
    for i in range(m):
        for j in range(n):
            for p in range(k):
                expected[i, j] = reference.fma(a[i, p], b[p, j], expected[i, j])
    _kernels.gemm(c, a, b, accumulate)
    np.testing.assert_array_equal(c, expected)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(5, 3, 4), (13, 37, 11), (9, 70, 300), (200, 5, 9)], ids=shape_id)
def test_nan_and_infinity_reach_what_they_should(isa, dtype, shape, special):
    """One in A spoils its row, one in B its column, and no more; infinities get the right sign."""
    m, n, k = shape
    a, b, *_ = operands(dtype, m, n, k)
    clean = fastnn.matmul(a, b)
    for i, p in {(0, 0), (m - 1, k - 1), (m // 2, k // 3)}:
        spoilt = a.copy()
        spoilt[i, p] = special
        got = fastnn.matmul(spoilt, b)
        np.testing.assert_array_equal(got[i], np.full(n, special, dtype) * b[p])
        np.testing.assert_array_equal(np.delete(got, i, axis=0), np.delete(clean, i, axis=0))
    for p, j in {(0, 0), (k - 1, n - 1), (k // 3, n // 2)}:
        spoilt = b.copy()
        spoilt[p, j] = special
        for layout in "CF":
            got = fastnn.matmul(a, np.array(spoilt, order=layout))
            np.testing.assert_array_equal(got[:, j], a[:, p] * np.full(m, special, dtype))
            np.testing.assert_array_equal(np.delete(got, j, axis=1), np.delete(clean, j, axis=1))


def test_zero_times_infinity_is_nan_without_a_warning(isa, dtype):
    with np.errstate(all="raise"):
        got = fastnn.matmul(np.zeros((2, 3), dtype), np.full((3, 4), np.inf, dtype))
        largest = np.full((2, 2), np.finfo(dtype).max, dtype)
        overflowed = fastnn.matmul(largest, largest)
    assert np.isnan(got).all()
    assert np.isposinf(overflowed).all()


@pytest.mark.parametrize("shape", [(2, 3), (0, 5), (9, 40)], ids=shape_id)
def test_no_terms_make_zero(isa, dtype, shape):
    c = np.full(shape, np.nan, dtype)
    a, b = np.zeros((shape[0], 0), dtype), np.zeros((0, shape[1]), dtype)
    _kernels.gemm(c, a, b)
    assert (c == 0).all()
    for order in "CF":
        got = fastnn.matmul(np.array(a, order=order), np.array(b, order=order))
        assert got.shape == shape
        assert (got == 0).all()
    c = np.full(shape, 7, dtype)
    _kernels.gemm(c, a, b, True)
    assert (c == 7).all()


def test_a_row_does_not_depend_on_the_rows_around(isa, dtype):
    a, b, *_ = operands(dtype, 101, 521, 259)
    whole = fastnn.matmul(a, b)
    for rows in ([0], [100], [5, 50], range(13), range(90, 101)):
        np.testing.assert_array_equal(fastnn.matmul(a[list(rows)], b), whole[list(rows)])
    for columns in ([0], [520], range(300, 521), range(0, 521, 7)):
        np.testing.assert_array_equal(fastnn.matmul(a, b[:, list(columns)]), whole[:, list(columns)])


@pytest.mark.parametrize("n_threads", [2, 3, 5])
@pytest.mark.parametrize("accumulate", [False, True], ids=["set", "accumulate"])
def test_threads_leave_the_bits(isa, dtype, n_threads, accumulate, guarded):
    """Pieces of rows or of columns: 32 of them or a multiple, the last one of fewer, and more threads than pieces."""
    for m, n, k in ((1, 1, 5000), (33, 31, 9), (31, 33, 9), (1, 700, 40), (700, 1, 40), (385, 70, 37), (70, 641, 131)):
        a, b, *_ = operands(dtype, m, n, k)
        start = np.random.default_rng(7).normal(size=(m, n)).astype(dtype)
        expected = start.copy()
        _kernels.gemm(expected, a, b, accumulate)
        for i, layout in enumerate(LAYOUTS.values()):
            c = guarded((m, n), dtype, offset=i, strides=layout(m, n))
            c[...] = start if accumulate else np.nan
            left, right = spread(a, *layout(m, k), offset=i), spread(b, *layout(k, n), offset=2 * i)
            _kernels.gemm(c, left, right, accumulate, 1, n_threads)
            np.testing.assert_array_equal(c, expected)


def test_repeats_accumulate(isa, dtype):
    """The benchmark's loop inside of gemm is the same as calling it so often."""
    a, b, *_ = operands(dtype, 3, 5, 127)
    c = np.zeros((3, 5), dtype)
    expected = c.copy()
    _kernels.gemm(c, a, b, True, 3)
    for _ in range(3):
        _kernels.gemm(expected, a, b, True)
    np.testing.assert_array_equal(c, expected)


@pytest.mark.parametrize(
    "shapes", [((2, 3), (2, 4), (3, 4)), ((2, 4), (2, 3), (4, 4)), ((3, 4), (2, 3), (3, 4)), ((2, 5), (2, 3), (3, 4))]
)
def test_the_kernel_refuses_shapes_that_do_not_fit(shapes):
    c, a, b = (np.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match="gemm: the shapes"):
        _kernels.gemm(c, a, b)


@pytest.mark.parametrize("n_threads", [0, -1])
def test_the_kernel_needs_a_thread(n_threads):
    c, a = np.zeros((3, 3)), np.ones((3, 3))
    with pytest.raises(ValueError, match=f"gemm: n_threads must be at least 1; got {n_threads}"):
        _kernels.gemm(c, a, a, False, 1, n_threads)


class TestMatmul:
    """What the public function accepts and returns."""

    @pytest.mark.parametrize(
        ("a", "b"),
        [
            ((3, 4), (4, 5)),
            ((4,), (4, 5)),
            ((3, 4), (4,)),
            ((4,), (4,)),
            ((1, 0), (0, 1)),
            ((0,), (0, 3)),
            ((0,), (0,)),
        ],
        ids=str,
    )
    def test_shapes_are_numpys(self, dtype, a, b):
        rng = np.random.default_rng(4)
        a, b = rng.normal(size=a).astype(dtype), rng.normal(size=b).astype(dtype)
        got, expected = fastnn.matmul(a, b), np.matmul(a, b)
        assert (got.shape, got.dtype) == (expected.shape, dtype)
        # at most 4 terms of normal deviates, each sum below 100
        np.testing.assert_allclose(got, expected, rtol=0, atol=400 * np.finfo(dtype).eps)
        out = np.empty(expected.shape, dtype)
        assert fastnn.matmul(a, b, out=out) is out
        np.testing.assert_array_equal(out, got)

    def test_a_scalar_result_is_a_scalar(self, dtype):
        got = fastnn.matmul(np.ones(3, dtype), np.ones(3, dtype))
        assert isinstance(got, dtype.type)
        assert got == 3

    @pytest.mark.parametrize(
        ("a", "b", "dtype"),
        [
            (np.float32, np.float32, np.float32),
            (np.float16, np.float32, np.float32),
            (np.float16, np.float16, np.float32),
            (np.float32, np.float64, np.float64),
            (np.float64, np.float32, np.float64),
            (np.int8, np.float32, np.float64),
            (np.int64, np.int64, np.float64),
            (bool, np.uint8, np.float64),
        ],
    )
    def test_result_type(self, a, b, dtype):
        left, right = np.array([[1, 2], [0, 1]]).astype(a), np.array([[3, 1], [1, 2]]).astype(b)
        got = fastnn.matmul(left, right)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, left.astype(dtype) @ right.astype(dtype))

    def test_lists(self):
        np.testing.assert_array_equal(fastnn.matmul([[1, 2], [3, 4]], [1, 1]), [3.0, 7.0])

    @pytest.mark.parametrize("given", ["byte-swapped", "misaligned", "field of a record"])
    def test_operands_that_must_be_copied(self, dtype, given):
        a, b, *_ = operands(dtype, 13, 37, 11)
        raw = np.zeros(b.nbytes + 1, np.uint8)
        odd = {
            "byte-swapped": b.astype(dtype.newbyteorder()),
            "misaligned": raw[1:].view(dtype).reshape(b.shape),
            # five bytes from one element to the next, or nine: no whole number of elements
            "field of a record": np.zeros(b.shape, [("value", dtype), ("flag", "i1")])["value"],
        }[given]
        odd[...] = b
        np.testing.assert_array_equal(fastnn.matmul(a, odd), fastnn.matmul(a, b))
        np.testing.assert_array_equal(fastnn.matmul(odd.T, a.T), fastnn.matmul(b.T, a.T))
        out = np.zeros((13, 37), [("value", dtype), ("flag", "i1")])
        fastnn.matmul(a, b, out=out["value"])
        np.testing.assert_array_equal(out["value"], fastnn.matmul(a, b))
        assert (out["flag"] == 0).all()

    @pytest.mark.parametrize("n_threads", [None, 1, 2, 7])
    def test_large_products_ask_for_threads(self, dtype, n_threads, monkeypatch):
        """And give the bits of one thread; n_threads is asked instead of the system."""
        asked = []
        monkeypatch.setattr(threads, "available_threads", lambda: asked.append(True) or 3)
        a, b, *_ = operands(dtype, 263, 257, 251)
        small = fastnn.matmul(a[:, :200], b[:200], n_threads=n_threads)
        assert not asked
        np.testing.assert_array_equal(small, fastnn.matmul(a[:, :200], b[:200], n_threads=1))
        got = fastnn.matmul(a, b, n_threads=n_threads)
        assert len(asked) == (n_threads is None)
        np.testing.assert_array_equal(got, fastnn.matmul(a, b, n_threads=1))

    @pytest.mark.parametrize(
        ("n_threads", "error", "message"),
        [
            (0, ValueError, "n_threads must be at least 1; got 0"),
            (1.5, TypeError, "n_threads must be an integer; got 1.5"),
        ],
    )
    def test_n_threads_is_checked(self, dtype, n_threads, error, message):
        with pytest.raises(error, match=message):
            fastnn.matmul(np.ones((2, 2), dtype), np.ones((2, 2), dtype), n_threads=n_threads)

    def test_operands_are_left_alone(self, dtype):
        a, b, *_ = operands(dtype, 13, 37, 11)
        before = a.tobytes(), b.tobytes()
        a.flags.writeable = b.flags.writeable = False
        fastnn.matmul(a, b)
        assert (a.tobytes(), b.tobytes()) == before

    @pytest.mark.parametrize("which", ["a", "b", "a transposed", "shifted", "both"])
    def test_out_may_overlap_an_operand(self, isa, dtype, which):
        n = 40
        memory = np.random.default_rng(5).normal(size=n * n + n).astype(dtype)
        a = memory[: n * n].reshape(n, n)
        b = a if which == "both" else np.random.default_rng(6).normal(size=(n, n)).astype(dtype)
        out = {"a": a, "b": b, "a transposed": a.T, "both": a, "shifted": memory[n:].reshape(n, n)}[which]
        expected = fastnn.matmul(a.copy(), b.copy())
        assert fastnn.matmul(a, b, out=out) is out
        np.testing.assert_array_equal(out, expected)

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_out_may_lie_anyhow(self, isa, dtype, layout, guarded):
        a, b, *_ = operands(dtype, 13, 37, 11)
        out = guarded((13, 37), dtype, offset=3, strides=LAYOUTS[layout](13, 37))
        assert fastnn.matmul(a, b, out=out) is out
        np.testing.assert_array_equal(out, fastnn.matmul(a, b))

    @pytest.mark.parametrize(
        ("out", "error", "message"),
        [
            (np.zeros((2, 4)), ValueError, r"out must have shape \(2, 3\); got \(2, 4\)"),
            (np.zeros(6), ValueError, r"out must have shape \(2, 3\); got \(6,\)"),
            (np.zeros((2, 3), np.float32), TypeError, "out must have dtype float64; got float32"),
            (np.broadcast_to(0.0, (2, 3)), ValueError, "out must be writeable"),
            ([[0.0] * 3] * 2, TypeError, "out must be a numpy.ndarray; got list"),
        ],
        ids=["wider", "1d", "float32", "read-only", "list"],
    )
    def test_out_is_checked(self, out, error, message):
        with pytest.raises(error, match=message):
            fastnn.matmul(np.ones((2, 2)), np.ones((2, 3)), out=out)
        assert not np.any(out)

    @pytest.mark.parametrize(
        ("a", "b", "error", "message"),
        [
            (
                [[1, 2]],
                [[1, 2]],
                ValueError,
                r"a's columns must be as many as b's rows; got shapes \(1, 2\) and \(1, 2\)",
            ),
            ([1, 2], [1, 2, 3], ValueError, r"a's columns .* got shapes \(2,\) and \(3,\)"),
            (3, [1], ValueError, r"a must have 1 or 2 dimensions; got shape \(\)"),
            ([1], 3, ValueError, r"b must have 1 or 2 dimensions; got shape \(\)"),
            (np.ones((1, 1, 1)), [1], ValueError, r"a must have 1 or 2 dimensions; got shape \(1, 1, 1\)"),
            ([[1]], np.ones((1, 1, 1)), ValueError, r"b must have 1 or 2 dimensions; got shape \(1, 1, 1\)"),
            ([[1j]], [[1]], TypeError, "^a must hold real numbers"),
            ([[1]], [["x"]], TypeError, "^b must hold real numbers"),
            ([[1], [1, 2]], [[1]], ValueError, "^a is not a rectangular array"),
        ],
        ids=["inner", "vectors", "0d a", "0d b", "3d a", "3d b", "complex", "str", "ragged"],
    )
    def test_operands_are_checked(self, a, b, error, message):
        with pytest.raises(error, match=message):
            fastnn.matmul(a, b)
