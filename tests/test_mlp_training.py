"""MLP.fit: the reference's trajectories, the order of the rows, and what may end a fit."""

import functools
import time

import networks
import numpy as np
import pytest
import reference_mlp as reference

import fastnn

# as fastnn has it, and as the reference
OPTIMIZERS = {
    "SGD": (lambda **o: fastnn.SGD(**o), reference.SGD),
    "momentum": (lambda **o: fastnn.SGD(momentum=0.75, **o), functools.partial(reference.SGD, 0.75)),
    "nesterov": (
        lambda **o: fastnn.SGD(momentum=0.75, nesterov=True, **o),
        functools.partial(reference.SGD, 0.75, True),
    ),
    "RMSProp": (lambda **o: fastnn.RMSProp(alpha=0.875, **o), functools.partial(reference.RMSProp, 0.875)),
    "Adam": (lambda **o: fastnn.Adam(**o), reference.Adam),
    "AdamW": (
        lambda **o: fastnn.AdamW(weight_decay=0.25, **o),
        functools.partial(reference.Adam, weight_decay=0.25),
    ),
    "Adam with other betas": (
        lambda **o: fastnn.Adam(beta_1=0.5, beta_2=0.75, epsilon=0.125, **o),
        functools.partial(reference.Adam, 0.5, 0.75, 0.125),
    ),
    "clipped SGD": (lambda **o: fastnn.SGD(clip_norm=0.25, **o), functools.partial(reference.SGD, clip_norm=0.25)),
    "clipped Adam": (lambda **o: fastnn.Adam(clip_norm=0.25, **o), functools.partial(reference.Adam, clip_norm=0.25)),
}
RATE = 2.0**-7


NOISE = (
    2.0**-40
)  # so small that its effect is proportional to it, so large that float64's rounding is nothing beside it


class Noisy:
    """An optimizer that is told gradients with an error of NOISE times the largest element."""

    def __init__(self, optimizer):
        self.optimizer, self.clip_norm, self.rng = optimizer, optimizer.clip_norm, np.random.default_rng(0)

    def step(self, parameters, g, learning_rate):
        noise = NOISE * np.abs(g).max() * self.rng.standard_normal(g.shape)
        self.optimizer.step(parameters, np.where(g == 0, 0, g + noise), learning_rate)


def reference_fit(described, n, make_optimizer, epochs, batch_size, weighted, rates, dtype=np.float64):
    x, y, w = (a.astype(dtype) for a in networks.data(described, n))
    parameters = networks.parameters(described).astype(dtype)
    orders = [np.arange(n)] * epochs
    return reference.fit(
        described, parameters, x, y, make_optimizer(), orders, rates, batch_size, w if weighted else None
    )


@functools.lru_cache(maxsize=4096)  # the instruction sets share what is expected
def expected(described, n, optimizer, epochs, batch_size, weighted, rates, dtype):
    """The reference's fit without shuffling, and how strongly its steps amplify rounding: parameters' and loss's.

    A division by the root of a small v, say, amplifies it much. Float32's is measured by doing the same in float32,
    where a step cannot be wrong by more than a step; float64's, which is far from that, by noise.
    """
    make = OPTIMIZERS[optimizer][1]
    exact = reference_fit(described, n, make, epochs, batch_size, weighted, rates)
    if dtype == np.float32:
        other, size = reference_fit(described, n, make, epochs, batch_size, weighted, rates, dtype), np.finfo(dtype).eps
    else:
        other, size = reference_fit(described, n, lambda: Noisy(make()), epochs, batch_size, weighted, rates), NOISE
    amplified = np.abs(exact.parameters - other.parameters).max() / size
    return exact, amplified, np.abs(np.subtract(exact.loss, other.loss)).max() / size


def assert_near(net, history, fit, amplified, amplified_loss, what=""):
    """Assert the reference's trajectory: within 16 times what eps is amplified to, and 16 eps."""
    eps = 16 * np.finfo(net.parameters.dtype).eps
    bound = eps * (amplified + np.abs(fit.parameters).max())
    np.testing.assert_allclose(net.parameters, fit.parameters, rtol=0, atol=bound, err_msg=f"{what}: parameters")
    bound = eps * (amplified_loss + np.abs(fit.loss).max())
    np.testing.assert_allclose(history.loss, fit.loss, rtol=0, atol=bound, err_msg=f"{what}: loss")


def check(described, n, dtype, optimizer, epochs, batch_size, weighted=False, rate=RATE, n_threads=None):
    """Compare a fit without shuffling with the reference's."""
    x, y, w = networks.data(described, n)
    net = networks.mlp(described, dtype)
    history = net.fit(
        x,
        y,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=OPTIMIZERS[optimizer][0](learning_rate=rate),
        shuffle=False,
        sample_weight=w if weighted else None,
        n_threads=n_threads,
    )
    what = f"{described}, {n} rows in batches of {batch_size}, {optimizer}"
    assert_near(net, history, *expected(described, n, optimizer, epochs, batch_size, weighted, rate, dtype), what)


