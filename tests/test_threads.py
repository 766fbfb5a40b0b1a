"""Many Python threads: each with a network of its own, or all with one."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastnn

N_THREADS = 6


def trained(seed):
    """Train a network large enough that its kernels run without the GIL, and return what it ends with."""
    rng = np.random.default_rng(seed)
    nn = fastnn.NeuralNetwork(rng.normal(size=(40, 7)), rng.random((40, 2)), hidden=9, learning_rate=0.01, rng=rng)
    losses = nn.train(100)
    for _ in range(20):
        nn.feedforward()
        nn.backprop()
    return nn.weights1, nn.weights2, nn.layer1, nn.output, losses, nn.predict(rng.normal(size=(1500, 7)))


def test_each_thread_a_network_of_its_own(isa):
    """The bits are those of one thread."""
    seeds = range(4 * N_THREADS)
    expected = [trained(seed) for seed in seeds]
    with ThreadPoolExecutor(N_THREADS) as threads:
        for one, other in zip(expected, threads.map(trained, seeds), strict=True):
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a, b)


def test_functions_in_many_threads(isa, dtype):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(150, 270)).astype(dtype), rng.normal(size=(270, 200)).astype(dtype)
    product, activation = fastnn.matmul(a, b), fastnn.sigmoid(a)

    def work(_):
        np.testing.assert_array_equal(fastnn.matmul(a, b), product)
        np.testing.assert_array_equal(fastnn.sigmoid(a), activation)

    with ThreadPoolExecutor(N_THREADS) as threads:
        list(threads.map(work, range(4 * N_THREADS)))


# what another thread must not do meanwhile
USES = {
    "train": lambda nn: nn.train(1),
    "feedforward": lambda nn: nn.feedforward(),
    "backprop": lambda nn: nn.backprop(),
    "assign input": lambda nn: setattr(nn, "input", nn.input),
    "assign y": lambda nn: setattr(nn, "y", nn.y),
}


REFUSAL = "the network is in use by another thread; give each thread a network of its own"


def build():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(60, 5)), rng.random((60, 2))
    return fastnn.NeuralNetwork(x, y, hidden=8, learning_rate=1e-4, rng=rng)


def train_and_disturb(iterations):
    """Train in one thread; in this one, once weights have moved, try all USES.

    Returns the network, the losses, and what was refused, by name.
    """
    nn, losses, refused = build(), [], {}
    nn.feedforward()
    start = nn.weights1.copy()
    worker = threading.Thread(target=lambda: losses.append(nn.train(iterations)))
    worker.start()
    while worker.is_alive() and (nn.weights1 == start).all():
        pass
    for name, use in USES.items():
        try:
            use(nn)
        except RuntimeError as error:
            refused[name] = str(error)
    worker.join()
    return nn, losses[0], refused


def test_one_network_in_two_threads():
    """While one trains it, the others get a RuntimeError, and the training is not disturbed."""
    for iterations in (20_000, 200_000, 2_000_000):  # more, should the first have ended before we came
        nn, losses, refused = train_and_disturb(iterations)
        if refused.keys() == USES.keys():
            break
    assert refused == dict.fromkeys(USES, REFUSAL)
    alone = build()
    np.testing.assert_array_equal(losses, alone.train(iterations))
    for name in ("input", "y", "weights1", "weights2", "layer1", "output"):
        np.testing.assert_array_equal(getattr(nn, name), getattr(alone, name))
    nn.train(1)


@pytest.mark.parametrize("use", ["feedforward", "backprop"])
def test_after_an_error_the_network_is_free_again(use):
    """No lock is left behind by a call that was refused."""
    nn = fastnn.NeuralNetwork([[0, 1]], [[1]], rng=0)
    with pytest.raises(ValueError, match="iterations"):
        nn.train(-1)
    with pytest.raises(RuntimeError, match="feedforward"):
        nn.backprop()
    nn.feedforward()
    getattr(nn, use)()
    nn.train(2)
