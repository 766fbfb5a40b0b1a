"""Ctrl-C during a long training: it stops soon, between two iterations or steps."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import fastnn
from fastnn._engine import HeldInterrupts

pytestmark = pytest.mark.isa_independent

X, Y = np.ones((4, 2)), np.ones(4)

# Trains until interrupted, then looks for the number of iterations that leads to the very bits it was left with.
CHILD = """
import signal
import sys
import numpy as np
import fastnn

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is born with Ctrl-C ignored

WEIGHTS = ("weights1", "weights2")  # a long iteration is abandoned half-way, which leaves its mark on the rest
ARRAYS = (*WEIGHTS, "layer1", "output")

def build():
    rng = np.random.default_rng(0)
    n, d, hidden, k = {size}
    return fastnn.NeuralNetwork(rng.normal(size=(n, d)), rng.random((n, k)), hidden=hidden, learning_rate=1e-5, rng=rng)

def bits(nn, names=ARRAYS):
    return b"".join(getattr(nn, name).tobytes() for name in names)

nn = build()
print("ready", flush=True)
try:
    nn.train(10**8)
except KeyboardInterrupt:
    print("stopped", flush=True)
else:
    sys.exit("train ended by itself")
found = bits(nn, WEIGHTS)
again = build()
done = 0
while bits(again, WEIGHTS) != found:
    again.train(1)
    done += 1
    if done > 100_000:
        sys.exit("no number of iterations leads here")
assert done > 0
nn.train(3)
again.train(3)
assert bits(nn) == bits(again), "it does not go on as if nothing had happened"
print(done)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send Ctrl-C to another")
@pytest.mark.parametrize("size", [(256, 16, 32, 2), (1500, 40, 64, 3)], ids=str)
def test_ctrl_c(size, tmp_path, capsys):
    """The time is printed, not asserted: it says as much about the machine's load as about fastnn."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.replace("{size}", str(size))],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(200, child.kill)
    watchdog.start()
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.2)  # likely long enough to be in the middle; if not, the outcome is the same
        start = time.perf_counter()
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "stopped\n", child.stderr.read()
        elapsed = time.perf_counter() - start
        out, err = child.communicate()
    finally:
        watchdog.cancel()
        child.kill()
        child.wait()
    assert child.returncode == 0, err
    with capsys.disabled():
        print(f"\n    Ctrl-C stopped train after {elapsed * 1e3:.1f} ms, at iteration {int(out)}", end=" ")


# Between these epochs there is Python, which hears Ctrl-C too, and some calls of the engine are over before they look.
# The signal comes once the fit has changed the network: before that it has not begun, and KeyboardInterrupt is raised.
FIT = """
import signal
import threading
import time
import numpy as np
import fastnn

signal.signal(signal.SIGINT, signal.default_int_handler)
rng = np.random.default_rng(0)
x, y = rng.normal(size=(64, 4)), rng.normal(size=64)


def interrupt(net, before, seconds):
    while (net.parameters == before).all():
        time.sleep(0.001)
    time.sleep(seconds)
    signal.raise_signal(signal.SIGINT)


options = {
    "epochs in the engine": {},
    "a callback": {"callbacks": lambda net, history: None},
    "a plateau": {"optimizer": fastnn.Adam(fastnn.ReduceOnPlateau(1e-3))},
    "long epochs": {"batch_size": 1, "callbacks": lambda net, history: None},
}
for name, keywords in options.items():
    for seconds in (0, 0.0213, 0.0307, 0.0449, 0.05):
        net = fastnn.MLP([4, 8, 1], seed=0)
        thread = threading.Thread(target=interrupt, args=(net, net.parameters.copy(), seconds))
        thread.start()
        history = net.fit(x, y, epochs=10**7, **keywords)
        thread.join()
        assert history.stopped_by == "interrupt", name
        assert len(history.loss) == history.epochs, name
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, name
print("stopped")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send Ctrl-C to another")
def test_ctrl_c_ends_a_fit_wherever_it_comes(run):
    assert run("-c", FIT).stdout == "stopped\n"


