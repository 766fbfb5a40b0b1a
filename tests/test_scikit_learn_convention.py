"""The engine's options for scikit-learn's arithmetic: its objective, its two optimizers, its shuffle, its watch."""

import math

import numpy as np
import pytest
import reference_mlp

import fastnn
from fastnn import _engine, data
from fastnn._engine import HeldInterrupts
from fastnn.history import LEARNING_RATE, LOSS, History

LOSSES = ["mse", "mae", "huber", "quantile", "poisson", "binary_cross_entropy", "cross_entropy"]
ERRORS = ["mse", "mae", "huber", "quantile"]  # means over outputs
EPS = {"float32": 2e-5, "float64": 1e-12}


def problem(loss, n=37, d=4, k=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    y = {
        "poisson": rng.poisson(1.5, (n, k)),
        "binary_cross_entropy": rng.integers(0, 2, (n, k)),
        "cross_entropy": rng.integers(0, k, n),
    }.get(loss, rng.normal(size=(n, k)))
    return x, y, rng.uniform(0.2, 2, n)


def pair(loss, dtype="float64", l2=0.3):
    """The same network in the two conventions, without a penalty in our own."""
    theirs = fastnn.MLP([4, 6, 3], activation="tanh", loss=loss, l2=l2, dtype=dtype, seed=0, convention="scikit-learn")
    ours = fastnn.MLP([4, 6, 3], activation="tanh", loss=loss, dtype=dtype, seed=0)
    np.testing.assert_array_equal(ours.parameters, theirs.parameters)
    return ours, theirs


def penalty(net):
    return sum(float((weights.astype(np.float64) ** 2).sum()) for weights in net.weights)


def reported(loss, plain, x, y, w):
    """The data's part of the objective, from our own convention's."""
    if loss == "mse":
        return plain / 2
    if loss != "poisson":
        return plain
    safe = np.where(y > 0, y, 1)
    return 3 * plain + np.average((y * np.log(safe) - y).sum(axis=1), weights=w)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_objective(isa, dtype, loss, weighted):
    """Half the squared error, half the deviance, and the penalty over the weight of the rows."""
    x, y, w = problem(loss)
    w = w if weighted else None
    ours, theirs = pair(loss, dtype)
    expected = reported(loss, ours.loss(x, y, sample_weight=w), x, y, w)
    expected += 0.5 * 0.3 * penalty(theirs) / (len(x) if w is None else w.sum())
    tolerance = EPS[dtype.name]
    assert theirs.loss(x, y, sample_weight=w) == pytest.approx(expected, rel=tolerance)
    assert theirs.loss_and_gradient(x, y, sample_weight=w)[0] == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient(isa, dtype, loss, weighted):
    """That of the sum over outputs, and of the penalty over the weight of the rows."""
    x, y, w = problem(loss)
    w = w if weighted else None
    ours, theirs = pair(loss, dtype)
    _, plain = ours.loss_and_gradient(x, y, sample_weight=w)
    factor = {"mse": 1.5, "mae": 3, "huber": 3, "quantile": 3, "poisson": 3}.get(loss, 1)
    weights = fastnn.MLP([4, 6, 3], dtype=dtype)
    weights.parameters = theirs.parameters
    for biases in weights.biases:
        biases[...] = 0
    expected = factor * plain + 0.3 * weights.parameters / (len(x) if w is None else w.sum())
    _, gradient = theirs.loss_and_gradient(x, y, sample_weight=w)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=EPS[dtype.name] * np.abs(expected).max())


def test_a_deviance_is_zero_where_the_output_is_the_target(dtype):
    net = fastnn.MLP([1, 1], loss="poisson", dtype=dtype, convention="scikit-learn")
    net.parameters = np.zeros(2)
    assert net.loss([[0.0], [5.0]], [1, 1]) == 0
    assert net.loss([[0.0]], [0]) == 1


def test_weights_of_any_magnitude_mean_the_same(dtype):
    """They are scaled by a power of two, and the penalty with them."""
    x, y, w = problem("mse")
    _, net = pair("mse", dtype)
    for exponent in (-500, -40, 40, 500):
        scaled, _ = net.loss_and_gradient(x, y, sample_weight=np.ldexp(w, exponent))
        net_of_scale = fastnn.MLP(
            [4, 6, 3], activation="tanh", l2=math.ldexp(0.3, -exponent), dtype=dtype, seed=0, convention="scikit-learn"
        )
        plain, _ = net_of_scale.loss_and_gradient(x, y, sample_weight=w)
        assert scaled == pytest.approx(plain, rel=1e-12)


