"""MLP at the edges of its numbers and of its time: huge and tiny weights, norms and logits, clocks, other threads."""

import threading
import time

import numpy as np
import pytest

import fastnn


@pytest.fixture
def data():
    """Return inputs and targets of a small regression."""
    rng = np.random.default_rng(3)
    return rng.normal(size=(64, 3)), rng.normal(size=(64, 2))


def network(loss="mse", dtype="float32", **options):
    """Return a small network, the same for the same arguments."""
    return fastnn.MLP([3, 5, 2], loss=loss, dtype=dtype, seed=0, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e-300, 1e-42, 1e39, 1e300])
def test_weights_of_any_size_count_alike(data, dtype, scale):
    weights = np.random.default_rng(4).integers(1, 9, 64)
    loss, gradient = network(dtype=dtype).loss_and_gradient(*data, sample_weight=weights)
    scaled_loss, scaled_gradient = network(dtype=dtype).loss_and_gradient(*data, sample_weight=weights * scale)
    # The scale is no power of two, so the weights are rounded anew, each by half a unit, and so is their sum.
    tolerance = 8 * float(np.finfo(dtype).eps)
    assert scaled_loss == pytest.approx(loss, rel=tolerance)
    np.testing.assert_allclose(scaled_gradient, gradient, rtol=0, atol=tolerance * np.abs(gradient).max())


def test_weights_beyond_the_dtype_are_refused_where_they_are_not_divided(data):
    with pytest.raises(ValueError, match=r"sample_weight must be finite in float32; got 1e\+39"):
        network("sse").loss(*data, sample_weight=np.full(64, 1e39))


def test_a_gradient_is_clipped_whose_squares_overflow():
    net = fastnn.MLP([1, 1], loss="mae", seed=0)
    before = net.parameters.copy()
    net.fit([[1e22]], [[0.0]], optimizer=fastnn.SGD(1.0, clip_norm=1.0))
    assert np.linalg.norm(net.parameters - before) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("z", [5.0, 12.0, 20.0, 60.0])
@pytest.mark.parametrize("y", [0, 1])
def test_a_small_cross_entropy_keeps_its_digits(z, y):
    net = fastnn.MLP([1, 1], loss="binary_cross_entropy", bias=False)
    net.parameters = [1.0]
    assert net.loss([[z if y else -z]], [[y]]) == pytest.approx(np.log1p(np.exp(-z)), rel=1e-6)


def test_logits_as_far_apart_as_numbers_can_be():
    net = fastnn.MLP([1, 2], loss="cross_entropy", bias=False)
    net.parameters = [3e38, -3e38]
    assert net.loss([[1.0]], [0]) == 0
    assert np.isfinite(net.input_gradient([[1.0]], [0])).all()


def test_an_epsilon_that_is_0_in_the_dtype(data):
    with pytest.raises(ValueError, match=r"epsilon above 0 in float32; got Adam\("):
        network().fit(*data, optimizer=fastnn.Adam(epsilon=1e-60))
    network(dtype="float64").fit(*data, optimizer=fastnn.Adam(epsilon=1e-60))


def test_a_schedule_that_gives_no_learning_rate(data):
    class Broken(fastnn.Constant):
        def at(self, epoch):
            return np.nan

    with pytest.raises(ValueError, match="learning_rate must be finite and at least 0 in every epoch"):
        network().fit(*data, optimizer=fastnn.SGD(Broken(1.0)))


@pytest.mark.parametrize(
    "options",
    [
        {"callbacks": [lambda net, history: time.sleep(0.001)]},
        {"optimizer": fastnn.SGD(fastnn.ReduceOnPlateau(0.01))},
        {"verbose": 1},
        {},
    ],
    ids=["callback", "plateau", "verbose", "plain"],
)
def test_time_is_up(data, options, capsys):
    history = network().fit(*data, epochs=10**9, max_time=0.02, **options)
    assert history.stopped_by == "max_time"
    assert 1 <= history.epochs < 10**9


def test_the_textbook_network_diverges_like_any_other():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 2)), 3 * rng.normal(size=(4, 1))

    def diverged(**options):
        net = fastnn.MLP(
            [2, 4, 1],
            activation="sigmoid",
            output_activation="sigmoid",
            loss="sse",
            bias=False,
            dtype="float64",
            seed=0,
        )
        with pytest.raises(FloatingPointError) as error:
            net.fit(x, y, epochs=2000, batch_size=None, optimizer=fastnn.SGD(1e308), **options)
        return str(error.value), net.parameters

    (quick, quick_parameters), (plain, parameters) = diverged(), diverged(validation_data=(x, y))
    assert plain == quick.replace("the loss", "the loss, that of validation_data", 1)
    assert np.isfinite(quick_parameters).all()
    assert (quick_parameters == parameters).all()


def test_a_reader_between_two_epochs_gets_the_error_and_not_the_fit(data):
    net, caught = network(), []

    def read():
        try:
            net.predict(data[0])
        except RuntimeError as error:
            caught.append(str(error))

    def callback(net, history):
        net.predict(data[0])  # the fit's own thread may
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()

    history = net.fit(*data, epochs=3, callbacks=[callback])
    assert history.epochs == 3
    assert len(caught) == 3
    assert "in use by another thread" in caught[0]
    net.predict(data[0])
