"""A network's arrays, settings and copies, as a user sees them."""

import copy
import pickle
import re

import numpy as np
import pytest

import fastnn

X = np.linspace(-1, 1, 40).reshape(10, 4)
Y = np.sin(X.sum(axis=1))


def network(**options):
    return fastnn.MLP([4, 8, 1], seed=0, **options)


def test_an_assigned_layer_is_the_networks():
    net = network()
    net.weights[1] = np.full((8, 1), 2)
    net.biases[0] += 1
    assert (net.parameters[-9:-1] == 2).all()
    assert (net.parameters[32:40] == 1).all()
    assert np.shares_memory(net.weights[0], net.parameters)
    assert [weights.shape for weights in net.weights] == [(4, 8), (8, 1)]
    assert len(net.biases[:1]) == 1


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.zeros(3), ValueError, "weights[0] must have shape (4, 8); got (3,)"),
        (np.full((4, 8), np.nan), ValueError, "weights[0] must be finite in float32; got nan"),
        (np.full((4, 8), 1e300), ValueError, "weights[0] must be finite in float32; got 1e+300"),
        ("text", TypeError, "weights[0] must hold real numbers"),
    ],
)
def test_a_wrong_layer_is_refused_and_changes_nothing(value, error, message):
    net = network()
    before = net.parameters.copy()
    with pytest.raises(error, match=re.escape(message)):
        net.weights[0] = value
    assert (net.parameters == before).all()


def test_layers_that_there_are_not():
    net = network()
    for use in (lambda: net.weights[2], lambda: net.weights.__setitem__(2, np.zeros((4, 8)))):
        with pytest.raises(IndexError, match="weights has 2 elements, one for each layer; got index 2"):
            use()
    with pytest.raises(TypeError, match=r"biases takes one array at a time; got slice\(None, 1, None\)"):
        net.biases[:1] = [np.zeros(8)]


def test_a_network_without_biases_has_none():
    net = network(bias=False)
    assert list(net.biases) == [None, None]
    with pytest.raises(TypeError, match=re.escape("biases[0] must stay None")):
        net.biases[0] = np.zeros(8)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda weights: pickle.loads(pickle.dumps(weights))])
def test_copied_layers_are_arrays_of_their_own(clone):
    net = network()
    weights = clone(net.weights)
    net.weights[0] += 1
    assert type(weights) is list
    assert (net.weights[0] - weights[0] == 1).any()


def test_settings_can_be_read():
    net = fastnn.MLP([2, 3, 1], loss=fastnn.Huber(2.0), l2=0.5, dropout=0.25, bias=False, dtype="float64")
    assert net.layer_sizes == (2, 3, 1)
    assert net.activations == ("relu", "identity")
    assert net.loss_function == fastnn.Huber(2.0)
    assert (net.l2, net.dropout, net.bias, net.dtype) == (0.5, 0.25, False, np.float64)
    assert repr(net) == "MLP(2-3-1, relu-identity, loss=Huber(delta=2.0), dtype=float64)"


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_go_on_alike_and_share_nothing(clone):
    net = network()
    net.note = ["mine"]
    net.fit(X, Y, epochs=2, batch_size=3)
    twin = clone(net)
    assert twin.note == ["mine"]
    net.fit(X, Y, epochs=2, batch_size=3)
    assert (twin.parameters != net.parameters).any()
    twin.fit(X, Y, epochs=2, batch_size=3)
    assert (twin.parameters == net.parameters).all()


class Regression(fastnn.MLP):
    """Takes other arguments than its base."""

    def __init__(self, n_inputs):
        super().__init__([n_inputs, 1], seed=0)


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy])
def test_a_subclass_can_be_copied(clone):
    twin = clone(Regression(4))
    assert type(twin) is Regression
    assert (twin.parameters == Regression(4).parameters).all()


@pytest.mark.parametrize("out", [None, np.empty((0, 1), np.float32)])
def test_no_rows(out):
    assert network().predict(X[:0], out=out).shape == (0, 1)
    assert network().jacobian(X[:0]).shape == (0, 1, 4)


def test_sizes_beyond_64_bits_are_refused():
    """2**33 * 2**31 parameters would wrap to none."""
    for sizes in ([2**33 - 1, 2**31], [4, 10**12, 10**12, 1]):
        with pytest.raises(ValueError, match=re.escape("layer_sizes must make at most 2**48 parameters")):
            fastnn.MLP(sizes)


@pytest.mark.parametrize("wrong", [3, None, [["relu"]], ["relu", "tanh"], "nonsense", [None]])
def test_a_wrong_activation_is_named(wrong):
    with pytest.raises((TypeError, ValueError), match="activation must be"):
        network(activation=wrong)


@pytest.mark.parametrize("layer_sizes", [[4, 1], [4, 8, 1]])
def test_a_wrong_activation_is_named_without_hidden_layers_too(layer_sizes):
    with pytest.raises(ValueError, match="activation must be"):
        fastnn.MLP(layer_sizes, activation="nonsense")


@pytest.mark.parametrize("wrong", [3, None, [3], "text"])
def test_a_wrong_callback_is_named(wrong):
    with pytest.raises(TypeError, match="callbacks must be a function or several"):
        network().fit(X, Y, callbacks=wrong)


def test_what_a_comparison_of_losses_returns_ends_a_fit():
    history = network().fit(X, Y, epochs=9, callbacks=lambda net, history: history.loss[-1] < 1e9)
    assert (history.epochs, history.stopped_by) == (1, "callback")


def test_a_callback_cannot_fit_its_network():
    net = network()
    with pytest.raises(RuntimeError, match="by the fit whose callback this is"):
        net.fit(X, Y, epochs=2, callbacks=lambda net, history: net.fit(X, Y))
    assert net.fit(X, Y).epochs == 1


def test_a_diverged_network_can_be_copied():
    net = network()
    net.parameters[3] = np.nan
    np.testing.assert_array_equal(copy.copy(net).parameters, net.parameters)


def test_no_targets_are_an_error():
    net = network()
    for call in (net.fit, net.loss, net.loss_and_gradient, net.input_gradient):
        with pytest.raises(TypeError, match="y must be"):
            call(X, None)


@pytest.mark.parametrize("sizes", [[1, 1], [3, 5, 2], [784, 128, 10]])
def test_parameters_begin_on_a_cache_line(dtype, sizes):
    assert fastnn.MLP(sizes, dtype=dtype).parameters.ctypes.data % 64 == 0
