"""The activations: accuracy over all inputs, special values, derivatives, every length and alignment."""

from functools import cache

import mpmath
import numpy as np
import pytest
import reference
from accuracy import MISALIGNMENTS, SIZES, assert_same_bits, errors, float32_of_bits, neighbours, report, ulp

import fastnn
from fastnn import _kernels

NAMES = _kernels.ACTIVATIONS
WITH_SLOPE = ("gelu", "silu", "sin")
names = pytest.mark.parametrize("name", NAMES)


def forward(name, z):
    a = np.empty_like(z)
    _kernels.activation_forward(name, a, z)
    return a


def forward_with_slope(name, z):
    a, slope = np.empty_like(z), np.full_like(z, np.nan)
    _kernels.activation_forward(name, a, z, slope)
    return a, slope


def backward(name, delta, a, slope=None):
    delta = delta.copy()
    _kernels.activation_backward(name, delta, a, slope)
    return delta


def cos(z):
    return forward_with_slope("sin", z)[1]


KERNEL = {name: lambda z, name=name: forward(name, z) for name in NAMES} | {"log": _kernels.log, "cos": cos}
REFERENCE = {name: lambda z, name=name: reference.activation(name, z) for name in NAMES} | {
    "log": np.log,
    "cos": np.cos,
}

# The bounds that the headers in src_c/kernels claim, in units in the last place of the exact result. Those of exp and
# sigmoid are asserted in test_elementwise.py.
BOUND = {
    "tanh": {"float32": 2, "float64": 2.25},
    "elu": {"float32": 1.25, "float64": 1.25},
    "log": {"float32": 1, "float64": 1},
    "softplus": {"float32": 1.75, "float64": 1.75},
    "sin": {"float32": 1.75, "float64": 1.75},
    "cos": {"float32": 1.75, "float64": 1.75},
    "silu": {"float32": 4, "float64": 4},
    "gelu": {"float32": 5, "float64": 5},
}
functions = pytest.mark.parametrize("function", BOUND)

HAS_EXTENDED = np.finfo(np.longdouble).nmant >= 63
needs_extended = pytest.mark.skipif(not HAS_EXTENDED, reason="long double is no longer than double here")

with mpmath.workdps(50):
    SQRT_2, HALF_PI = mpmath.sqrt(2), mpmath.pi / 2
EXACT = {
    "tanh": mpmath.tanh,
    "elu": lambda z: z if z > 0 else mpmath.expm1(z),
    "log": mpmath.log,
    "softplus": lambda z: max(z, 0) + mpmath.log1p(mpmath.exp(-abs(z))),
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
    "gelu": lambda z: z * mpmath.erfc(-z / SQRT_2) / 2,
}


def multiples_of_half_pi(dtype, limit):
    """Return what lies nearest to multiples of pi/2 of all sizes below 2^limit: there sin or cos is nearly 0."""
    rng = np.random.default_rng(0)
    with mpmath.workprec(1200):
        half_pi = mpmath.pi / 2
        n = [*range(1, 400), *(int(mpmath.ldexp(mpmath.mpf(rng.uniform(1, 2)), k)) for k in range(8, limit - 1))]
        return np.array([float(half_pi * m) for m in n], np.float64).astype(dtype)


@cache
def hard_inputs(dtype):
    """Return inputs where something changes, on both sides of 0.

    They are around the multiples of ln(2)/4, at which a reduction for e^x or e^2x changes sides, around those of pi/2,
    around powers of 2, where an activation saturates or underflows, and around the limits of the reduction of angles.
    """
    info = np.finfo(dtype)
    quarter_ln2 = float(np.log(2) / 4) * np.arange(1, 4400)
    saturations = [9.01, 9.1, 14.2, 15, 17.33, 18, 19.06, 19.1, 36.7, 37.4, 38, 38.5, 39, 87.3, 103.97, 109, 708.4, 753]
    scales = np.ldexp(1.0, np.arange(info.minexp - info.nmant, info.maxexp))
    # The double, and the float, that are nearest of all to a multiple of pi/2
    nearest = [6381956970095103 * 2.0**797, 16367173 * 2.0**72]
    worst = [0.510959, 0.20076, 0.54184545346501223]  # that other runs have found for tanh
    points = [*worst, *quarter_ln2, *saturations, *scales, *nearest, 0.5, 0.75, 1.5, float(np.log(2)), float(info.max)]
    points = np.concatenate([points, multiples_of_half_pi(dtype, info.maxexp).astype(np.float64)])
    points = points[points <= info.max].astype(dtype)
    some = np.concatenate([neighbours(points[points > 0], dtype, reach=6), dtype.type([0])])
    some = some[np.isfinite(some)]
    return np.concatenate([some, -some])


