"""Memory of a fit: nothing is allocated in a step, and what is needed does not grow with the rows."""

import json
import os
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.isa_independent

# Counts calls and bytes in front of glibc's allocator.
COUNTER = """
#include <malloc.h>
#include <stddef.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static long calls, live, most;

static void *taken(void *p) {
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    const long now = __atomic_add_fetch(&live, (long)malloc_usable_size(p), __ATOMIC_RELAXED);
    if (now > most) most = now;
    return p;
}

static void given(void *p) { __atomic_sub_fetch(&live, (long)malloc_usable_size(p), __ATOMIC_RELAXED); }

void *malloc(size_t n) { return taken(__libc_malloc(n)); }
void *calloc(size_t n, size_t size) { return taken(__libc_calloc(n, size)); }
void *memalign(size_t alignment, size_t n) { return taken(__libc_memalign(alignment, n)); }
void *aligned_alloc(size_t alignment, size_t n) { return taken(__libc_memalign(alignment, n)); }
int posix_memalign(void **p, size_t alignment, size_t n) {
    *p = taken(__libc_memalign(alignment, n));
    return *p ? 0 : 12;
}
void *realloc(void *p, size_t n) {
    given(p);
    return taken(__libc_realloc(p, n));
}
void free(void *p) {
    given(p);
    __libc_free(p);
}

long calls_so_far(void) { return calls; }
long peak_bytes(void) { return most; }
long forget_peak(void) { return most = live; }
"""

PRELUDE = """
import ctypes, gc, json, sys
import numpy as np
import fastnn

counter = ctypes.CDLL(None)
for function in (counter.calls_so_far, counter.peak_bytes, counter.forget_peak):
    function.restype = ctypes.c_long
rng = np.random.default_rng(0)
gc.disable()

def calls(act):
    before = counter.calls_so_far()
    act()
    return counter.calls_so_far() - before

def peak(act):
    '''Bytes at the most beside those that are there before.'''
    before = counter.forget_peak()
    act()
    return counter.peak_bytes() - before

def kept(act):
    before = counter.forget_peak()
    act()
    return counter.forget_peak() - before
"""


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Return a function that runs code with the counter, in a process of its own, and returns what it prints."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("the counter needs glibc and a C compiler")
    folder = tmp_path_factory.mktemp("counter")
    (folder / "counter.c").write_text(COUNTER)
    command = [compiler, "-shared", "-fPIC", "-O2", "-fno-builtin", "-o", "counter.so", "counter.c"]
    if subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode:
        pytest.skip("the counter needs glibc")
    if "asan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("AddressSanitizer has an allocator of its own")

    def run(code):
        environment = {**os.environ, "LD_PRELOAD": str(folder / "counter.so"), "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + code],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment,
            timeout=300,
        )
        return json.loads(done.stdout)

    return run


def test_the_counter_counts(counted):
    found = counted("""
print(json.dumps([calls(lambda: [np.empty(10**6) for _ in range(7)]), peak(lambda: np.empty(10**6).sum())]))
""")
    assert 7 <= found[0] < 20
    assert 8e6 <= found[1] < 8.1e6


STEPS = """
found = {}
regimes = {"tiny": (3, 4, 1), "small": (8, 32, 16, 1), "medium": (64, 128, 10), "wide": (300, 400, 10)}
for regime, sizes in regimes.items():
    n = 20 if regime == "wide" else 100
    x, y = rng.normal(size=(n, sizes[0])), rng.random((n, sizes[-1]))
    for dtype in ("float32", "float64"):
        for name, options, fitting in [
            ("plain", {}, {"batch_size": 16}),
            ("one row", {}, {"batch_size": 1, "optimizer": fastnn.SGD(1e-3, momentum=0.5)}),
            ("full batch", {"l2": 1e-3}, {"batch_size": None, "optimizer": fastnn.RMSProp(1e-3, clip_norm=1.0)}),
            ("with everything", {"dropout": 0.5, "l2": 1e-3, "activation": "gelu"}, {
                "batch_size": 7, "sample_weight": np.ones(n), "validation_data": (x, y),
                "optimizer": fastnn.AdamW(fastnn.StepDecay(1e-3, 0.5, 3), clip_norm=1.0),
                "early_stopping": fastnn.EarlyStopping(1000), "max_time": 1e6}),
        ]:
            net = fastnn.MLP(sizes, dtype=dtype, seed=0, **options)
            def fit(epochs):
                net.fit(x, y, epochs=epochs, n_threads=1, **fitting)
            fit(3)
            fit(60)  # Python's own memory grows a little at first
            few = calls(lambda: fit(3))
            found[f"{regime} {dtype} {name}"] = calls(lambda: fit(60)) - few
print(json.dumps(found))
"""


def test_a_step_allocates_nothing(counted):
    """Fits of 3 and of 60 epochs allocate as often; the History of the longer one may grow once."""
    found = counted(STEPS)
    assert len(found) == 4 * 2 * 4
    assert {name: more for name, more in found.items() if more > 2} == {}


