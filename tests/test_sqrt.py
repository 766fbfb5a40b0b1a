"""The square root is IEEE 754's, which is NumPy's, to the last bit, however an instruction set finds it."""

from math import isqrt

import numpy as np
import pytest
from accuracy import float32_of_bits

import fastnn
from fastnn import _kernels

# How far from a middle the hard cases below reach, in units of a quarter of the square of the last place.
REACH = 1023


def square_roots_modulo(residue, exponent):
    """Return the odd m < 2^exponent with m^2 = residue, modulo 2^exponent, for a residue that is 1 modulo 8."""
    roots, known = [1, 3, 5, 7], 3
    while known < exponent:
        lifted = {root + step for root in roots for step in (0, 2 ** (known - 1), 2**known)}
        known += 1
        roots = [root for root in lifted if root < 2**known and (root * root - residue) % 2**known == 0]
    return roots


def hard_cases(dtype):
    """Return the numbers in [1, 4) whose roots are nearest to the middle of two numbers, where errors show.

    With p bits, a = A 2^(odd + 1 - p) and a middle M 2^-p, M odd, the root is j / (2 M) 2^-p from the middle if
    M^2 = A 2^(p + 1 + odd) + j. So M is a root of j modulo a power of two, and lifting finds all M with a small j.
    """
    precision = np.finfo(dtype).nmant + 1
    found = []
    for odd in (0, 1):
        exponent = precision + 1 + odd
        for j in range(1 - 8 * (REACH // 8), REACH, 8):
            for root in square_roots_modulo(j, exponent):
                for middle in range(root, isqrt(2 ** (precision + exponent)) + 2, 2**exponent):
                    a = (middle * middle - j) >> exponent
                    if 2 ** (precision - 1) <= a < 2**precision:
                        found.append(np.ldexp(dtype.type(a), odd + 1 - precision))
    return np.array(found)


def assert_right(x):
    """Assert that sqrt(x) is NumPy's, signs of zero and places of NaN included."""
    with np.errstate(invalid="ignore"):
        expected = np.sqrt(x)
    got = _kernels.sqrt(x)
    assert got.dtype == x.dtype
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.signbit(got)[~np.isnan(x)], np.signbit(expected)[~np.isnan(x)])


def test_the_hard_cases_are_the_closest_to_a_middle():
    """For a type small enough to look at every number: those within REACH are exactly the ones that lifting finds."""
    dtype = np.dtype(np.float32)
    numbers = np.arange(2**23, 2**24, dtype=np.int64)
    expected = []
    for odd in (0, 1):
        square = numbers << (25 + odd)
        middle = np.sqrt(square.astype(np.longdouble)).astype(np.int64)
        middle += 1 - middle % 2
        for near in (middle - 2, middle, middle + 2):
            close = np.abs(near * near - square) < REACH
            expected.append(np.ldexp(numbers[close].astype(np.float32), odd - 23))
    np.testing.assert_array_equal(np.unique(hard_cases(dtype)), np.unique(np.concatenate(expected)))


def test_hard_cases(isa, dtype):
    cases = hard_cases(dtype)
    assert len(cases) > 300
    info = np.finfo(dtype)
    for exponent in range(info.minexp - info.nmant + 60, info.maxexp - 2, 2):
        assert_right(np.ldexp(cases, exponent - exponent % 2))


def test_random_numbers_of_all_sizes(isa, dtype):
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    mantissas = rng.uniform(1, 4, 400_000).astype(dtype)
    assert_right(mantissas)
    assert_right(np.ldexp(mantissas, rng.integers(info.minexp, info.maxexp - 1, len(mantissas))))


def test_zeros_beside_numbers(isa, dtype):
    """Zero is common: the second moment of a weight that nothing has reached."""
    x = np.random.default_rng(0).uniform(0, 4, 10_007).astype(dtype)
    x[np.random.default_rng(1).random(len(x)) < 0.3] = 0
    x[5] = -0.0
    assert_right(x)


@pytest.mark.parametrize("special", ["tiny", "smallest_subnormal", "max", "inf", "-inf", "nan", "-1", "-tiny"])
def test_special_values_in_each_lane(isa, dtype, special):
    info = np.finfo(dtype)
    value = {"tiny": info.tiny, "smallest_subnormal": info.smallest_subnormal, "max": info.max, "-tiny": -info.tiny}
    for i in range(37):
        x = np.linspace(0.5, 3, 37).astype(dtype)
        x[i] = value.get(special) if special in value else float(special)
        assert_right(x)


def test_around_the_least_number_of_the_fast_way(isa, dtype):
    """Below it the remainder is subnormal."""
    least = {4: 2.0**-102, 8: 2.0**-968}[dtype.itemsize]
    steps = np.arange(-2000, 2000) * np.finfo(dtype).eps
    assert_right((least * (1 + steps)).astype(dtype))
    rng = np.random.default_rng(0)
    assert_right((least * rng.uniform(2.0**-24, 2, 100_000)).astype(dtype))


def test_every_769th_float32(isa):
    assert_right(float32_of_bits(0, 2**32, 769))


def test_float32_of_two_octaves(isa):
    """Every 17th of [1, 4): a power of four changes nothing but the exponent."""
    assert_right(float32_of_bits(0x3F800000, 0x40800000, 17))


@pytest.mark.slow
def test_all_float32():
    before = fastnn.isa()
    try:
        for name in fastnn.available_isas():
            _kernels.select(name)
            for first in range(0, 2**32, 2**23):
                assert_right(float32_of_bits(first, first + 2**23, 1))
    finally:
        _kernels.select(before)