def double_inputs(function):
    """Return the inputs for float64: the hard ones, random bit patterns, and even covers of what does not saturate."""
    rng = np.random.default_rng(1)
    patterns = rng.integers(0, 2**64, 300_000, np.uint64).view(np.float64)
    x = np.concatenate(
        [
            hard_inputs(np.dtype(np.float64)),
            patterns[np.isfinite(patterns)],
            rng.uniform(-760, 760, 200_000),
            rng.uniform(-40, 40, 300_000),
            rng.uniform(-3, 3, 600_000),
            rng.normal(size=300_000) * np.exp2(rng.uniform(-60, 60, 300_000)),
        ]
    )
    return np.abs(x[x != 0]) if function == "log" else x


def float_inputs(function, step):
    x = np.concatenate([float32_of_bits(0, 2**32, step), hard_inputs(np.dtype(np.float32))])
    x = x[np.isfinite(x)]
    return np.abs(x[x != 0]) if function == "log" else x


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


def extended(function, x):
    """Return a function of float64 numbers in extended precision."""
    with np.errstate(all="ignore"):
        return REFERENCE[function](x.astype(np.longdouble))


@needs_extended
@pytest.mark.parametrize("function", [f for f in BOUND if f != "gelu"])
def test_float64_is_within_its_bound(from_all, function, capsys):
    x = double_inputs(function)
    check_bound(capsys, function, x, from_all(KERNEL[function], x), extended(function, x))


def multiprecision(function):
    """Return a sample of inputs for float64, with the exact values to 50 digits; sin and cos of huge ones need more."""
    rng = np.random.default_rng(2)
    hard = hard_inputs(np.dtype(np.float64))
    x = np.concatenate([rng.choice(hard, 700), rng.uniform(-40, 40, 1000), rng.normal(size=800)])
    x = np.abs(x[x != 0]) if function == "log" else x
    x = x[np.abs(x) < 760] if function == "silu" else x
    x = x[np.abs(x) < 40] if function == "gelu" else x
    with mpmath.workprec(1300 if function in ("sin", "cos") else 170):
        return x, np.array([EXACT[function](mpmath.mpf(float(v))) for v in x])


@functions
def test_float64_is_within_its_bound_of_mpmath(from_all, function, capsys):
    """Fewer inputs than above, but a judge that needs no long double and knows gelu."""
    x, exact = multiprecision(function)
    got = from_all(KERNEL[function], x)
    unit = ulp(exact.astype(np.float64), np.float64)
    with mpmath.workprec(170):
        found = [abs(mpmath.mpf(float(g)) - e) / u for g, e, u in zip(got, exact, unit, strict=True)]
    worst = np.argmax(found)
    report(
        capsys,
        f"{function} float64: worst error {float(found[worst]):.4f} ULP against mpmath, at {x[worst]!r}, "
        f"of {len(x):,} inputs",
    )
    assert found[worst] <= BOUND[function]["float64"]


def float_answers(function, step):
    """Return the inputs for float32 and the exact results, in float64."""
    x = float_inputs(function, step)
    with np.errstate(all="ignore"):
        return x, REFERENCE[function](x.astype(np.float64))


@functions
def test_float32_is_within_its_bound(from_all, function, capsys):
    """Every 1999th bit pattern, and the hard inputs; 1999 is odd, so all low bits occur with all exponents."""
    x, exact = float_answers(function, 1999)
    check_bound(capsys, function, x, from_all(KERNEL[function], x), exact)


@pytest.mark.slow
@functions
def test_float32_is_within_its_bound_for_all_inputs(function, capsys):
    """All 2^32 bit patterns: the bound for one instruction set, equality for the others."""
    before = fastnn.isa()
    worst, at, chunk = 0.0, 0.0, 2**23
    try:
        for first in range(0, 2**31 if function == "log" else 2**32, chunk):
            x = float32_of_bits(first, first + chunk, 1)
            got = KERNEL[function](x)
            for name in fastnn.available_isas():
                _kernels.select(name)
                np.testing.assert_array_equal(KERNEL[function](x), got)
            assert np.isnan(got[np.isnan(x)]).all()
            finite = np.isfinite(x) & (x != 0)
            x, got = x[finite], got[finite]
            assert not np.isnan(got).any()
            if len(x):
                with np.errstate(all="ignore"):
                    found = errors(got, REFERENCE[function](x.astype(np.float64)))
                if found.max() > worst:
                    worst, at = found.max(), x[found.argmax()]
    finally:
        _kernels.select(before)
    report(capsys, f"{function} float32: worst error {worst:.4f} ULP, at {at!r}, of all 2^32 inputs")
    assert worst <= BOUND[function]["float32"]