class TestTrajectories:
    """Without shuffling, steps on known batches; the last batch of an epoch is smaller."""

    @pytest.mark.parametrize("loss", networks.LOSSES)
    @pytest.mark.parametrize("activation", networks.ACTIVATIONS)
    def test_twelve_steps(self, isa, dtype, loss, activation):
        """Every optimizer; of its variants, one in turn."""
        case = networks.LOSSES.index(loss) + networks.ACTIVATIONS.index(activation)
        optimizers = [name for i, name in enumerate(OPTIMIZERS) if i < 6 or i % 3 == case % 3]
        for i, optimizer in enumerate(optimizers):
            l2 = 0.125 * ((case + i) % 2)
            described = networks.network((3, 7, 4, 2), activation, loss, bias=(case + i) % 3 > 0, l2=l2)
            check(described, 13, dtype, optimizer, 4, 5, weighted=(case + i) % 5 == 0)

    @pytest.mark.parametrize("loss", networks.FREE_LOSSES)
    @pytest.mark.parametrize("output", networks.ACTIVATIONS)
    def test_output_activations(self, isa, dtype, loss, output):
        check(networks.network((3, 9, 2), "tanh", loss, output), 11, dtype, "momentum", 3, 4)

    @pytest.mark.parametrize("batch_size", [1, 2, 31, 32, 33, 100, None])
    def test_batches(self, isa, dtype, batch_size):
        """Of 1 to all of 33 rows."""
        for sizes in networks.SIZES:
            described = networks.network(sizes, "tanh", l2=0.125)
            optimizer = list(OPTIMIZERS)[len(sizes) % len(OPTIMIZERS)]
            check(described, 33, dtype, optimizer, 2, batch_size, weighted=len(sizes) % 2 == 0)

    @pytest.mark.parametrize("n", [1, 2, 7])
    @pytest.mark.parametrize("sizes", [(1, 1), (5, 1), (4, 8, 3), (2, 17, 9, 2)], ids=str)
    def test_few_rows(self, isa, dtype, n, sizes):
        """A perceptron too, in batches of one row and of all."""
        for loss in ("mse", "binary_cross_entropy"):
            for batch_size in (1, None):
                check(networks.network(sizes, "relu", loss), n, dtype, "SGD", 5, batch_size)

    @pytest.mark.parametrize(
        ("sizes", "n", "batch_size"),
        [((64, 128, 10), 100, 32), ((17, 128, 64, 32, 8, 1), 70, 32), ((300, 500, 300, 10), 150, 64)],
        ids=str,
    )
    def test_larger(self, isa, dtype, sizes, n, batch_size):
        """Networks whose weights fill the caches; float32's amplification is the largest of very many parameters."""
        optimizer = "clipped SGD" if sizes[0] == 64 else "Adam"
        loss = "cross_entropy" if sizes[-1] > 1 else "mse"
        check(networks.network(sizes, "relu", loss), n, dtype, optimizer, 2, batch_size)

    def test_defaults(self, dtype):
        """Adam(), 32 rows, 1 epoch, shuffled."""
        described = networks.network((3, 8, 2))
        x, y, _ = networks.data(described, 100)
        one, other = networks.mlp(described, dtype), networks.mlp(described, dtype)
        history = one.fit(x, y)
        other.fit(x, y, epochs=1, batch_size=32, optimizer=fastnn.Adam(learning_rate=1e-3), shuffle=True)
        assert history.epochs == len(history.loss) == 1
        np.testing.assert_array_equal(one.parameters, other.parameters)

    def test_linear_regression_finds_the_solution(self, isa):
        """Full batches, down to the least squares that numpy.linalg.lstsq finds."""
        described = networks.network((3, 2), loss="sse")
        x, y, _ = networks.data(described, 20)
        net = networks.mlp(described)
        net.fit(x, y, epochs=3000, batch_size=None, optimizer=fastnn.SGD(0.01))
        solution = np.linalg.lstsq(np.column_stack([x, np.ones(20)]), y, rcond=None)[0]
        np.testing.assert_allclose(net.parameters, solution.ravel(), rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(300))
