"""Law 1, the same bits for every instruction set, number of threads and neighbourhood; law 5, resuming is exact."""

import copy
import functools
import pickle

import networks
import numpy as np
import pytest

import fastnn
from fastnn import _kernels

# from what fits in registers to what no cache holds, as fastnn has other ways for them
REGIMES = {
    "perceptron": (5, 1),
    "tiny": (3, 4, 1),
    "small": (8, 32, 16, 1),
    "narrow and deep": (10, 46, 1, 7, 46, 3),
    "medium": (64, 128, 10),
    "long rows": (150, 40, 3),
    "wide": (300, 500, 300, 10),
}
FEW_OUTPUTS = (6, 20, 8, 2, 3, 17, 1)
THREADS = [1, 2, 3, 5]


@pytest.fixture
def every_thread_works(monkeypatch):
    """Let small networks use as many threads as they are told to."""
    monkeypatch.setattr("fastnn.threads.WORK_PER_THREAD", 1)
    monkeypatch.setattr("fastnn.threads.WORK_PER_STARTED_THREAD", 1)


def results(described, dtype, n, n_threads=None, optimizer=None, **options):
    """All that a network gives, by name: predictions, losses, gradients, and a fit with what can be asked of it."""
    x, y, w = networks.data(described, n)
    net = networks.mlp(described, dtype, seed=3, **options)
    found = {
        "predict": net.predict(x, n_threads=n_threads),
        "loss": net.loss(x, y, sample_weight=w, n_threads=n_threads),
        "jacobian": net.jacobian(x[:40]),
        "input_gradient": net.input_gradient(x[:40], y[:40]),
    }
    found["its loss"], found["gradient"] = net.loss_and_gradient(x, y, sample_weight=w, n_threads=n_threads)
    history = net.fit(
        x,
        y,
        sample_weight=w,
        epochs=2,
        batch_size=max(1, n // 2 - 1),
        optimizer=optimizer or fastnn.AdamW(0.01, clip_norm=1.0),
        validation_data=(x[::-1], y[::-1]),
        n_threads=n_threads,
    )
    found |= {"parameters": net.parameters, "losses": history.loss, "validation": history.validation_loss}
    return found


def assert_same(found, expected, what):
    for name, value in expected.items():
        assert np.asarray(found[name]).tobytes() == np.asarray(value).tobytes(), f"{what}: {name}"


def assert_pieces_make_the_whole(described, dtype, n, batch_size, optimizer):
    """Compare fits that use pieces of the gradient as they are made with one that has all of it first, for its norm."""
    x, y, _ = networks.data(described, n)
    expected = networks.mlp(described, dtype, seed=3)
    options = {"batch_size": batch_size, "epochs": 2}
    history = expected.fit(x, y, optimizer=optimizer(1e-4, clip_norm=1e30), n_threads=1, **options)
    for n_threads in (1, 3):
        net = networks.mlp(described, dtype, seed=3)
        found = net.fit(x, y, optimizer=optimizer(1e-4), n_threads=n_threads, **options)
        np.testing.assert_array_equal(net.parameters, expected.parameters)
        np.testing.assert_array_equal(found.loss, history.loss)


def each_isa():
    before = fastnn.isa()
    try:
        for name in _kernels.available_isas():
            _kernels.select(name)
            yield name
    finally:
        _kernels.select(before)


class TestInstructionSets:
    """The bits of all tables."""

    @pytest.mark.parametrize("regime", REGIMES)
    @pytest.mark.parametrize("n", [5, 70])
    def test_regimes(self, dtype, regime, n):
        n = min(n, 34) if regime == "wide" else n
        loss = "cross_entropy" if REGIMES[regime][-1] > 1 else "binary_cross_entropy"
        described = networks.network(REGIMES[regime], "relu", loss, l2=0.125)
        first = None
        for isa in each_isa():
            found = results(described, dtype, n)
            first = first or found
            assert_same(found, first, isa)

    @pytest.mark.parametrize("n", [15, 16, 17, 63, 64, 65, 127, 128, 129, 300])
    def test_few_outputs(self, dtype, n):
        """Whose gradients are added up in the lanes, of which the last rows fill a part."""
        described = networks.network(FEW_OUTPUTS, "tanh")
        first = None
        for isa in each_isa():
            found = results(described, dtype, n)
            first = first or found
            assert_same(found, first, isa)

    @pytest.mark.parametrize("hidden", [4, 8, 9, 16])
    def test_the_textbooks_network(self, dtype, hidden):
        """Some tables train it in registers, unless there is something to watch: the same parameters, and losses."""
        described = networks.network((3, hidden, 1), "sigmoid", "sse", "sigmoid", bias=False)
        x, y, _ = networks.data(described, 4)
        first = None
        for isa in each_isa():
            for options in ({}, {"validation_data": (x, y)}):
                net = networks.mlp(described, dtype)
                history = net.fit(x, y, epochs=50, batch_size=4, optimizer=fastnn.SGD(0.1), shuffle=False, **options)
                powers = net._descent.to_state()[0]["beta_powers"]  # which a file has too
                found = {"losses": history.loss, "parameters": net.parameters, "powers": powers}
                first = first or found
                assert_same(found, first, f"{isa}, {options.keys()}")

    @pytest.mark.parametrize("loss", networks.LOSSES)
    @pytest.mark.parametrize("activation", networks.ACTIVATIONS)
    def test_losses_and_activations(self, dtype, loss, activation):
        optimizers = [fastnn.SGD(0.01, momentum=0.5), fastnn.SGD(0.01), fastnn.RMSProp(), fastnn.Adam()]
        case = networks.LOSSES.index(loss) + networks.ACTIVATIONS.index(activation)
        output = activation if loss in networks.FREE_LOSSES else None
        described = networks.network((5, 19, 9, 3), activation, loss, output, l2=0.125, bias=case % 3 > 0)
        first = None
        for isa in each_isa():
            found = results(described, dtype, 41, optimizer=optimizers[case % 4], dropout=0.25 * (case % 2))
            first = first or found
            assert_same(found, first, isa)


@pytest.mark.usefixtures("every_thread_works")
class TestThreads:
    """The bits of one thread."""

    @pytest.mark.parametrize("regime", REGIMES)
    @pytest.mark.parametrize("n", [5, 70, 300])
    def test_regimes(self, dtype, regime, n):
        loss = "cross_entropy" if REGIMES[regime][-1] > 1 else "binary_cross_entropy"
        described = networks.network(REGIMES[regime], "relu", loss, l2=0.125)
        if n == 300 and regime == "wide":
            pytest.skip("seconds, and the others cover it")
        expected = results(described, dtype, n, n_threads=1, dropout=0.25)
        for n_threads in THREADS[1:]:
            assert_same(
                results(described, dtype, n, n_threads=n_threads, dropout=0.25), expected, f"{n_threads} threads"
            )

    def test_many_rows(self, isa, dtype):
        """More than a block of the workspace holds, in one batch."""
        described = networks.network((4, 32, 16, 4), "tanh", "mse")
        expected = results(described, dtype, 2500, n_threads=1)
        for n_threads in THREADS[1:]:
            assert_same(results(described, dtype, 2500, n_threads=n_threads), expected, f"{n_threads} threads")

    @pytest.mark.parametrize("n", [64, 129, 700])
    def test_few_outputs(self, isa, dtype, n):
        described = networks.network(FEW_OUTPUTS, "tanh")
        expected = results(described, dtype, n, n_threads=1)
        for n_threads in THREADS[1:]:
            assert_same(results(described, dtype, n, n_threads=n_threads), expected, f"{n_threads} threads")

    def test_no_penalty_no_clipping(self, dtype):
        """Without them a step waits for nothing between gradient and update."""
        described = networks.network((17, 64, 6), "relu")
        for name in ("SGD", "momentum", "RMSProp", "Adam"):
            optimizer = OPTIMIZERS[name]()
            expected = results(described, dtype, 200, n_threads=1, optimizer=optimizer)
            for n_threads in THREADS[1:]:
                found = results(described, dtype, 200, n_threads=n_threads, optimizer=optimizer)
                assert_same(found, expected, f"{name}, {n_threads} threads")

    @pytest.mark.parametrize(
        "optimizer",
        [fastnn.SGD, functools.partial(fastnn.SGD, momentum=0.9), fastnn.RMSProp, fastnn.Adam, fastnn.AdamW],
        ids=["SGD", "momentum", "RMSProp", "Adam", "AdamW"],
    )
    @pytest.mark.parametrize(("l2", "bias"), [(0.0, True), (0.01, True), (0.01, False)])
    @pytest.mark.parametrize("sizes", [(1, 1), (17, 64, 6), (200, 500, 11), (700, 130, 1)], ids=str)
    def test_the_whole_gradient_or_its_pieces(self, dtype, sizes, optimizer, l2, bias):
        """Each piece is used at once, with the penalty's share, unless a norm may be clipped; here none is.

        The larger networks are just large enough for several pieces in each of three threads.
        """
        described = networks.network(sizes, "relu", bias=bias, l2=l2)
        for n, batch_size in ((20, 9), (80, 70)):
            assert_pieces_make_the_whole(described, dtype, n, batch_size, optimizer)

    @pytest.mark.parametrize("sizes", [(600, 500, 11), (2300, 130, 1)], ids=str)
    @pytest.mark.parametrize("l2", [0.0, 0.01])
    def test_pieces_of_a_large_network(self, dtype, sizes, l2):
        """From 1 MiB on, batches of more rows than 128 go through at once, and a piece is added up in several turns."""
        assert_pieces_make_the_whole(networks.network(sizes, "relu", l2=l2), dtype, 150, 140, fastnn.Adam)

    def test_more_threads_than_rows_or_parameters(self):
        described = networks.network((1, 1))
        assert_same(results(described, "float64", 2, n_threads=64), results(described, "float64", 2, n_threads=1), "64")


class TestRows:
    """A row's prediction does not depend on the rows around it."""

    @pytest.mark.parametrize("regime", REGIMES)
    def test_slices(self, isa, dtype, regime):
        described = networks.network(REGIMES[regime], "tanh", "mse")
        net = networks.mlp(described, dtype)
        n = 300 if regime != "wide" else 40
        x, _, _ = networks.data(described, n)
        expected = net.predict(x)
        rng = np.random.default_rng(0)
        lengths = [length for length in (1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65) if length < n]
        for length in lengths:
            for first in (0, n - length, *rng.integers(0, n - length, 3)):
                rows = slice(first, first + length)
                np.testing.assert_array_equal(net.predict(x[rows]), expected[rows], err_msg=str(rows))
        some = rng.permutation(n)[: n // 2]
        np.testing.assert_array_equal(net.predict(x[some]), expected[some])

    @pytest.mark.parametrize("regime", REGIMES)
    def test_jacobians_too(self, dtype, regime):
        described = networks.network(REGIMES[regime], "tanh", "mse")
        net = networks.mlp(described, dtype)
        x, _, _ = networks.data(described, 40)
        expected = net.jacobian(x)
        for rows in (slice(0, 1), slice(7, 24), slice(39, 40)):
            np.testing.assert_array_equal(net.jacobian(x[rows]), expected[rows])

    @pytest.mark.parametrize("regime", REGIMES)
    @pytest.mark.parametrize("loss", ["mse", "cross_entropy", "poisson"])
    def test_predictor(self, isa, dtype, regime, loss):
        described = networks.network(REGIMES[regime], "gelu", loss)
        net = networks.mlp(described, dtype)
        x, _, _ = networks.data(described, 40)
        x = x.astype(dtype)
        predict = net.predictor()
        found = np.array([predict(row) for row in x])
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, net.predict(x))


SPLITS = [(5, 5), (1, 9), (3, 3, 4), (1,) * 10]


def save_and_load(net, folder):
    net.save(folder / "net.npz")
    return fastnn.MLP.load(folder / "net.npz")


INTERRUPTIONS = {
    "none": lambda net, folder: net,
    "save and load": save_and_load,
    "pickle": lambda net, folder: pickle.loads(pickle.dumps(net)),
    "deepcopy": lambda net, folder: copy.deepcopy(net),
    "predict": lambda net, folder: net.predict(np.ones((3, 3))) is None or net,
    "loss_and_gradient": lambda net, folder: net.loss_and_gradient(np.ones((3, 3)), np.zeros((3, 2))) is None or net,
}
OPTIMIZERS = {
    "SGD": lambda: fastnn.SGD(0.01),
    "momentum": lambda: fastnn.SGD(0.01, momentum=0.9),
    "nesterov": lambda: fastnn.SGD(0.01, momentum=0.9, nesterov=True, clip_norm=0.5),
    "RMSProp": lambda: fastnn.RMSProp(0.01),
    "Adam": lambda: fastnn.Adam(0.01),
    "AdamW": lambda: fastnn.AdamW(0.01, clip_norm=0.5),
    "StepDecay": lambda: fastnn.Adam(fastnn.StepDecay(0.1, 0.5, 3)),
    "WarmUp": lambda: fastnn.SGD(fastnn.WarmUp(4, fastnn.CosineDecay(0.1, 5))),
    "ReduceOnPlateau": lambda: fastnn.SGD(fastnn.ReduceOnPlateau(2.0, factor=0.5, patience=1), clip_norm=0.5),
    "None": lambda: None,
}


class TestResuming:
    """Training in parts is training at once, to the bit."""

    @pytest.mark.parametrize("interruption", INTERRUPTIONS)
    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_in_parts(self, dtype, optimizer, interruption, tmp_path):
        described = networks.network((3, 20, 9, 2), "relu", l2=0.125)
        x, y, w = networks.data(described, 45)
        options = {"batch_size": 10, "sample_weight": w, "validation_data": (x[:9], y[:9])}
        whole = networks.mlp(described, dtype, dropout=0.25)
        history = whole.fit(x, y, epochs=10, optimizer=OPTIMIZERS[optimizer](), **options)
        for split in SPLITS[:2] if interruption == "save and load" else SPLITS:  # a file waits for the disk
            net, histories = networks.mlp(described, dtype, dropout=0.25), []
            for epochs in split:
                histories.append(net.fit(x, y, epochs=epochs, optimizer=OPTIMIZERS[optimizer](), **options))
                net = INTERRUPTIONS[interruption](net, tmp_path)
            np.testing.assert_array_equal(net.parameters, whole.parameters, err_msg=str(split))
            for name in ("loss", "validation_loss", "learning_rate"):
                found = np.concatenate([getattr(h, name) for h in histories])
                np.testing.assert_array_equal(found, getattr(history, name), err_msg=f"{split}, {name}")

    @pytest.mark.parametrize("regime", REGIMES)
    def test_regimes(self, isa, dtype, regime):
        described = networks.network(REGIMES[regime], "relu")
        x, y, _ = networks.data(described, 40)
        one, other = networks.mlp(described, dtype), networks.mlp(described, dtype)
        one.fit(x, y, epochs=2)
        for _ in range(2):
            other.fit(x, y, epochs=1)
        np.testing.assert_array_equal(one.parameters, other.parameters)

    def test_with_what_looks_at_each_epoch(self):
        """Callbacks, a display or a watch do not change the steps."""
        described = networks.network((3, 20, 2), "relu")
        x, y, _ = networks.data(described, 45)
        expected = networks.mlp(described)
        expected.fit(x, y, epochs=6)
        for options in (
            {"callbacks": [lambda net, history: None]},
            {"max_time": 1e6},
            {"early_stopping": fastnn.EarlyStopping(100, monitor="loss", restore_best=False)},
            {"validation_data": (x, y)},
        ):
            net = networks.mlp(described)
            net.fit(x, y, epochs=6, **options)
            np.testing.assert_array_equal(net.parameters, expected.parameters, err_msg=str(options))

    def test_an_optimizer_of_other_settings_begins_anew(self):
        described = networks.network((3, 20, 2), "relu")
        x, y, _ = networks.data(described, 45)
        net, fresh = networks.mlp(described), networks.mlp(described)
        net.fit(x, y, epochs=3, optimizer=fastnn.Adam(0.01), shuffle=False)
        fresh.parameters[...] = net.parameters
        for each in (net, fresh):
            each.fit(x, y, epochs=3, optimizer=fastnn.Adam(0.02), shuffle=False)
        np.testing.assert_array_equal(net.parameters, fresh.parameters)

    def test_other_instruction_set_and_threads(self, tmp_path, monkeypatch):
        """Begun on one machine and ended on another."""
        monkeypatch.setattr("fastnn.threads.WORK_PER_THREAD", 1)
        monkeypatch.setattr("fastnn.threads.WORK_PER_STARTED_THREAD", 1)
        described = networks.network((3, 20, 2), "relu")
        x, y, _ = networks.data(described, 200)
        expected = networks.mlp(described)
        expected.fit(x, y, epochs=4, n_threads=1)
        net = networks.mlp(described)
        before = fastnn.isa()
        try:
            for i in range(4):
                _kernels.select(_kernels.available_isas()[i % len(_kernels.available_isas())])
                net.fit(x, y, n_threads=i + 1)
                net = save_and_load(net, tmp_path)
        finally:
            _kernels.select(before)
        np.testing.assert_array_equal(net.parameters, expected.parameters)
