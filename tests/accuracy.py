"""How tests measure an error and compare bits, and the inputs and sizes that those of elementwise functions share."""

import numpy as np

# 0, 1, 2, around one to several vectors of 4, 8 and 16 lanes, odd primes
SIZES = [
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    11,
    12,
    13,
    15,
    16,
    17,
    23,
    24,
    25,
    31,
    32,
    33,
    47,
    48,
    49,
    63,
    64,
    65,
    127,
    129,
    1009,
]
MISALIGNMENTS = range(17)  # in elements, up to one more than the widest vector has


def assert_same_bits(got, expected):
    """Assert one dtype, one shape and the same bits, in a fraction of the time of assert_array_equal."""
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    if got.tobytes() != expected.tobytes():
        np.testing.assert_array_equal(got, expected)
        raise AssertionError("the arrays differ in the sign of a zero or the bits of a NaN")


def ulp(exact, dtype):
    """Return the unit in the last place of `dtype` at a number of a longer type; at least the smallest subnormal."""
    info = np.finfo(dtype)
    exponent = np.frexp(exact)[1] - 1
    return np.ldexp(exact.dtype.type(1), np.clip(exponent, info.minexp, info.maxexp - 1) - info.nmant)


def errors(got, exact):
    """Return the error of each result in ULP. Infinity counts as the number that follows the largest finite one."""
    wide = exact.dtype.type
    beyond = np.ldexp(wide(1), np.finfo(got.dtype).maxexp)
    measured = np.where(np.isposinf(got), beyond, got.astype(wide))
    return np.abs(measured - np.minimum(exact, beyond)) / ulp(np.minimum(exact, beyond), got.dtype)


def neighbours(points, dtype, reach):
    """Return points and the `reach` numbers of dtype on either side of each."""
    bits = np.asarray(points, dtype).view(f"i{np.dtype(dtype).itemsize}")
    return (bits[:, None] + np.arange(-reach, reach + 1, dtype=bits.dtype)).reshape(-1).view(dtype)


def report(capsys, text):
    """Show a measured figure even in a run where all is well."""
    with capsys.disabled():
        print(f"\n    {text}", end=" ")


def float32_of_bits(first, stop, step):
    return np.arange(first, stop, step, dtype=np.uint64).astype(np.uint32).view(np.float32)