def test_random_networks(isa, dtype, seed, monkeypatch):
    """Of random depth, widths and options, on random numbers of rows, in batches and by threads."""
    monkeypatch.setattr("fastnn.threads.WORK_PER_THREAD", 1)
    monkeypatch.setattr("fastnn.threads.WORK_PER_STARTED_THREAD", 1)
    rng = np.random.default_rng(seed)
    widths = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 46, 64, 65, 100, 128, 130, 200, 257]
    loss = str(rng.choice(networks.LOSSES))
    sizes = [int(n) for n in rng.choice(widths, size=rng.integers(2, 7))]
    described = networks.network(
        (*sizes[:-1], max(2, min(sizes[-1], 40))),
        [str(name) for name in rng.choice(networks.ACTIVATIONS, size=len(sizes) - 2)],
        loss,
        str(rng.choice(networks.ACTIVATIONS)) if loss in networks.FREE_LOSSES else None,
        bias=bool(rng.integers(2)),
        l2=float(rng.choice([0, 0.0625])),
    )
    n = int(rng.choice([1, 2, 5, 16, 31, 32, 33, 64, 100, 129, 300]))
    batch_size = int(rng.integers(1, n + 1)) if rng.integers(4) else None
    optimizer = str(rng.choice(list(OPTIMIZERS)))
    epochs = 1 if batch_size and n / batch_size > 10 else 3
    n_threads = int(rng.integers(1, 6))
    rate = RATE / n if loss == "sse" else RATE  # or some diverge, and so does rounding
    check(described, n, dtype, optimizer, epochs, batch_size, bool(rng.integers(2)), rate, n_threads)


class TestInitialWeights:
    """Drawn from PCG64(seed), layer by layer: He's limits or Glorot's, by the layer's activation."""

    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("seed", [0, 7])
    def test_rule(self, dtype, bias, seed):
        for shift in range(len(networks.ACTIVATIONS)):
            names = np.roll(networks.ACTIVATIONS, shift).tolist()
            sizes = [5, 3, 8, 2, 7, 4, 9, 3, 6, 5, 2]
            net = fastnn.MLP(
                sizes, activation=names[:-1], output_activation=names[-1], bias=bias, dtype=dtype, seed=seed
            )
            generator = np.random.Generator(np.random.PCG64(seed))
            for i, name in enumerate(names):
                he = name in ("relu", "leaky_relu", "elu", "softplus", "gelu", "silu", "sin")
                limit = np.sqrt(6 / (sizes[i] if he else sizes[i] + sizes[i + 1]))
                drawn = generator.uniform(-limit, limit, (sizes[i], sizes[i + 1]))
                np.testing.assert_allclose(net.weights[i], drawn, rtol=2 * np.finfo(dtype).eps, atol=0)
                assert not (bias and net.biases[i].any())

    @pytest.mark.parametrize("loss", ["poisson", "binary_cross_entropy", "cross_entropy"])
    def test_outputs_of_a_loss_are_glorots(self, loss):
        net = fastnn.MLP([4, 3], loss=loss, dtype="float64", seed=3)
        limit = np.sqrt(6 / 7)
        drawn = np.random.Generator(np.random.PCG64(3)).uniform(-limit, limit, (4, 3))
        np.testing.assert_allclose(net.weights[0], drawn, rtol=4e-16)

    def test_seed_none_is_another_each_time(self):
        one, other = (fastnn.MLP([3, 2]) for _ in range(2))
        assert (one.parameters != other.parameters).any()