SPECIAL = [-np.inf, np.inf, np.nan, 0.0, -0.0]
VALUES = {  # at SPECIAL, the sign of zero included
    "identity": [-np.inf, np.inf, np.nan, 0.0, -0.0],
    "sigmoid": [0.0, 1, np.nan, 0.5, 0.5],
    "tanh": [-1, 1, np.nan, 0.0, -0.0],
    "relu": [0.0, np.inf, np.nan, 0.0, -0.0],
    "leaky_relu": [-np.inf, np.inf, np.nan, 0.0, -0.0],
    "elu": [-1, np.inf, np.nan, 0.0, 0.0],
    "softplus": [0.0, np.inf, np.nan, float(np.log(2)), float(np.log(2))],
    "gelu": [0.0, np.inf, np.nan, 0.0, -0.0],
    "silu": [-0.0, np.inf, np.nan, 0.0, -0.0],
    "sin": [np.nan, np.nan, np.nan, 0.0, -0.0],
    "exp": [0.0, np.inf, np.nan, 1, 1],
    "log": [np.nan, np.inf, np.nan, -np.inf, -np.inf],
    "cos": [np.nan, np.nan, np.nan, 1, 1],
}


@pytest.mark.parametrize("function", VALUES)
@pytest.mark.parametrize("length", [5, 5 * 16])  # one partial vector, and whole vectors of special values
def test_special_values(isa, dtype, function, length):
    expected = np.resize(np.array(VALUES[function], dtype), length)
    with np.errstate(all="raise"):
        got = KERNEL[function](np.resize(np.array(SPECIAL, dtype), length))
    np.testing.assert_array_equal(got, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(expected[number]))


@pytest.mark.parametrize(("name", "at_infinity"), [("gelu", [0, 1]), ("silu", [0, 1]), ("sin", [np.nan, np.nan])])
def test_slopes_of_special_values(isa, dtype, name, at_infinity):
    at_zero = 1 if name == "sin" else 0.5
    slope = forward_with_slope(name, np.array(SPECIAL, dtype))[1]
    expected = np.array([*at_infinity, np.nan, at_zero, at_zero], dtype)
    np.testing.assert_allclose(slope, expected, rtol=np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "identity"])
def test_bare_functions_are_numpys_to_the_last_bit(isa, dtype, name):
    z = hard_inputs(dtype)
    np.testing.assert_array_equal(forward(name, z), reference.activation(name, z))


@pytest.mark.parametrize("name", ["tanh", "sin"])
def test_odd_functions_are_odd(isa, dtype, name):
    z = hard_inputs(dtype)
    np.testing.assert_array_equal(forward(name, -z), -forward(name, z))


def test_log_of_negative_numbers_is_nan(isa, dtype):
    x = -np.abs(hard_inputs(dtype))
    assert np.isnan(_kernels.log(x[x != 0])).all()


@names
def test_nan_keeps_to_its_lane(isa, dtype, name):
    """A NaN, an infinity or a huge angle changes no other element, wherever in a vector it stands."""
    z = np.linspace(-3, 3, 37).astype(dtype)
    expected = forward(name, z)
    for i in range(len(z)):
        for special in (np.nan, np.inf, -np.inf, 1e30):
            changed = z.copy()
            changed[i] = special
            got = forward(name, changed)
            np.testing.assert_array_equal(np.delete(got, i), np.delete(expected, i))
            assert np.isnan(got[i]) == (np.isnan(special) or (name == "sin" and np.isinf(special)))


@names
def test_every_length_and_alignment(isa, dtype, name, guarded):
    """Each element has the bits that it has alone, forward and back, and nothing outside is written."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=max(SIZES)).astype(dtype) * 4
    errors_ = rng.normal(size=max(SIZES)).astype(dtype)
    alone = np.array([forward_with_slope(name, values[i : i + 1]) for i in range(len(values))]).reshape(-1, 2)
    back = np.array([backward(name, errors_[i : i + 1], *alone[i].reshape(2, 1)) for i in range(len(values))]).reshape(
        -1
    )
    for n in SIZES:
        for offset in MISALIGNMENTS:
            z = guarded(n, dtype, offset, values=values[:n])
            a, slope = guarded(n, dtype, (3 * offset + 1) % 17), guarded(n, dtype, (5 * offset + 2) % 17)
            before = slope.copy()
            _kernels.activation_forward(name, a, z, slope)
            assert_same_bits(a, alone[:n, 0])
            assert_same_bits(z, values[:n])
            if name in WITH_SLOPE:
                assert_same_bits(slope, alone[:n, 1])
            else:
                assert_same_bits(slope, before)
            delta = guarded(n, dtype, (7 * offset + 3) % 17, values=errors_[:n])
            _kernels.activation_backward(name, delta, a, slope)
            assert_same_bits(delta, back[:n])
            assert_same_bits(a, alone[:n, 0])


@names
@pytest.mark.parametrize("n", [1, 16, 37, 5000])
def test_in_place_and_without_slope(isa, dtype, name, n):
    """The activation may overwrite its argument, and has the same bits whether the slope is asked for or not."""
    z = np.random.default_rng(n).normal(size=n).astype(dtype) * 4
    expected, slope = forward_with_slope(name, z)
    np.testing.assert_array_equal(forward(name, z), expected)
    in_place, again = z.copy(), np.full_like(z, np.nan)
    _kernels.activation_forward(name, in_place, in_place, again)
    np.testing.assert_array_equal(in_place, expected)
    np.testing.assert_array_equal(again, slope)
    _kernels.activation_forward(name, z, z)
    np.testing.assert_array_equal(z, expected)


@names
def test_no_warnings(isa, dtype, name):
    """Overflow, underflow and invalid operations inside a kernel are nobody's business outside of it."""
    z = np.concatenate([hard_inputs(dtype), np.array(SPECIAL, dtype)])
    with np.errstate(all="raise"):
        a, slope = forward_with_slope(name, z)
        backward(name, z, a, slope)
        _kernels.log(z)


