"""The sum of squared errors."""

import numpy as np
import pytest
import reference

from fastnn import _kernels

# around every number of lanes of a 64-byte vector, and around its chunks of 1024 elements
SIZES = [
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    15,
    16,
    17,
    24,
    31,
    32,
    33,
    63,
    65,
    127,
    509,
    1023,
    1024,
    1025,
    1031,
    2047,
    2049,
    10_007,
]


def pair(n, dtype):
    rng = np.random.default_rng(n)
    return rng.random(n).astype(dtype), rng.normal(size=n).astype(dtype)


def exact_sum(output, y):
    """The loss in a longer type."""
    longer = np.float64 if output.dtype == np.float32 else np.longdouble
    return reference.sum_squared_error(y.astype(longer)[:, None], output.astype(longer)[:, None])


def bound(n, dtype):
    """Bound the relative error: all terms are positive, so each rounding counts at most once for each sum it is in.

    A difference is rounded once, which its square doubles. A lane of 64 bytes is a chain over at most 1024 elements;
    then the lanes are added by halving, and the chunks in double.
    """
    lanes = 64 // dtype.itemsize
    roundings = 2 + min(n, 1024) / lanes + 1 + np.log2(lanes)
    return roundings * np.finfo(dtype).eps / 2 + (n / 1024 + 1) * np.finfo(np.float64).eps / 2


@pytest.mark.parametrize("n", SIZES)
def test_sum_squared_error(isa, dtype, n):
    output, y = pair(n, dtype)
    got, exact = _kernels.sum_squared_error(output, y), exact_sum(output, y)
    assert isinstance(got, float)
    assert abs(got - exact) <= 1.01 * bound(n, dtype) * exact


@pytest.mark.parametrize("n", [1, 7, 16, 33, 1025, 3001])
def test_every_element_counts_once(isa, dtype, n):
    """Small whole numbers add without rounding, so a lost, doubled or misplaced element shows in any place."""
    output, y = np.zeros(n, dtype), np.arange(n, dtype=dtype) % 13
    assert _kernels.sum_squared_error(output, y) == np.sum(y.astype(np.float64) ** 2)
    for i in {0, 1, n // 2, n - 1} - {n}:
        changed = y.copy()
        changed[i] += 20
        added = _kernels.sum_squared_error(output, changed) - _kernels.sum_squared_error(output, y)
        assert added == (float(y[i]) + 20) ** 2 - float(y[i]) ** 2


def test_no_elements(isa, dtype):
    empty = np.empty(0, dtype)
    assert _kernels.sum_squared_error(empty, empty) == 0


def test_alignment_and_read_only(isa, dtype, guarded):
    """The same bits wherever the operands lie; NaN all around them is never read."""
    for n in (1, 5, 33, 1100):
        output, y = pair(n, dtype)
        expected = _kernels.sum_squared_error(output, y)
        for offset in range(17):
            a, b = (
                guarded(n, dtype, offset, values=output).view(),
                guarded(n, dtype, (5 * offset) % 17, values=y).view(),
            )
            a.flags.writeable = b.flags.writeable = False
            assert _kernels.sum_squared_error(a, b) == expected


@pytest.mark.parametrize("n", [5, 64, 1030])
def test_nan_and_infinity(isa, dtype, n):
    for i in {0, n // 2, n - 1}:
        for special, expected in ((np.nan, np.nan), (np.inf, np.inf), (-np.inf, np.inf)):
            output, y = pair(n, dtype)
            output[i] = special
            with np.errstate(all="raise"):
                np.testing.assert_equal(_kernels.sum_squared_error(output, y), expected)
            np.testing.assert_equal(_kernels.sum_squared_error(y, output), expected)


def test_a_long_float32_sum_keeps_its_accuracy(isa):
    """A plain float32 sum of 20 million equal terms stops at 2^24 of them."""
    n = 20_000_000
    assert _kernels.sum_squared_error(np.zeros(n, np.float32), np.ones(n, np.float32)) == n


def test_lengths_must_agree():
    with pytest.raises(ValueError, match=r"y must be as long as output \(3\); got 2"):
        _kernels.sum_squared_error(np.zeros(3), np.zeros(2))