def test_no_weight_no_step(dtype):
    x, y, _ = problem("mse")
    _, net = pair("mse", dtype)
    before = net.parameters.copy()
    assert net.loss(x, y, sample_weight=np.zeros(len(x))) == 0
    net.fit(x, y, sample_weight=np.zeros(len(x)), optimizer=fastnn.SGD(0.1))
    np.testing.assert_array_equal(net.parameters, before)


def test_blocks_and_threads_cannot_be_seen(dtype):
    """A batch that is larger than a block, in several threads."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3000, 20)), rng.normal(size=(3000, 2))
    nets = []
    for threads in (1, 2, 5):
        net = fastnn.MLP([20, 200, 2], l2=0.1, dtype=dtype, seed=0, convention="scikit-learn")
        net.fit(x, y, epochs=2, batch_size=2500, n_threads=threads)
        nets.append(net.parameters)
    assert (nets[0] == nets[1]).all()
    assert (nets[0] == nets[2]).all()


def test_kept_in_files_and_copies(tmp_path):
    _, net = pair("poisson")
    net.save(tmp_path / "net.npz")
    again = fastnn.MLP.load(tmp_path / "net.npz")
    assert again.convention == "scikit-learn"
    x, y, _ = problem("poisson")
    assert again.loss(x, y) == net.loss(x, y)


@pytest.mark.parametrize("value", ["pytorch", None, 1])
def test_unknown(value):
    with pytest.raises(ValueError, match="convention must be 'fastnn' or 'scikit-learn'; got"):
        fastnn.MLP([1, 1], convention=value)


RATES = [0.1, 0.03, 0.2, 0.05]


class Rates(fastnn.Constant):
    """A new rate in each epoch: where the two forms of momentum differ."""

    def at(self, epoch):
        return RATES[epoch]


def steps(optimizer, x, y):
    net = fastnn.MLP([3, 2], dtype="float64", seed=0)
    for _ in RATES:
        net.fit(x, y, epochs=1, batch_size=None, optimizer=optimizer)
    return net.parameters


def gradients(step, x, y):
    """Take the same steps in NumPy; step(epoch, gradient) returns what is added to the parameters."""
    net = fastnn.MLP([3, 2], dtype="float64", seed=0)
    network = reference_mlp.Network((3, 2), ("identity",))
    for epoch in range(len(RATES)):
        gradient, _ = reference_mlp.gradients(network, net.parameters.copy(), x, y)
        net.parameters += step(epoch, gradient)
    return net.parameters


@pytest.mark.parametrize("nesterov", [False, True])
def test_rate_in_velocity(nesterov):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    velocity = np.zeros(8)

    def step(epoch, gradient):
        nonlocal velocity
        velocity = 0.9 * velocity - RATES[epoch] * gradient
        return 0.9 * velocity - RATES[epoch] * gradient if nesterov else velocity

    expected = gradients(step, x, y)
    optimizer = fastnn.SGD(Rates(0), momentum=0.9, nesterov=nesterov, rate_in_velocity=True)
    np.testing.assert_allclose(steps(optimizer, x, y), expected, rtol=1e-13)
    other = fastnn.SGD(Rates(0), momentum=0.9, nesterov=nesterov)
    assert not np.allclose(steps(other, x, y), expected, rtol=1e-3)


def test_epsilon_hat():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    m, v = np.zeros(8), np.zeros(8)

    def step(epoch, gradient):
        nonlocal m, v
        m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * gradient**2
        rate = RATES[epoch] * math.sqrt(1 - 0.99 ** (epoch + 1)) / (1 - 0.9 ** (epoch + 1))
        return -rate * m / (np.sqrt(v) + 0.05)

    expected = gradients(step, x, y)
    optimizer = fastnn.Adam(Rates(0), beta_2=0.99, epsilon=0.05, epsilon_hat=True)
    np.testing.assert_allclose(steps(optimizer, x, y), expected, rtol=1e-13)
    other = fastnn.Adam(Rates(0), beta_2=0.99, epsilon=0.05)
    assert not np.allclose(steps(other, x, y), expected, rtol=1e-3)


def run_engine(x, y, order=None, watch=None, epochs=1, rate=0.0, seed=0, random_state=None):
    """Some epochs of the engine itself; returns its losses, and why it ended."""
    net = fastnn.MLP([x.shape[1], 1], dtype="float64", seed=seed)
    rows = data.rows(x, y, None, ("X", "y", "w"), (x.shape[1], 1), "mse", np.dtype("float64"))
    optimizer = _engine.Optimizer("sgd", net.parameters)
    generator = (random_state or np.random.RandomState(0))._bit_generator
    table = table_of(epochs, rate)
    done, reason = net._engine.fit(
        rows, 1, optimizer, table, generator, False, watch or _engine.Watch(), math.inf, HeldInterrupts(), 1, order
    )
    return table[LOSS, :done], reason


def table_of(epochs, rate):
    """Room for some epochs, with their learning rate."""
    table = History().room(epochs)
    table[LEARNING_RATE] = rate
    return table


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 64, 65, 1000, 4097])
@pytest.mark.parametrize("bits", [np.random.MT19937, np.random.PCG64])
def test_the_shuffle_is_numpys(n, bits):
    ours, theirs = np.random.RandomState(bits(7)), np.random.RandomState(bits(7))
    x, y = np.zeros((n, 1)), np.zeros(n)
    order, expected = np.arange(n), np.arange(n)
    run_engine(x, y, order, epochs=3, random_state=ours)
    for _ in range(3):
        theirs.shuffle(expected)
    np.testing.assert_array_equal(order, expected)
    assert ours.randint(2**31) == theirs.randint(2**31)


@pytest.mark.parametrize("order", [np.arange(2), np.arange(4)])
def test_an_order_of_other_rows(order):
    with pytest.raises(ValueError, match="fit: the order"):
        run_engine(np.zeros((3, 1)), np.zeros(3), order)


def test_a_table_for_other_epochs():
    net = fastnn.MLP([1, 1])
    rows = data.rows([[1.0]], [1.0], None, ("X", "y", "w"), (1, 1), "mse", net.dtype)
    options = np.random.RandomState(0)._bit_generator, False, _engine.Watch(), math.inf, HeldInterrupts(), 1
    for table in (np.empty((3, 0)), np.empty((4, 1)), np.empty((3, 4))[:, ::2]):
        with pytest.raises(ValueError, match="fit: the table"):
            net._engine.fit(rows, 1, _engine.Optimizer("sgd", net.parameters), table, *options)


def test_each_step_takes_the_row_that_the_order_names():
    """With a rate of 1/2 a step puts the one weight where its row's target is: the last row's stays."""
    x, y, order = np.ones((9, 1)), np.arange(9.0), np.arange(9)
    net = fastnn.MLP([1, 1], bias=False, dtype="float64")
    rows = data.rows(x, y, None, ("X", "y", "w"), (1, 1), "mse", np.dtype("float64"))
    generator = np.random.RandomState(3)._bit_generator
    for _ in range(5):
        net._engine.fit(
            rows, 1, _engine.Optimizer("sgd", net.parameters), table_of(1, 0.5), generator, False, _engine.Watch(),
            math.inf, HeldInterrupts(), 1, order,
        )  # fmt: skip
        assert net.parameters[0] == order[-1]
    assert sorted(order) == list(range(9))


@pytest.mark.parametrize(
    ("sequence", "tol", "patience", "expected"),
    [
        ([5, 4, 3, 2, 1, 0], 1.0, 1, 6),  # a fall by tol itself counts
        ([5, 4.5, 4, 3.5, 3], 1.0, 1, 3),  # each from the lowest so far, not from the last that counted
        ([5, 5, 5, 5], 0.0, 1, 4),  # without tol an equal loss does no harm
        ([5, 6, 7, 8], 0.0, 1, 3),
        ([5, 6, 4, 7, 8], 0.0, 1, 5),
    ],
)
def test_watch(sequence, tol, patience, expected):
    """Losses that are chosen by the targets: with a rate of 0 the epochs' losses are those of one row each."""
    watch = _engine.Watch(stops=True, on_validation=False, patience=patience, min_delta=tol, against_lowest=True)
    done, bad, best = 0, 0, math.inf
    for loss in sequence:  # an epoch each: the watch goes on
        losses, reason = run_engine(np.zeros((1, 1)), np.array([math.sqrt(loss)]), watch=watch)
        done += 1
        bad, best = (bad + 1 if losses[0] > best - tol else 0), min(best, losses[0])
        assert (watch.bad_epochs, watch.lowest_loss) == (bad, best)
        if reason == "early_stopping":
            break
    assert done == expected
