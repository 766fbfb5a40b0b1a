"""What the book's network is made of, beside NumPy and the FMA peak: elementwise functions and matrix products."""

import sys

import harness
import numpy as np
from harness import Contender

import fastnn
from fastnn import _kernels

DTYPES = ("float32", "float64")

ELEMENTWISE = {
    "sigmoid": ("fastnn.sigmoid(x)", "1 / (1 + np.exp(-x))"),
    "sigmoid_derivative": ("fastnn.sigmoid_derivative(x)", "x * (1 - x)"),
}
SIZES = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)

# (m, k, n): an (m, k) matrix times a (k, n) one. The largest have 10^7 elements, in the operands or in the product.
PRODUCTS = {
    "square": [(n, n, n) for n in (1, 2, 4, 8, 16, 32, 64, 100, 128, 256, 333, 512, 1_000, 1_024, 1_825)],
    "tall": [(1_000, 8, 8), (1_000, 64, 32), (10_000, 32, 16), (100_000, 16, 16), (300_000, 16, 16)],
    "wide": [(8, 8, 1_000), (32, 64, 1_000), (16, 32, 10_000), (16, 16, 100_000), (16, 16, 300_000)],
    "inner": [(8, 1_000, 8), (16, 10_000, 16), (32, 100_000, 32), (1, 1_000_000, 1)],
    "outer": [(10, 1, 10), (100, 1, 100), (1_000, 1, 1_000), (3_162, 1, 3_162)],
    "matrix-vector": [(n, n, 1) for n in (4, 10, 32, 100, 316, 1_000, 3_160)],
    "vector-matrix": [(1, n, n) for n in (4, 10, 32, 100, 316, 1_000, 3_160)],
    "a transposed": [(32, 32, 32), (256, 256, 256), (128, 784, 128), (1_024, 1_024, 1_024)],
    "b transposed": [(32, 32, 32), (256, 256, 256), (128, 784, 128), (1_024, 1_024, 1_024)],
}
LAYERS = [(32, 8, 32), (32, 32, 16), (32, 128, 64), (128, 784, 128), (256, 1_024, 1_024), (1_024, 1_024, 1_024)]


def elements(m, k, n):
    """Count the elements of the operands or of the product, whichever are more."""
    return max(m * k + k * n, m * n)


def measure_elementwise(settings, progress, largest):
    """NumPy's time over fastnn's, for each function, dtype and number of elements."""
    results = []
    for function, (ours, theirs) in ELEMENTWISE.items():
        for dtype in DTYPES:
            for n in filter(largest.__ge__, SIZES):
                progress(f"{function} {dtype} {n}")
                x = np.random.default_rng(0).normal(0, 3, n).astype(dtype)
                bound = 8 * np.finfo(dtype).eps * max(1, float(np.max(np.abs(x))) ** 2)
                compared = compare(ours, theirs, {"fastnn": fastnn, "np": np, "x": x}, bound, settings)
                results.append({"function": function, "dtype": dtype, "elements": n, **compared})
    return results


def measure_products(settings, progress, largest):
    """NumPy's time over fastnn's, for each shape of matrix product and dtype."""
    results = []
    for kind, sizes in PRODUCTS.items():
        for dtype in DTYPES:
            for m, k, n in sizes:
                if elements(m, k, n) > largest:
                    continue
                progress(f"matmul {kind} {dtype} {m}x{k}x{n}")
                a, b = operands(m, k, n, dtype, kind)
                names = {"fastnn": fastnn, "np": np, "a": a, "b": b}
                compared = compare("fastnn.matmul(a, b)", "np.matmul(a, b)", names, rounding(a, b), settings)
                results.append({"kind": kind, "dtype": dtype, "m": m, "k": k, "n": n, **compared})
    return results


def operands(m, k, n, dtype, kind="square"):
    """Return an (m, k) and a (k, n) matrix; a transposed one is a view of a row-major matrix."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(k, m)).T if kind == "a transposed" else rng.normal(size=(m, k))
    b = rng.normal(size=(n, k)).T if kind == "b transposed" else rng.normal(size=(k, n))
    return a.astype(dtype, order="K"), b.astype(dtype, order="K")


def rounding(a, b):
    """Bound how far two orders of summation can take a product apart: 2 k eps |A| |B|, by Cauchy and Schwarz."""
    largest = np.linalg.norm(a, axis=1).max() * np.linalg.norm(b, axis=0).max()
    return 2 * a.shape[1] * np.finfo(a.dtype).eps * float(largest)


def compare(ours, theirs, names, bound, settings):
    """Check that two expressions agree, then measure both."""
    check_equal(eval(ours, names), eval(theirs, names), bound, ours)
    contenders = [Contender("fastnn", ours, names), Contender("NumPy", theirs, names)]
    measured = harness.measure(contenders, settings)
    return {
        "fastnn_seconds": measured.time("fastnn"),
        "numpy_seconds": measured.time("NumPy"),
        "times_fastnn": measured.ratio("NumPy", "fastnn"),
    }


def check_equal(ours, theirs, bound, what):
    """Stop unless the results differ by rounding alone."""
    error = np.max(np.abs(ours - theirs))
    if ours.dtype != theirs.dtype or not error <= bound:
        sys.exit(f"{what} is not what NumPy gives: they differ by {error}, {ours.dtype} and {theirs.dtype}")


def measure_gemm(settings, progress, largest):
    """Shares of the FMA peak that fastnn's product reaches without Python's call, and numpy.matmul with it."""
    results = []
    for m, k, n in LAYERS:
        if elements(m, k, n) > largest:
            continue
        for dtype in DTYPES:
            progress(f"gemm {dtype} {m}x{k}x{n}")
            a, b = operands(m, k, n, dtype)
            results.append({"dtype": dtype, "m": m, "k": k, "n": n, **shares_of_peak(a, b, settings)})
    return results


def shares_of_peak(a, b, settings):
    """Measure a product's time per floating-point operation against the peak's."""
    flops = 2 * a.shape[0] * a.shape[1] * b.shape[1]
    repeats = max(1, 50_000_000 // flops)  # some 500 us a call, of which Python's part is 1
    names = {"gemm": _kernels.gemm, "np": np, "a": a, "b": b, "repeats": repeats}
    names["c"] = c = np.empty((a.shape[0], b.shape[1]), a.dtype)
    _kernels.gemm(c, a, b, False, repeats)
    check_equal(c, np.matmul(a, b), rounding(a, b), "gemm")
    measured = harness.measure(
        [
            harness.peak(8 * a.itemsize),
            Contender("fastnn", "gemm(c, a, b, False, repeats)", names, work=repeats * flops),
            Contender("NumPy", "np.matmul(a, b, out=c)", names, work=flops),
        ],
        settings,
    )
    return {
        "peak_gflops": 1e-9 / measured.time("peak")["median"],
        "fastnn_share": measured.ratio("peak", "fastnn"),
        "numpy_share": measured.ratio("peak", "NumPy"),
        "times_fastnn": measured.ratio("NumPy", "fastnn"),
    }
