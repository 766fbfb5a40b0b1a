"""exp, sigmoid and sigmoid_derivative: accuracy over all inputs, every length and alignment, the `out` argument."""

from functools import cache

import mpmath
import numpy as np
import pytest
import reference
from accuracy import MISALIGNMENTS, SIZES, errors, float32_of_bits, neighbours, report, ulp

import fastnn
from fastnn import _kernels

# The bounds that src_c/kernels/exp.h claims, in units in the last place of the exact result. Extended precision, which
# judges float64, is itself wrong by less than 2^-10 ULP of it.
BOUND = {
    "exp": {"float32": 1.25, "float64": 1.25},
    "sigmoid": {"float32": 1.5, "float64": 1.75},
}
KERNEL = {"exp": _kernels.exp, "sigmoid": fastnn.sigmoid}
REFERENCE = {"exp": np.exp, "sigmoid": reference.sigmoid}

HAS_EXTENDED = np.finfo(np.longdouble).nmant >= 63
needs_extended = pytest.mark.skipif(not HAS_EXTENDED, reason="long double is no longer than double here")

functions = pytest.mark.parametrize("function", ["exp", "sigmoid"])
maps = pytest.mark.parametrize("kernel", [_kernels.exp, fastnn.sigmoid, fastnn.sigmoid_derivative])


def hard_inputs(dtype, reach):
    """Return the inputs where an exponential goes wrong, if it does.

    They are around 0, around the multiples of ln(2)/2 where the reduction changes sides, where the result overflows,
    underflows or is subnormal, and the largest and smallest numbers.
    """
    info = np.finfo(dtype)
    half_ln2 = np.log(np.longdouble(2)) / 2
    least, most = np.log(np.longdouble(info.smallest_subnormal)), np.log(np.longdouble(info.max))
    multiples = half_ln2 * np.arange(int((least - 2) / half_ln2), int((most + 2) / half_ln2))
    edges = [least, least - half_ln2, most, np.log(np.longdouble(info.tiny)), -most, -least]
    scales = np.ldexp(dtype.type(1), np.arange(info.minexp - info.nmant, info.maxexp))
    points = np.concatenate([multiples[multiples != 0], edges, [info.max, info.tiny]]).astype(dtype)
    some = np.concatenate(
        [neighbours(points, dtype, reach), neighbours(edges, dtype, 100 * reach), scales, dtype.type([0])]
    )
    some = some[np.isfinite(some)]
    return np.concatenate([some, -some])