def derivative(name, z):
    """f'(z) as activation_backward has it: what becomes of errors of 1."""
    a, slope = forward_with_slope(name, z)
    return backward(name, np.ones_like(z), a, slope)


# How far a derivative may lie off, in units of eps, as (a part of itself, absolutely). The slopes of gelu, silu and sin
# pass through 0; 1 - a and 1 - a^2 inherit the error of an a near 1, and a + 1 that of an a near -1.
SLOPE_BOUND = {
    "identity": (0, 0),
    "sigmoid": (2.5, 0.5),
    "tanh": (1, 2.5),
    "relu": (0, 0),
    "leaky_relu": (1, 0),
    "elu": (0.5, 1),
    "softplus": (4, 0),
    "gelu": (0, 4),
    "silu": (0, 4),
    "sin": (0, 1.5),
    "exp": (1.25, 0),
}


@names
def test_derivatives(isa, dtype, name):
    info = np.finfo(dtype)
    rng = np.random.default_rng(4)
    z = np.concatenate([rng.normal(size=3000), rng.uniform(-30, 30, 3000), np.linspace(-4, 4, 801)]).astype(dtype)
    exact = reference.activation_derivative(name, z.astype(np.float64 if dtype == np.float32 else np.longdouble))
    relative, absolute = SLOPE_BOUND[name]
    if dtype == np.float64 and name == "gelu":
        absolute += 4  # the reference is in double too
    assert (np.abs(derivative(name, z) - exact) <= info.eps * (relative * np.abs(exact) + absolute) + info.tiny).all()


@names
def test_derivatives_are_those_of_the_activations(isa, name):
    """Fourth-order central differences of the kernel itself, away from the kinks at 0."""
    z = np.concatenate([np.linspace(-6, -0.01, 500), np.linspace(0.01, 6, 500)])
    h = 2e-3
    values = [forward(name, z + k * h) for k in (-2, -1, 1, 2)]
    slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
    scale = np.maximum(1, np.abs(reference.activation(name, z)))
    assert (np.abs(derivative(name, z) - slope) <= 1e-10 * scale).all()


@pytest.mark.parametrize(("name", "at_zero"), [("relu", 0), ("leaky_relu", 0.01), ("elu", 1)])
def test_kinks_take_the_negative_side(isa, dtype, name, at_zero):
    np.testing.assert_array_equal(derivative(name, np.array([0.0, -0.0], dtype)), np.array([at_zero] * 2, dtype))


@names
def test_backward_multiplies(isa, dtype, name):
    """delta is multiplied by the derivative, rounded once."""
    rng = np.random.default_rng(5)
    z, delta = rng.normal(size=(2, 1009)).astype(dtype)
    a, slope = forward_with_slope(name, z)
    np.testing.assert_array_equal(backward(name, delta, a, slope), delta * derivative(name, z))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda z: _kernels.activation_forward("tan", z, z), ValueError, "got 'tan'"),
        (lambda z: _kernels.activation_forward(None, z, z), TypeError, "name"),
        (lambda z: _kernels.activation_forward("tanh", z, z[1:]), ValueError, "equally long"),
        (lambda z: _kernels.activation_forward("sin", z, z, z[1:]), ValueError, "equally long"),
        (lambda z: _kernels.activation_backward("sin", z, z), ValueError, "sin needs its slope"),
        (lambda z: _kernels.activation_backward("tanh", z, z[1:]), ValueError, "equally long"),
    ],
)
def test_wrong_arguments_are_refused(call, error, message):
    z = np.zeros(3)
    with pytest.raises(error, match=message):
        call(z)
    assert (z == 0).all()
