"""The network's memory is its own: what users do to the arrays it hands out cannot lead the kernels astray."""

import copy
import pickle
import threading

import numpy as np
import pytest

import fastnn

ARRAYS = ("input", "y", "weights1", "weights2", "layer1", "output")


@pytest.fixture
def nn():
    rng = np.random.default_rng(0)
    return fastnn.NeuralNetwork(rng.normal(size=(6, 4)), rng.random((6, 2)), hidden=3, rng=0)


def bits(nn):
    return b"".join(getattr(nn, name).tobytes() for name in ARRAYS)


@pytest.mark.parametrize("name", ARRAYS)
def test_resize_is_refused(nn, name):
    with pytest.raises(ValueError, match="resize"):
        getattr(nn, name).resize((1000, 1000))


@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
@pytest.mark.parametrize("name", ARRAYS)
def test_shape_and_dtype_of_a_view_are_its_own(nn, name):
    untouched = copy.copy(nn)
    array = getattr(nn, name)
    array.shape = (array.size, 1)
    getattr(nn, name).dtype = np.float32
    getattr(nn, name).flags.writeable = False
    for network in (nn, untouched):
        network.train(5)
        network.predict(np.ones((2000, 4)))
    assert bits(nn) == bits(untouched)


def test_elements_of_a_view_are_the_networks(nn):
    nn.weights1[0, 0] = 7
    assert nn.weights1[0, 0] == 7


def test_a_view_outlives_new_rows_and_the_network(nn):
    layer1, rows = nn.layer1, nn.input
    expected = rows.copy()
    nn.input, nn.y = np.zeros((9, 4)), np.zeros((9, 2))
    del nn
    assert layer1.shape == (6, 3)
    assert (rows == expected).all()


def test_new_rows_void_the_activations(nn):
    nn.feedforward()
    nn.input = nn.input + 1
    with pytest.raises(RuntimeError, match="feedforward"):
        nn.backprop()


@pytest.mark.parametrize("name", ["layer1", "output"])
def test_one_activation_alone_is_not_enough(nn, name):
    setattr(nn, name, getattr(nn, name) + 0.5)
    with pytest.raises(RuntimeError, match="feedforward"):
        nn.backprop()


def test_deepcopy_copies_the_users_own_attributes(nn):
    nn.history = [1]
    assert copy.deepcopy(nn).history == [1]
    assert copy.deepcopy(nn).history is not nn.history
    assert copy.copy(nn).history is nn.history


def test_a_diverged_network_can_be_copied(nn):
    nn.weights1[...] = np.nan
    for twin in (copy.copy(nn), copy.deepcopy(nn), pickle.loads(pickle.dumps(nn))):
        assert np.isnan(twin.weights1).all()


def test_divergence_is_said():
    nn = fastnn.NeuralNetwork([[1.0]], [[1e300]], learning_rate=1e200, rng=0)
    with pytest.warns(RuntimeWarning, match="diverged: the loss of iteration 0 is inf"):
        losses = nn.train(5)
    assert not np.isfinite(losses).any()


class Doubled(fastnn.NeuralNetwork):
    calls = 0

    def feedforward(self):
        self.calls += 1
        super().feedforward()


def test_train_respects_a_subclass(nn):
    """The same bits as the compiled loop, for the overriding method does the same and counts."""
    doubled = Doubled.__new__(Doubled)
    doubled.__setstate__(nn.__getstate__())
    assert (doubled.train(4) == nn.train(4)).all()
    assert doubled.calls == 4
    assert bits(doubled) == bits(nn)


def test_a_long_iteration_is_the_same_in_blocks():
    """More rows than are done between two looks for Ctrl-C, and an iteration that costs more than is done at once."""
    rng = np.random.default_rng(1)
    for dtype in ("float32", "float64"):
        x, y = rng.normal(size=(2500, 40)), rng.random((2500, 3))
        whole, steps = (fastnn.NeuralNetwork(x, y, hidden=30, learning_rate=1e-4, dtype=dtype, rng=2) for _ in range(2))
        losses = whole.train(3)
        for loss in losses:
            steps.feedforward()
            assert loss == np.dtype(dtype).type(steps.loss)
            steps.backprop()
        assert bits(whole) == bits(steps)


def test_predict_in_another_thread_keeps_others_from_changing_the_network():
    """Until the prediction ends, training and assignments are refused; other predictions are not."""
    nn = fastnn.NeuralNetwork(np.ones((2, 50)), np.ones((2, 1)), hidden=60, rng=0)
    rows = np.random.default_rng(0).normal(size=(200_000, 50))
    expected = nn.predict(rows)
    before = bits(nn)
    results, refusals = [], []
    thread = threading.Thread(target=lambda: results.append(nn.predict(rows)))
    thread.start()
    while thread.is_alive():
        try:
            nn.weights1 = nn.weights1 + 0.0
        except RuntimeError as error:
            refusals.append(str(error))
        nn.predict(rows[:1])
    thread.join()
    assert (results[0] == expected).all()
    assert all("another thread" in refusal for refusal in refusals)
    assert bits(nn) == before
    nn.train(1)
    assert bits(nn) != before