@cache
def double_inputs():
    """Return the inputs for float64: the hard ones, random bit patterns, and even covers of what does not saturate."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 2**64, 600_000, np.uint64).view(np.float64)
    return np.concatenate(
        [
            hard_inputs(np.dtype(np.float64), reach=20),
            patterns[np.isfinite(patterns)],
            rng.uniform(-750, 712, 600_000),
            # every exponent of the result, with all remainders of the reduction
            rng.integers(-1075, 1024, 600_000) * np.log(2) + rng.uniform(-0.35, 0.35, 600_000),
            rng.uniform(-746, -707, 200_000),  # subnormal results
            rng.uniform(-40, 40, 600_000),
            rng.uniform(-1, 1, 200_000),
            rng.normal(size=200_000) * np.exp2(rng.uniform(-60, 0, 200_000)),
        ]
    )


def extended(function, x):
    """Return a function of float64 numbers in extended precision."""
    with np.errstate(over="ignore", under="ignore"):
        return REFERENCE[function](x.astype(np.longdouble))


def check_bound(capsys, function, x, got, exact):
    """Assert the bound, and print the worst error and where it is."""
    assert not np.isnan(got).any()
    found = errors(got, exact)
    worst = found.argmax()
    report(
        capsys,
        f"{function} {got.dtype}: worst error {found[worst]:.4f} ULP, at {x[worst]!r}, of {len(x):,} inputs",
    )
    assert found[worst] <= BOUND[function][got.dtype.name]


@needs_extended
@functions
def test_float64_is_within_its_bound(from_all, function, capsys):
    x = double_inputs()
    check_bound(capsys, function, x, from_all(KERNEL[function], x), extended(function, x))


@functions
def test_float64_is_within_its_bound_of_mpmath(from_all, function, capsys):
    """Fewer inputs than above, but a judge that needs no long double."""
    x, exact = multiprecision(function)
    got = from_all(KERNEL[function], x)
    unit = ulp(np.minimum(exact, np.finfo(np.float64).max).astype(np.float64), np.float64)
    finite = np.isfinite(got)
    found = (
        np.array([abs(mpmath.mpf(float(g)) - e) for g, e in zip(got[finite], exact[finite], strict=True)])
        / unit[finite]
    )
    report(
        capsys,
        f"{function} float64: worst error {float(found.max()):.4f} ULP against mpmath, of {len(x):,} inputs",
    )
    assert found.max() <= BOUND[function]["float64"]
    # Infinite only where the exact value lies more than half a unit above the largest number, a whole one by the bound.
    assert all(e > np.finfo(np.float64).max for e in exact[~finite])


@needs_extended
@functions
def test_extended_precision_agrees_with_mpmath(function):
    """The judge of the first test is itself within 2^-10 ULP of float64."""
    x, exact = multiprecision(function)
    with np.errstate(over="ignore", under="ignore"):
        found = REFERENCE[function](x.astype(np.longdouble))
    unit = ulp(found, np.float64)
    with mpmath.workdps(50):
        for value, e, u in zip(found, exact, unit, strict=True):
            mantissa, exponent = np.frexp(value)
            value = mpmath.ldexp(mpmath.mpf(int(np.ldexp(mantissa, 64))), int(exponent) - 64)
            assert abs(value - e) <= mpmath.mpf(str(u)) / 1024


@cache
def multiprecision(function):
    """Return a sample of inputs that e^x does not overflow by far, with the exact values to 50 digits."""
    hard = hard_inputs(np.dtype(np.float64), reach=1)
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.choice(hard, 1500), rng.uniform(-745, 709.7, 1000), rng.uniform(-40, 40, 500)])
    x = x[(x > -800) & (x < 709.79)]
    with mpmath.workdps(50):
        e = [mpmath.exp(mpmath.mpf(float(v))) for v in x]
        return x, np.array(e if function == "exp" else [v / (1 + v) for v in e])


def in_float64(function, x):
    """Return a function of float32 numbers in float64, whose own error is 2^-29 of their ULP."""
    with np.errstate(over="ignore", under="ignore"):
        return REFERENCE[function](x.astype(np.float64))


@functions
def test_float32_is_within_its_bound(from_all, function, capsys):
    """Every 769th bit pattern, and the hard inputs; 769 is odd, so all low bits occur with all exponents.

    The last are the worst that exhaustive runs have found for some version of the kernels.
    """
    worst = neighbours([-5.8727083, -59.952705, -5.542961, 4.509424], np.float32, 10)
    x = np.concatenate([float32_of_bits(0, 2**32, 769), hard_inputs(np.dtype(np.float32), reach=100), worst])
    x = x[np.isfinite(x)]
    check_bound(capsys, function, x, from_all(KERNEL[function], x), in_float64(function, x))


@pytest.mark.slow
@functions
def test_float32_is_within_its_bound_for_all_inputs(function, capsys):
    """All 2^32 bit patterns: the bound for one instruction set, equality for the others."""
    before = fastnn.isa()
    worst, at, chunk = 0.0, 0.0, 2**23
    try:
        for first in range(0, 2**32, chunk):
            x = float32_of_bits(first, first + chunk, 1)
            got = KERNEL[function](x)
            for name in fastnn.available_isas():
                _kernels.select(name)
                np.testing.assert_array_equal(KERNEL[function](x), got)
            x, got, nan = x[~np.isnan(x)], got[~np.isnan(x)], got[np.isnan(x)]
            assert np.isnan(nan).all()
            finite = np.isfinite(x)
            assert (got[~finite] == REFERENCE[function](x[~finite])).all()
            if finite.any():
                found = errors(got[finite], in_float64(function, x[finite]))
                if found.max() > worst:
                    worst, at = found.max(), x[finite][found.argmax()]
    finally:
        _kernels.select(before)
    report(capsys, f"{function} float32: worst error {worst:.4f} ULP, at {at!r}, of all 2^32 inputs")
    assert worst <= BOUND[function]["float32"]


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (_kernels.exp, [0, np.inf, np.nan, 1, 1, np.inf, 0]),
        (fastnn.sigmoid, [0, 1, np.nan, 0.5, 0.5, 1, 0]),
        (fastnn.sigmoid_derivative, [-np.inf, -np.inf, np.nan, 0, 0, -np.inf, -np.inf]),
    ],
)
@pytest.mark.parametrize("length", [7, 7 * 16])  # one partial vector, and whole vectors of special values
def test_special_values(isa, dtype, kernel, expected, length):
    largest = np.finfo(dtype).max
    x = np.resize(np.array([-np.inf, np.inf, np.nan, 0.0, -0.0, largest, -largest], dtype), length)
    with np.errstate(all="raise"):
        got = kernel(x)
    np.testing.assert_array_equal(got, np.resize(np.array(expected, dtype), length))


@pytest.mark.parametrize("kernel", [_kernels.exp, fastnn.sigmoid])
def test_nan_keeps_to_its_lane(isa, dtype, kernel):
    """A NaN or infinity changes no other element, wherever in a vector it stands."""
    x = np.linspace(-3, 3, 37).astype(dtype)
    expected = kernel(x)
    for i in range(len(x)):
        for special in (np.nan, np.inf, -np.inf):
            changed = x.copy()
            changed[i] = special
            got = kernel(changed)
            assert (np.delete(got, i) == np.delete(expected, i)).all()
            assert np.isnan(got[i]) == np.isnan(special)


@pytest.mark.parametrize(("function", "sign"), [("exp", 1), ("sigmoid", 1), ("sigmoid", -1)])
def test_results_rise_near_zero_and_saturate_right(isa, dtype, function, sign):
    """Far out the results are the limits themselves, and subnormal on the way there."""
    x = sign * np.linspace(-800, 800, 1601).astype(dtype)
    got = KERNEL[function](x)[::sign]
    assert (np.diff(got[np.isfinite(got)]) >= 0).all()
    tiny = np.finfo(dtype).tiny
    assert ((got > 0) & (got < tiny)).any()
    assert got[0] == 0


def test_sigmoid_of_minus_x_is_one_minus_sigmoid(isa, dtype):
    """Both lie within 1.75 ULP of values that add to 1; together they err by less than 2 units of 1."""
    x = np.random.default_rng(3).normal(size=1001).astype(dtype) * 5
    np.testing.assert_allclose(fastnn.sigmoid(x) + fastnn.sigmoid(-x), 1, rtol=0, atol=2 * np.finfo(dtype).eps)


def test_sigmoid_derivative_is_numpys_to_the_last_bit(isa, dtype):
    """Two roundings, the same two in NumPy: nothing is contracted."""
    patterns = np.random.default_rng(4).integers(0, 2**63, 100_003, np.int64)
    a = patterns.view(dtype)
    a = np.concatenate([a[np.isfinite(a)], np.random.default_rng(5).random(10_007).astype(dtype)])
    with np.errstate(over="ignore", under="ignore"):
        expected = reference.sigmoid_derivative(a)
    got = fastnn.sigmoid_derivative(a)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, expected)


@maps
def test_every_length_and_alignment(isa, dtype, kernel, guarded):
    """Each element has the bits that it has alone, and nothing outside of `out` is written."""
    values = np.random.default_rng(6).normal(size=max(SIZES)).astype(dtype) * 4
    alone = np.array([kernel(values[i : i + 1])[0] for i in range(len(values))])
    for n in SIZES:
        for offset in MISALIGNMENTS:
            x = guarded(n, dtype, offset, values=values[:n])
            out = guarded(n, dtype, (3 * offset + 1) % 17)
            assert kernel(x, out=out) is out
            np.testing.assert_array_equal(out, alone[:n])
            np.testing.assert_array_equal(x, values[:n])


@maps
def test_no_warnings(isa, dtype, kernel):
    """Overflow, underflow and invalid operations inside a kernel are nobody's business outside of it."""
    x = hard_inputs(dtype, reach=2)
    x = np.concatenate([x, [np.nan, np.inf, -np.inf]]).astype(dtype)
    with np.errstate(all="raise"):
        kernel(x)


