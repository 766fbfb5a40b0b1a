"""The threads of one call (src_c/team.c), when the system refuses some or they begin late."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).parent
SOURCES = TESTS.parent / "src_c"

pytestmark = pytest.mark.isa_independent


@pytest.fixture
def compiled(tmp_path):
    """Return a function that compiles C, and says how it went."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if sys.platform != "linux" or compiler is None:
        pytest.skip("pthread_create is replaced on Linux alone, with a C compiler")

    def compile_c(*arguments):
        command = [compiler, "-std=c11", "-O1", "-g1", "-Wall", "-Wextra", "-pthread", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=unsanitized(), capture_output=True, text=True, check=False)

    return compile_c


def unsanitized():
    """Return the environment without the sanitizers under which this very process may run."""
    return {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "ASAN_OPTIONS")}


@pytest.mark.parametrize("sanitizers", ["", "thread", "address,undefined"])
def test_teams(compiled, tmp_path, sanitizers):
    """Random teams and work; tests/team.c says what must hold."""
    if not SOURCES.exists():
        pytest.skip("src_c is not beside these tests")
    files = [TESTS / "team.c", TESTS / "unreliable_threads.c", SOURCES / "team.c"]
    options = [f"-I{SOURCES}", "-DWRAPPED", "-Wl,--wrap=pthread_create,--wrap=calloc,--wrap=free", "-o", "team"]
    if sanitizers:
        options += [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
    built = compiled(*files, *options)
    if sanitizers and (built.returncode or teams(tmp_path, 0).returncode):
        pytest.skip(f"this compiler or system has no -fsanitize={sanitizers}")
    assert built.returncode == 0, built.stderr
    done = teams(tmp_path, 60)
    assert done.returncode == 0, done.stderr


def teams(folder, n):
    # LeakSanitizer may not work in a container; the program counts by itself.
    environment = {**unsanitized(), "ASAN_OPTIONS": "detect_leaks=0"}
    return subprocess.run([folder / "team", str(n)], env=environment, capture_output=True, text=True, timeout=120)


CALLS = """
import ctypes
import numpy as np
import fastnn

threads = ctypes.CDLL(None)
rng = np.random.default_rng(0)
a, b = rng.normal(size=(2, 330, 330))
x, y = rng.normal(size=(3000, 64)), rng.integers(10, size=3000)

def products_and_predictions(net):
    return [fastnn.matmul(a, b, n_threads=4), net.predict(x, n_threads=4), net.loss(x, y, n_threads=4)]

def fits():
    net = fastnn.MLP([64, 128, 10], loss="cross_entropy", seed=1)
    history = net.fit(x, y, batch_size=500, epochs=3, n_threads=4)
    return [history.loss, net.loss_and_gradient(x, y, n_threads=4)[1], net.parameters]

def plan(*numbers):
    threads.plan_threads(ctypes.c_int(numbers[0]), ctypes.c_uint64(numbers[1]), ctypes.c_int(numbers[2]))

def check(what, act, expected):
    for found, bits in zip(act(), expected, strict=True):
        np.testing.assert_array_equal(found, bits, what)
    assert threads.threads_asked() > 0, what
    threads.release_threads()
    threads.await_threads()

net = fastnn.MLP([64, 128, 10], loss="cross_entropy", seed=0)
expected, fitted = products_and_predictions(net), fits()
NONE, ALL = 0, 2**64 - 1
for grants in (0, 1, 60):
    plan(grants, NONE, 300)
    check(f"{grants} threads, which begin late", lambda: products_and_predictions(net), expected)
    plan(grants, NONE, 300)
    check(f"{grants} threads, which begin late", fits, fitted)
plan(60, ALL, 0)
check("threads that begin after the call", lambda: products_and_predictions(net), expected)
assert threads.threads_created() > 0
"""


def test_calls_give_the_same_bits(compiled, run, tmp_path):
    """However many threads there are, and whenever they begin."""
    library = tmp_path / "unreliable_threads.so"
    built = compiled("-shared", "-fPIC", TESTS / "unreliable_threads.c", "-ldl", "-o", library)
    assert built.returncode == 0, built.stderr
    preloaded = " ".join(filter(None, [os.environ.get("LD_PRELOAD"), str(library)]))  # AddressSanitizer must be first
    run("-c", CALLS, LD_PRELOAD=preloaded, OMP_NUM_THREADS="4")