def test_a_signal_handler_of_the_program_is_left_alone():
    def handler(number, frame):
        heard.append(number)

    heard = []
    before = signal.signal(signal.SIGINT, handler)
    try:
        net = fastnn.MLP([2, 1], seed=0)
        history = net.fit(X, Y, epochs=3, callbacks=lambda net, history: signal.raise_signal(signal.SIGINT))
        assert heard == [signal.SIGINT] * 3
        assert history.stopped_by is None
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


class TimeIsUpError(Exception):
    """What a handler raises."""


def raise_time_is_up(number, frame):
    raise TimeIsUpError


def after_time_is_up(net, fit):
    """Call what trains a network for long, and once it has changed that let a signal's handler end it."""

    def interrupt():
        while (net.parameters == start).all():
            time.sleep(0.001)
        signal.raise_signal(signal.SIGINT)

    start, thread = net.parameters.copy(), threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGINT, raise_time_is_up)
    try:
        thread.start()
        with pytest.raises(TimeIsUpError):
            fit()
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)


def test_what_a_handler_raises_leaves_a_network_that_knows_its_epochs():
    x = np.random.default_rng(0).normal(size=(5000, 2))
    net, twin = (fastnn.MLP([2, 8, 1], seed=0) for _ in range(2))
    options = {"batch_size": None, "optimizer": fastnn.SGD(fastnn.InverseScaling(0.01, 1.0))}  # 0.01 / (epoch + 1)
    after_time_is_up(net, lambda: net.fit(x, x[:, 0], epochs=10**5, **options))
    done = round(0.01 / net.fit(x, x[:, 0], **options).learning_rate[0]) - 1
    assert done > 0
    twin.fit(x, x[:, 0], epochs=done + 1, **options)
    np.testing.assert_array_equal(net.parameters, twin.parameters)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer. Maximum iterations")
def test_what_a_handler_raises_leaves_an_estimator_that_knows_its_epochs():
    pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
    x = np.random.default_rng(0).normal(size=(5000, 2))
    options = {"hidden_layer_sizes": (8,), "batch_size": 5000, "tol": 0.0, "random_state": 0, "warm_start": "resume"}
    net, twin = (fastnn.MLPRegressor(max_iter=1, n_iter_no_change=np.inf, **options).fit(x, x[:, 0]) for _ in range(2))
    net.set_params(max_iter=10**5)
    after_time_is_up(net.network_, lambda: net.fit(x, x[:, 0]))
    assert net.t_ == 5000 * len(net.loss_curve_) == 5000 * (1 + net.n_iter_) > 5000
    twin.set_params(max_iter=net.n_iter_).fit(x, x[:, 0])
    np.testing.assert_array_equal(net.network_.parameters, twin.network_.parameters)


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGALRM")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python itself may not call __exit__ then (its issue 29988)")
def test_what_a_handler_raises_at_the_end_leaves_ctrl_c_alone():
    """A signal comes within the call whose error ends the block, so its handler is due where SIGINT's is put back."""
    send = getattr(ctypes.CDLL(None), "raise")
    send.restype = None  # which cannot be compared
    before = signal.signal(signal.SIGALRM, raise_time_is_up), signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(TimeIsUpError) as raised, HeldInterrupts():
            max(signal.SIGALRM, signal.SIGALRM, key=send)
        assert isinstance(raised.value.__cause__, TypeError)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGALRM, before[0])
        signal.signal(signal.SIGINT, before[1])


def test_what_comes_while_interrupts_are_held_is_pending():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with HeldInterrupts() as interrupts:
            assert not interrupts.pending
            signal.raise_signal(signal.SIGINT)
            assert interrupts.pending
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_in_a_callback_ends_the_fit_with_whole_epochs():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        net = fastnn.MLP([2, 1], seed=0)
        history = net.fit(X, Y, epochs=3, callbacks=lambda net, history: signal.raise_signal(signal.SIGINT))
        assert (history.stopped_by, history.epochs) == ("interrupt", 1)
    finally:
        signal.signal(signal.SIGINT, before)