def visited(net, epochs=1, **options):
    """The order in which fit takes 10 rows, one list an epoch.

    With x = 1, sum of squares and a learning rate of 15/32 a step makes of the only weight w / 16 + 15 / 16 y: it puts
    y before the hexadecimal digits that are there, exactly.
    """
    orders = []
    for _ in range(epochs):
        net.parameters[...] = 0
        net.fit(np.ones((10, 1)), np.arange(10), batch_size=1, optimizer=fastnn.SGD(15 / 32), **options)
        digits = float(net.parameters[0]) * 16**10 / 15
        assert digits == int(digits)
        orders.append([int(digits) // 16**place % 16 for place in range(10)])
    return orders


def counter(seed=0):
    return fastnn.MLP([1, 1], loss="sse", bias=False, dtype="float64", seed=seed)


class TestShuffle:
    """A fresh permutation each epoch."""

    def test_off(self, isa):
        assert visited(counter(), 3, shuffle=False) == [list(range(10))] * 3

    def test_every_row_once_and_another_order_each_epoch(self, isa):
        orders = visited(counter(), 50)
        assert all(sorted(order) == list(range(10)) for order in orders)
        assert len({tuple(order) for order in orders}) == 50

    def test_by_the_seed(self):
        assert visited(counter(1), 5) == visited(counter(1), 5)
        assert visited(counter(1), 5) != visited(counter(2), 5)

    def test_every_row_in_every_place(self):
        """100 times each is expected in 1000 epochs; 4.9 standard deviations, 46, are exceeded once in 10^4 seeds."""
        orders = np.array(visited(counter(), 1000))
        for place in range(10):
            counts = np.bincount(orders[:, place], minlength=10)
            assert np.abs(counts - 100).max() < 46, place

    @pytest.mark.parametrize("batch_size", [1, 3, 32, 99, 100, None])
    def test_every_row_once_in_batches(self, isa, dtype, batch_size):
        """Each row moves a weight of its own, by the same step whenever it comes, for sse has no mean."""
        net = fastnn.MLP([100, 1], loss="sse", bias=False, dtype=dtype, seed=0)
        net.parameters[...] = 0
        for epoch in range(1, 4):
            net.fit(np.eye(100), np.ones(100), batch_size=batch_size, optimizer=fastnn.SGD(0.25))
            np.testing.assert_array_equal(net.parameters, 1 - 0.5**epoch)

    def test_rows_keep_their_targets_and_weights(self, isa, dtype):
        """What was shuffled is what the reference does in the order that another network, of the same seed, shows."""
        orders = visited(counter(5), 4)
        described = networks.network((1, 1), loss="mse", bias=False)
        x, y, w = networks.data(described, 10)
        net = fastnn.MLP([1, 1], bias=False, dtype=dtype, seed=5)
        net.parameters[...] = 0.5
        net.fit(x, y, sample_weight=w + 1, epochs=4, batch_size=3, optimizer=fastnn.SGD(0.125))
        fit = reference.fit(described, np.array([0.5]), x, y, reference.SGD(), np.array(orders), 0.125, 3, w + 1)
        np.testing.assert_allclose(net.parameters, fit.parameters, rtol=200 * np.finfo(dtype).eps)


SCHEDULES = {
    "Constant": lambda: fastnn.Constant(0.1),
    "StepDecay": lambda: fastnn.StepDecay(0.1, 0.5, 2),
    "ExponentialDecay": lambda: fastnn.ExponentialDecay(0.1, 0.9),
    "InverseScaling": lambda: fastnn.InverseScaling(0.1, 0.5),
    "CosineDecay": lambda: fastnn.CosineDecay(0.1, 6, 0.01),
    "WarmUp": lambda: fastnn.WarmUp(3, fastnn.StepDecay(0.1, 0.5, 2)),
}


class TestLearningRate:
    """Schedules, which map the epoch's number to its learning rate."""

    @pytest.mark.parametrize("name", SCHEDULES)
    def test_schedules(self, dtype, name):
        schedule = SCHEDULES[name]()
        described = networks.network((3, 7, 2), "tanh")
        x, y, _ = networks.data(described, 13)
        net = networks.mlp(described, dtype)
        history = net.fit(x, y, epochs=8, batch_size=5, optimizer=fastnn.SGD(schedule), shuffle=False)
        rates = [float(schedule(epoch)) for epoch in range(8)]
        np.testing.assert_array_equal(history.learning_rate, rates)
        assert_near(net, history, *expected(described, 13, "SGD", 8, 5, False, tuple(rates), dtype), name)

    def test_a_number(self):
        history = counter().fit([[1]], [[1]], epochs=3, optimizer=fastnn.SGD(0.25))
        np.testing.assert_array_equal(history.learning_rate, [0.25] * 3)

    def test_epochs_count_over_fits(self):
        net = counter()
        optimizer = fastnn.SGD(fastnn.StepDecay(1.0, 0.5, 2))
        rates = [net.fit([[1]], [[1]], epochs=n, optimizer=optimizer).learning_rate for n in (1, 3, 2)]
        np.testing.assert_array_equal(np.concatenate(rates), [1, 1, 0.5, 0.5, 0.25, 0.25])

    def test_another_optimizer_begins_anew(self):
        net = counter()
        net.fit([[1]], [[1]], epochs=3, optimizer=fastnn.SGD(fastnn.StepDecay(1.0, 0.5, 2)))
        history = net.fit([[1]], [[1]], epochs=3, optimizer=fastnn.SGD(fastnn.StepDecay(2.0, 0.5, 2)))
        np.testing.assert_array_equal(history.learning_rate, [2, 2, 1])

    def test_zero_changes_nothing(self, dtype):
        net = fastnn.MLP([3, 4, 2], dtype=dtype, seed=0)
        before = net.parameters.copy()
        net.fit(np.ones((5, 3)), np.ones((5, 2)), epochs=2, optimizer=fastnn.AdamW(0.0))
        np.testing.assert_array_equal(net.parameters, before)

    def test_reduce_on_plateau(self):
        """A loss of zero cannot fall, which brings the rate down, also where one fit follows another."""
        net = counter()
        net.parameters[...] = 1
        optimizer = fastnn.SGD(fastnn.ReduceOnPlateau(0.25, factor=0.5, patience=3))
        histories = [net.fit([[1]], [[1]], epochs=n, optimizer=optimizer) for n in (2, 15)]
        # the first epoch is good, then each fourth that is not reduces the next one's
        rates = np.concatenate([history.learning_rate for history in histories])
        np.testing.assert_array_equal(rates, 0.25 * 0.5 ** np.floor_divide(np.arange(17) - 1, 4).clip(0))


class TestHistory:
    """One entry an epoch."""

    @pytest.mark.parametrize("epochs", [1, 2, 17])
    def test_lengths(self, dtype, epochs):
        described = networks.network((3, 4, 2))
        x, y, w = networks.data(described, 20)
        history = networks.mlp(described, dtype).fit(x, y, epochs=epochs, validation_data=(x, y, w))
        assert history.epochs == epochs
        for name in ("loss", "validation_loss", "learning_rate", "seconds"):
            entries = getattr(history, name)
            assert (entries.shape, entries.dtype) == ((epochs,), np.float64), name
            assert np.isfinite(entries).all(), name
        assert history.stopped_by is None
        assert (history.seconds >= 0).all()

    def test_loss_of_a_full_batch_is_that_before_the_update(self, isa, dtype):
        described = networks.network((3, 7, 2), "tanh", "huber", l2=0.125)
        x, y, w = networks.data(described, 40)
        net = networks.mlp(described, dtype)
        for _ in range(3):
            before = net.loss(x, y, sample_weight=w)
            history = net.fit(x, y, sample_weight=w, batch_size=None, shuffle=False)
            assert history.loss[0] == pytest.approx(before, rel=40 * float(np.finfo(dtype).eps))

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("loss", networks.LOSSES)
    def test_validation_loss_is_that_after_each_epoch(self, isa, dtype, loss, weighted):
        described = networks.network((3, 7, 2), "tanh", loss, l2=0.125)
        x, y, _ = networks.data(described, 40)
        validation = networks.data(described, 70, seed=1)[: 3 if weighted else 2]
        one, other = networks.mlp(described, dtype), networks.mlp(described, dtype)
        history = one.fit(x, y, epochs=4, validation_data=validation)
        for epoch in range(4):
            other.fit(x, y)
            given = dict(zip(("X", "y", "sample_weight"), validation, strict=False))
            found = other.loss(given["X"], given["y"], sample_weight=given.get("sample_weight"))
            assert history.validation_loss[epoch] == found
        np.testing.assert_array_equal(one.parameters, other.parameters)

    def test_validation_does_not_disturb(self, dtype):
        described = networks.network((3, 7, 2), "tanh")
        x, y, _ = networks.data(described, 40)
        one, other = networks.mlp(described, dtype), networks.mlp(described, dtype)
        histories = one.fit(x, y, epochs=3, validation_data=(x[:5], y[:5])), other.fit(x, y, epochs=3)
        np.testing.assert_array_equal(one.parameters, other.parameters)
        np.testing.assert_array_equal(histories[0].loss, histories[1].loss)


class TestEarlyStopping:
    """More than so many epochs without a lower loss, of the validation data or of the training."""

    @staticmethod
    def fit(patience, validated, epochs=200, **options):
        described = networks.network((2, 30, 1), "tanh")
        x, y, _ = networks.data(described, 10)
        validation = networks.data(described, 10, seed=1)[:2] if validated else None
        net = networks.mlp(described)
        arguments = {"batch_size": 5, "shuffle": False, "optimizer": fastnn.SGD(0.125), "validation_data": validation}
        stopping = fastnn.EarlyStopping(patience, monitor="validation_loss" if validated else "loss", **options)
        history = net.fit(x, y, epochs=epochs, early_stopping=stopping, **arguments)
        orders = [np.arange(10)] * 200
        wanted = reference.fit(
            described, networks.parameters(described), x, y, reference.SGD(), orders, 0.125, 5, None, None, validation,
            patience,
        )  # fmt: skip
        return net, history, wanted, (x, y, arguments)

    @pytest.mark.parametrize("validated", [False, True])
    @pytest.mark.parametrize("patience", [0, 1, 5, 20])
    def test_against_the_reference(self, isa, patience, validated):
        net, history, wanted, _ = self.fit(patience, validated)
        assert history.epochs == len(history.loss) == len(wanted.loss)
        assert history.best_epoch == wanted.best_epoch
        assert history.stopped_by == ("early_stopping" if len(wanted.loss) < 200 else None)
        np.testing.assert_allclose(net.parameters, wanted.parameters, rtol=0, atol=1e-10)
        if validated:
            assert history.best_epoch == np.argmin(history.validation_loss)

    @pytest.mark.parametrize(
        ("patience", "min_delta", "losses", "expected"),
        [
            (0, 0, [3, 2, 2, 1], 3),
            (1, 0, [3, 2, 2, 1, 1, 1], 6),
            (2, 0, [1, 1, 1], None),
            (2, 0, [1, 1, 1, 1], 4),
            (0, 0.5, [3, 2.5], 2),
            (0, 0.5, [3, 2.25, 1.5], None),
            (1, 0.5, [3, 2.75, 2.25, 2, 1.5, 0], None),  # small steps add up
        ],
    )
    def test_what_counts_as_lower(self, isa, patience, min_delta, losses, expected):
        """The loss is the only weight, which a callback sets."""

        def set_next(net, history):
            if history.epochs < len(losses):
                net.parameters[0] = losses[history.epochs]

        net = fastnn.MLP([1, 1], bias=False, loss="mae", dtype="float64")
        net.parameters[0] = losses[0]
        stopping = fastnn.EarlyStopping(patience, min_delta=min_delta, monitor="loss")
        history = net.fit(
            [[1]],
            [0],
            epochs=len(losses),
            optimizer=fastnn.SGD(1e-300),
            early_stopping=stopping,
            callbacks=set_next,
        )
        assert history.loss.tolist() == losses[: history.epochs]
        assert history.epochs == (expected or len(losses))
        assert history.stopped_by == ("early_stopping" if expected else None)

    def test_restores_the_best_weights_to_the_bit(self):
        net, history, _, (x, y, arguments) = self.fit(5, True)
        assert history.stopped_by == "early_stopping"
        assert history.best_epoch < history.epochs - 1
        twin = networks.mlp(networks.network((2, 30, 1), "tanh"))
        twin.fit(x, y, epochs=history.best_epoch + 1, **arguments)
        np.testing.assert_array_equal(net.parameters, twin.parameters)
        assert net.loss(*arguments["validation_data"]) == history.validation_loss.min()

    def test_restores_them_too_where_the_epochs_run_out(self):
        net, history, _, (_, _, arguments) = self.fit(5, True, epochs=6)
        assert (history.epochs, history.stopped_by) == (6, None)
        assert history.best_epoch < 5
        assert net.loss(*arguments["validation_data"]) == history.validation_loss.min()

    def test_restores_them_too_after_an_error_in_a_callback(self):
        net, histories = networks.mlp(networks.network((2, 30, 1), "tanh")), []
        x, y, arguments = self.fit(5, True)[-1]

        def fail(net, history):
            histories.append(history)
            if history.epochs == 6:
                raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            net.fit(x, y, epochs=9, early_stopping=fastnn.EarlyStopping(5), callbacks=fail, **arguments)
        assert histories[-1].best_epoch < 5
        assert net.loss(*arguments["validation_data"]) == histories[-1].validation_loss.min()

    @pytest.mark.parametrize("restore_best", [True, False])
    def test_restores_them_too_after_divergence(self, restore_best):
        """The losses are 3, 1, 2 and infinite, by the only weight, which a callback sets."""
        net, losses = fastnn.MLP([1, 1], bias=False, loss="mae", dtype="float64"), [3.0, 1.0, 2.0, 1e308]
        net.parameters[0] = losses[0]

        def set_next(net, history):
            net.parameters[0] = losses[history.epochs]

        stopping = fastnn.EarlyStopping(9, monitor="loss", restore_best=restore_best)
        options = {"optimizer": fastnn.SGD(1e-300), "early_stopping": stopping, "callbacks": set_next}
        kept = "of epoch 1, the best one" if restore_best else "from before that epoch"
        with pytest.raises(FloatingPointError, match=f"in epoch 3; the parameters are those {kept}"):
            net.fit([[10.0]], [0], epochs=9, **options)
        assert net.parameters[0] == (1.0 if restore_best else 1e308)

    def test_or_keeps_the_last(self):
        net, history, _, (x, y, arguments) = self.fit(5, True, restore_best=False)
        twin = networks.mlp(networks.network((2, 30, 1), "tanh"))
        twin.fit(x, y, epochs=history.epochs, **arguments)
        np.testing.assert_array_equal(net.parameters, twin.parameters)


class TestMaxTime:
    """A fit may be given seconds."""

    def test_ends_the_fit(self):
        net = fastnn.MLP([10, 32, 1], seed=0)
        start = time.perf_counter()
        history = net.fit(np.ones((500, 10)), np.ones(500), epochs=10**9, max_time=0.2)
        elapsed = time.perf_counter() - start
        assert history.stopped_by == "max_time"
        assert 0.15 < elapsed < 20  # the upper bound is for loaded machines
        assert history.epochs == len(history.loss) > 0

    def test_plenty(self):
        history = counter().fit([[1]], [[1]], epochs=3, max_time=1e6)
        assert (history.epochs, history.stopped_by) == (3, None)


class TestCallbacks:
    """Called once an epoch, with the network and the history so far."""

    def test_sees_each_epoch(self):
        described = networks.network((3, 7, 2), "tanh")
        x, y, _ = networks.data(described, 40)
        net, twin = networks.mlp(described), networks.mlp(described)
        seen = []

        def callback(called, history):
            assert called is net
            seen.append((history.epochs, history.loss[-1], called.parameters.copy(), called.loss(x, y)))

        history = net.fit(x, y, epochs=4, callbacks=[callback])
        assert [entry[0] for entry in seen] == [1, 2, 3, 4]
        np.testing.assert_array_equal([entry[1] for entry in seen], history.loss)
        for _, _, parameters, loss in seen:
            twin.fit(x, y)
            np.testing.assert_array_equal(parameters, twin.parameters)
            assert loss == twin.loss(x, y)
        np.testing.assert_array_equal(net.parameters, twin.parameters)

    @pytest.mark.parametrize("answer", [None, False, True])
    def test_true_stops(self, answer):
        net = counter()
        callbacks = (lambda net, history: answer if history.epochs == 2 else None,)
        history = net.fit([[1]], [[1]], epochs=5, callbacks=callbacks)
        assert (history.epochs, history.stopped_by) == ((2, "callback") if answer else (5, None))

    def test_all_are_called(self):
        calls = []
        callbacks = [lambda *_, i=i: calls.append(i) or i == 0 for i in range(3)]
        counter().fit([[1]], [[1]], epochs=5, callbacks=callbacks)
        assert calls == [0, 1, 2]

    def test_an_error_is_the_callers(self):
        net, twin = counter(), counter()

        def fail(net, history):
            if history.epochs == 3:
                raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            net.fit([[1]], [[2]], epochs=5, callbacks=[fail])
        twin.fit([[1]], [[2]], epochs=3)
        np.testing.assert_array_equal(net.parameters, twin.parameters)
        net.fit([[1]], [[2]])  # it is not thought to be in use
        twin.fit([[1]], [[2]])
        np.testing.assert_array_equal(net.parameters, twin.parameters)

    def test_may_edit_the_parameters(self):
        net = counter()

        def reset(net, history):
            net.parameters[...] = 0

        net.fit([[1]], [[1]], epochs=3, optimizer=fastnn.SGD(0.25), callbacks=[reset])
        assert net.parameters[0] == 0


class TestDropout:
    """Activations of hidden layers are zeroed at random in training, the others scaled up."""

    @staticmethod
    def build(rate, units=40, dtype="float64", seed=0, n=16):
        """Build a network in which each row has inputs of its own, so that the first weights' step shows the masks."""
        net = fastnn.MLP([n, units, 1], activation="identity", loss="sse", dropout=rate, dtype=dtype, seed=seed)
        net.parameters[...] = 1
        return net

    @staticmethod
    def step_and_masks(net, rate):
        """Do one step on all rows and read the masks from the weights that moved."""
        n = len(net.weights[0])
        before = net.weights[0].copy()
        net.fit(np.eye(n), np.zeros(n), batch_size=None, shuffle=False, optimizer=fastnn.SGD(2.0**-20))
        return (net.weights[0] != before) / (1 - rate)

    @pytest.mark.parametrize("rate", [0.25, 0.5, 0.75])
    def test_steps_are_the_references(self, isa, rate):
        """Given the masks that were seen."""
        net = self.build(rate)
        described = reference.Network((16, 40, 1), ("identity", "identity"), "sse")
        parameters = net.parameters.copy()
        for _ in range(3):
            masks = [self.step_and_masks(net, rate)]
            parameters -= (
                2.0**-20 * reference.gradients(described, parameters, np.eye(16), np.zeros((16, 1)), masks=masks)[0]
            )
            np.testing.assert_allclose(net.parameters, parameters, rtol=1e-14)

    @pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
    def test_share_that_is_dropped(self, dtype, rate):
        """Within 4.5 standard deviations of a binomial variable, over rows, units and steps."""
        net = self.build(rate, units=100, dtype=dtype)
        dropped = np.array([self.step_and_masks(net, rate) == 0 for _ in range(10)])
        for axes in ((0, 1, 2), (1, 2), (0, 2), (0, 1)):
            count = dropped.size / np.mean(dropped, axis=axes).size
            deviation = np.abs(dropped.mean(axis=axes) - rate).max() / np.sqrt(rate * (1 - rate) / count)
            assert deviation < 4.5, axes

    def test_expectation(self):
        """The mean loss of a linear network that learns nothing: its output's variance, as the mean output is right."""
        net = self.build(0.5, units=4, n=1)
        net.parameters[...] = [1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0]
        history = net.fit([[1]], [[4]], epochs=20_000, optimizer=fastnn.SGD(0.0))
        # the output is 2 b for a binomial b of 4 at 1/2: expectation 4, variance 4, and that of its square 32 - 2 * 4
        assert history.loss.mean() == pytest.approx(4, abs=4.5 * np.sqrt(24 / 20_000))
        assert set(history.loss) == {0.0, 4.0, 16.0}

    def test_masks_differ_between_steps_rows_and_seeds(self):
        net = self.build(0.5)
        first, second = self.step_and_masks(net, 0.5), self.step_and_masks(net, 0.5)
        assert (first != second).any()
        assert (first[0] != first[1]).any()
        assert (first != self.step_and_masks(self.build(0.5, seed=1), 0.5)).any()

    def test_reproducible(self, dtype):
        described = networks.network((3, 20, 30, 2), "relu")
        x, y, _ = networks.data(described, 40)
        one, other = (networks.mlp(described, dtype, dropout=0.25) for _ in range(2))
        for net in (one, other):
            net.fit(x, y, epochs=5)
        np.testing.assert_array_equal(one.parameters, other.parameters)

    def test_zero_is_none(self):
        described = networks.network((3, 20, 2), "relu")
        x, y, _ = networks.data(described, 40)
        one, other = networks.mlp(described, dropout=0.0), networks.mlp(described)
        for net in (one, other):
            net.fit(x, y, epochs=5)
        np.testing.assert_array_equal(one.parameters, other.parameters)

    def test_a_perceptron_has_nothing_to_drop(self):
        """Neither the inputs nor the outputs."""
        described = networks.network((3, 2))
        x, y, _ = networks.data(described, 40)
        one, other = networks.mlp(described, dropout=0.5), networks.mlp(described)
        for net in (one, other):
            net.fit(x, y, epochs=2, shuffle=False)
        np.testing.assert_array_equal(one.parameters, other.parameters)

    def test_validation_does_not_drop(self):
        described = networks.network((3, 20, 2), "relu")
        x, y, _ = networks.data(described, 40)
        net = networks.mlp(described, dropout=0.5)
        history = net.fit(x, y, validation_data=(x, y))
        assert history.validation_loss[0] == net.loss(x, y)


class TestDivergence:
    """A loss that is not finite ends the fit, and the parameters go back to those of the last finite epoch."""

    @pytest.mark.parametrize("batch_size", [3, None])
    def test_names_the_epoch(self, isa, dtype, batch_size):
        described = networks.network((2, 3, 1), "identity")
        x, y, _ = networks.data(described, 10)
        options = {"batch_size": batch_size, "optimizer": fastnn.SGD(1.0)}
        net = networks.mlp(described, dtype)
        with np.errstate(all="raise"), pytest.raises(FloatingPointError, match=r"epoch \d+") as error:
            net.fit(x, y, epochs=10_000, **options)
        epoch = int(str(error.value).split("epoch ")[1].split()[0].rstrip(":;,."))
        assert np.isfinite(net.parameters).all()
        twin = networks.mlp(described, dtype)
        if epoch > 0:
            history = twin.fit(x, y, epochs=epoch, **options)
            assert np.isfinite(history.loss).all()
        np.testing.assert_array_equal(net.parameters, twin.parameters)
        net.parameters[...] = 0
        net.fit(x, y, optimizer=fastnn.SGD(1e-3))  # and goes on

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_parameters_that_are_not_finite_already(self, bad):
        net = fastnn.MLP([2, 3, 1], activation="identity", seed=0)
        net.parameters[0] = bad
        before = net.parameters.copy()
        with pytest.raises(FloatingPointError, match="epoch 0"):
            net.fit(np.ones((4, 2)), np.ones(4))
        np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize(
    "optimizer",
    [fastnn.SGD(momentum=0.9), fastnn.RMSProp(alpha=0.9), fastnn.Adam(beta_2=0.9)],
    ids=lambda o: type(o).__name__,
)
def test_moments_of_what_no_longer_learns_end_as_zero(isa, dtype, optimizer, rows):
    """Rounded to nearest they would stay at the smallest subnormal numbers, with which some processors are slow."""
    net = fastnn.MLP([1, 1], bias=False, dtype=dtype.name, seed=0)
    data = {"batch_size": 1, "optimizer": optimizer}
    net.fit(np.ones((rows, 1)), np.ones(rows), **data)
    moments = net._descent.to_state()[1]
    assert all(moment.all() for moment in moments.values())
    net.fit(np.zeros((rows, 1)), np.ones(rows), epochs=10_000 // rows, **data)
    for name, moment in net._descent.to_state()[1].items():
        np.testing.assert_array_equal(moment, 0, err_msg=name)