@maps
@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda x: x.reshape(6, 4, 5), id="3d"),
        pytest.param(lambda x: x.reshape(12, 10).T, id="transposed"),
        pytest.param(lambda x: x[::3], id="strided"),
        pytest.param(lambda x: x[::-1], id="reversed"),
        pytest.param(lambda x: np.broadcast_to(x[:5], (4, 5)), id="broadcast"),
        pytest.param(lambda x: x.reshape(2, 60)[:, :0], id="empty"),
        pytest.param(lambda x: x.astype(x.dtype.newbyteorder()), id="byte-swapped"),
        pytest.param(lambda x: misaligned(x), id="misaligned bytes"),
        pytest.param(lambda x: read_only(x), id="read-only"),
        pytest.param(lambda x: x[7], id="scalar"),
        pytest.param(lambda x: x[7:8].reshape(()), id="0d"),
    ],
)
def test_any_layout(dtype, kernel, view):
    x = np.random.default_rng(7).normal(size=120).astype(dtype)
    given = view(x)
    got = kernel(given)
    assert got.dtype == dtype
    assert got.shape == np.shape(given)
    np.testing.assert_array_equal(got, kernel(np.array(given, dtype, order="C", ndmin=1)).reshape(got.shape))


def misaligned(x):
    """Copy x to an address that is no multiple of its item size."""
    raw = np.zeros(x.nbytes + 1, np.uint8)
    view = raw[1:].view(x.dtype)
    view[...] = x
    assert not view.flags.aligned
    return view


def read_only(x):
    view = x.view()
    view.flags.writeable = False
    return view