def test_threads_are_started_for_many_steps(counted):
    """What is allocated for a thread does not come back with each step: 4000 steps."""
    found = counted("""
import fastnn.threads
fastnn.threads.WORK_PER_THREAD = fastnn.threads.WORK_PER_STARTED_THREAD = 1
net = fastnn.MLP((8, 32, 1), seed=0)
x, y = rng.normal(size=(640, 8)), rng.random((640, 1))
net.fit(x, y, epochs=10, n_threads=2)
print(calls(lambda: net.fit(x, y, epochs=200, n_threads=2)))
""")
    assert found < 2000


ROWS = """
found = {}
for sizes in ((8, 32, 16, 1), (64, 256, 3)):
    net = fastnn.MLP(sizes, seed=0)
    for n in (1000, 100_000):
        x, y = rng.normal(size=(n, sizes[0])).astype("f4"), np.zeros((n, sizes[-1]), "f4")
        for name, act in {
            "predict": lambda: net.predict(x, n_threads=1),
            "loss": lambda: net.loss(x, y, n_threads=1),
            "fit": lambda: net.fit(x, y, shuffle=False, validation_data=(x, y), n_threads=1),
            "shuffled fit": lambda: net.fit(x, y, validation_data=(x, y), n_threads=1),
            "full batch": lambda: net.fit(x, y, batch_size=None, n_threads=1),
            "loss_and_gradient": lambda: net.loss_and_gradient(x, y, n_threads=1)[0],
        }.items():
            act() if n == 1000 else None
            found.setdefault(f"{sizes} {name}", []).append(peak(act))
print(json.dumps(found))
"""


def test_memory_does_not_grow_with_the_rows(counted):
    """But for predictions themselves and, where rows are shuffled, their order: 8 bytes a row."""
    found = counted(ROWS)
    more = 99_000
    for name, (few, many) in found.items():
        outputs = 1 if name.startswith("(8") else 3
        own = 4 * outputs * more if name.endswith("predict") else 8 * more if name.endswith("shuffled fit") else 0
        # a batch of all rows is done in blocks of some thousand
        slack = 16 << 20 if name.endswith(("full batch", "loss_and_gradient")) else 64 << 10
        assert many - few <= own + slack, (name, few, many)


def test_memory_of_a_large_network(counted):
    """The gradient, the last finite parameters, the optimizer's moments, and weights in the order of the products."""
    found = counted("""
x, y, found = np.zeros((64, 1000), "f4"), np.zeros((64, 10), "f4"), {}
for name, copies in {"SGD": 0, "RMSProp": 1, "Adam": 2}.items():
    net = fastnn.MLP((1000, 3000, 10), seed=0)
    optimizer = getattr(fastnn, name)(1e-3)
    found[name] = [net.parameters.nbytes, copies, peak(lambda: net.fit(x, y, optimizer=optimizer, n_threads=1))]
print(json.dumps(found))
""")
    for name, (parameters, copies, peak) in found.items():
        assert peak <= (2 + copies + 2) * parameters + (12 << 20), (name, peak / parameters)


def test_what_a_fit_keeps(counted):
    """The gradient, the last finite parameters and Adam's two moments, but not the room of its steps."""
    found = counted("""
x, y, found = rng.normal(size=(3000, 20)), rng.random((3000, 3)), []
for sizes in ((20, 3), (20, 64, 3), (20, 300, 300, 3)):
    for batch_size in (32, 1000):
        nets = [fastnn.MLP(sizes, seed=0) for _ in range(6)]
        fit = lambda net: net.fit(x, y, validation_data=(x, y), batch_size=batch_size, n_threads=2)
        for act in fit, lambda net: net.loss_and_gradient(x, y):
            for net in nets[:2]:
                act(net)
            found.append([net.parameters.nbytes, kept(lambda: [act(net) for net in nets[2:]]) / len(nets[2:])])
print(json.dumps(found))
""")
    fits, gradients = found[::2], found[1::2]
    for parameters, kept in fits:
        assert 4 * parameters <= kept < 4 * parameters + 6000, kept
    for _, kept in gradients:
        assert kept < 1000


def test_a_call_finds_its_pages_again(counted):
    """The room of a call is freed with it, but glibc does not return it to the system, which would take time."""
    for act in "net.loss_and_gradient(x, y)", "net.fit(x, y, batch_size=128, n_threads=1)":
        faults = counted(f"""
import resource

def act_and_count():
    for _ in range(10):
        {act}
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

x, y = rng.random((256, 64), np.float32), rng.random((256, 10), np.float32)
net = fastnn.MLP([64, 512, 512, 10], seed=0)
act_and_count()
print(-act_and_count() + act_and_count())
""")
        assert faults < 100, act  # Python's own; the pages of the room are some 100 in each of the ten calls