@maps
@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        ([0, 1, -2], "float64"),
        ([[True, False]], "float64"),
        (3, "float64"),
        (np.array([1, 2], np.int8), "float64"),
        (np.array([0.5, 2], np.float16), "float32"),
        ([0.5, np.float32(0.25)], "float64"),
        (np.array([0.5, 2], object), "float64"),
    ],
    ids=["ints", "bools", "int", "int8", "float16", "list", "object"],
)
def test_result_type(kernel, given, dtype):
    got = kernel(given)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, kernel(np.array(given, dtype).reshape(-1)).reshape(got.shape))


@maps
class TestOut:
    """The `out` argument of the elementwise functions."""

    def test_is_returned_and_filled(self, dtype, kernel):
        x = np.linspace(-2, 2, 33).astype(dtype).reshape(3, 11)
        out = np.full_like(x, np.nan)
        assert kernel(x, out) is out
        np.testing.assert_array_equal(out, kernel(x))

    def test_may_be_the_input(self, isa, dtype, kernel):
        x = np.linspace(-2, 2, 33).astype(dtype)
        expected = kernel(x)
        assert kernel(x, out=x) is x
        np.testing.assert_array_equal(x, expected)

    @pytest.mark.parametrize("shift", [-17, -8, -1, 1, 3, 16])
    def test_may_overlap_the_input(self, isa, dtype, kernel, shift):
        memory = np.linspace(-2, 2, 100).astype(dtype)
        x, out = memory[20:80], memory[20 + shift : 80 + shift]
        expected = kernel(x.copy())
        kernel(x, out=out)
        np.testing.assert_array_equal(out, expected)

    @pytest.mark.parametrize("given", ["transposed", "strided", "reversed", "misaligned", "reversed input"])
    def test_may_lie_anyhow(self, dtype, kernel, given):
        x = np.linspace(-2, 2, 36).astype(dtype).reshape(6, 6)
        expected = kernel(x)
        out = {
            "transposed": lambda: np.full((6, 6), np.nan, dtype).T,
            "strided": lambda: np.full((12, 18), np.nan, dtype)[::2, ::3],
            "reversed": lambda: np.full((6, 6), np.nan, dtype)[::-1],
            "misaligned": lambda: misaligned(np.full(36, np.nan, dtype)).reshape(6, 6),
            "reversed input": lambda: x[::-1],
        }[given]()
        assert kernel(x, out=out) is out
        np.testing.assert_array_equal(out, expected)

    @pytest.mark.parametrize(
        ("out", "error", "message"),
        [
            (np.empty(4), ValueError, r"out must have shape \(3,\); got \(4,\)"),
            (np.empty((3, 1)), ValueError, r"out must have shape \(3,\); got \(3, 1\)"),
            (np.empty(3, np.float32), TypeError, "out must have dtype float64; got float32"),
            (np.empty(3, int), TypeError, "out must have dtype float64; got int"),
            (np.empty(3, np.dtype(float).newbyteorder()), TypeError, "out must have dtype float64; got [<>]f8"),
            ([0.0] * 3, TypeError, "out must be a numpy.ndarray; got list"),
            (read_only(np.zeros(3)), ValueError, "out must be writeable"),
        ],
        ids=["longer", "2d", "float32", "int", "byte-swapped", "list", "read-only"],
    )
    def test_is_checked(self, kernel, out, error, message):
        before = np.array(out)
        with pytest.raises(error, match=message):
            kernel(np.zeros(3), out=out)
        assert np.array(out).tobytes() == before.tobytes()


@pytest.mark.parametrize(
    ("kernel", "name"), [(_kernels.exp, "x"), (fastnn.sigmoid, "x"), (fastnn.sigmoid_derivative, "a")]
)
@pytest.mark.parametrize(
    ("given", "error"),
    [
        ([1j], TypeError),
        (["1"], TypeError),
        ([b"1"], TypeError),
        (None, TypeError),
        ([object()], TypeError),
        (np.array(["2020-01-01"], "M8[D]"), TypeError),
        (np.zeros(2, np.longdouble), TypeError),
        (np.array([1j], object), TypeError),
        (np.ma.masked_array([1.0, 2.0], [True, False]), TypeError),
        ([[1, 2], [3]], ValueError),
    ],
    ids=["complex", "str", "bytes", "None", "object", "datetime", "longdouble", "complex object", "masked", "ragged"],
)
def test_what_is_no_real_number_is_refused(kernel, name, given, error):
    with pytest.raises(error, match=rf"^{name} "):
        kernel(given)


@maps
def test_long_arrays(dtype, kernel):
    """Longer than what is done with the GIL held: the same bits."""
    x = np.random.default_rng(8).normal(size=70_001).astype(dtype)
    got = kernel(x)
    for part in (slice(0, 4096), slice(35_000, 39_000), slice(66_000, None)):
        np.testing.assert_array_equal(got[part], kernel(x[part]))
