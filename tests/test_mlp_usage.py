"""Using an MLP: its views, copies and files, its predictor, many threads, forks, limits on threads, Ctrl-C."""

import contextlib
import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import networks
import numpy as np
import pytest

import fastnn
from fastnn import schedules, storage
from fastnn.threads import usable_processors

N_THREADS = 8


@pytest.fixture
def net():
    return fastnn.MLP([3, 5, 4, 2], activation=["relu", "tanh"], dtype="float64", seed=1)


def rows(n=7):
    rng = np.random.default_rng(n)
    return rng.normal(size=(n, 3)), rng.normal(size=(n, 2))


class TestViews:
    """parameters, weights and biases are the network's memory."""

    @pytest.mark.parametrize("bias", [True, False])
    def test_layout(self, dtype, bias):
        net = fastnn.MLP([3, 5, 2], bias=bias, dtype=dtype, seed=0)
        assert [w.shape for w in net.weights] == [(3, 5), (5, 2)]
        assert net.parameters.shape == ((3 + bias) * 5 + (5 + bias) * 2,)
        net.parameters[...] = np.arange(len(net.parameters))
        parts = []
        for weights, biases in zip(net.weights, net.biases, strict=True):
            parts.append(weights.ravel())
            if bias:
                parts.append(biases)
            else:
                assert biases is None
        np.testing.assert_array_equal(np.concatenate(parts), np.arange(len(net.parameters)))
        assert all(part.dtype == dtype for part in (net.parameters, *parts))

    def test_no_copies(self, net):
        for views in (net.weights, net.biases):
            for view in views:
                assert np.shares_memory(view, net.parameters)
                assert view.flags.writeable

    def test_edits_count(self, net):
        x, y = rows()
        for i, j in ((0, 0), (1, 2), (2, 3)):
            before = net.predict(x)
            net.weights[i][j, 1] += 0.5
            assert (net.predict(x) != before).any()
        net.biases[2][...] = [7, 8]
        net.weights[2][...] = 0
        np.testing.assert_array_equal(net.predict(x), np.tile([7.0, 8.0], (7, 1)))
        net.parameters *= 0
        assert not net.predict(x).any()
        assert net.loss(x, y) == pytest.approx(np.mean(y**2), rel=1e-14)

    def test_views_kept_from_before(self, net):
        x, y = rows()
        parameters, weights = net.parameters, net.weights[0]
        net.fit(x, y)
        assert parameters is not None
        np.testing.assert_array_equal(parameters, net.parameters)
        weights[...] = 0
        assert not net.weights[0].any()

    def test_assigned(self, net):
        value = np.arange(len(net.parameters))
        view = net.parameters
        net.parameters = value
        np.testing.assert_array_equal(view, value)
        assert not np.shares_memory(net.parameters, value)

    @pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
    def test_users_cannot_lead_the_kernels_astray(self, net):
        untouched = copy.copy(net)
        with pytest.raises(ValueError, match="resize"):
            net.parameters.resize(1000)
        net.parameters.shape = (-1, 1)
        net.parameters.dtype = np.float32
        net.weights[0].flags.writeable = False
        x, y = rows()
        for each in (net, untouched):
            each.fit(x, y, epochs=3)
        np.testing.assert_array_equal(net.parameters, untouched.parameters)

    def test_outlive_the_network(self, net):
        kept, expected = net.weights[1], net.weights[1].copy()
        del net
        others = [fastnn.MLP([3, 5, 4, 2], seed=i) for i in range(50)]  # would reuse memory that was freed
        np.testing.assert_array_equal(kept, expected)
        assert len(others) == 50


class TestOut:
    """predict writes where it is told to."""

    @pytest.mark.parametrize("n", [0, 1, 33, 300])
    def test_is_filled_and_returned(self, isa, dtype, guarded, n):
        net = fastnn.MLP([3, 5, 2], dtype=dtype, seed=1)
        x, _ = rows(n)
        expected = net.predict(x)
        for strides in ((2, 1), (5, 2), (1, max(1, n)), (-2, -1), (2, -1)):
            out = guarded((n, 2), dtype, strides=strides)
            assert net.predict(x, out=out) is out
            np.testing.assert_array_equal(out, expected)

    def test_may_be_x_itself(self, dtype):
        net = fastnn.MLP([3, 5, 3], dtype=dtype, seed=1)
        for n in (5, 300):
            x = rows(n)[0].astype(dtype)
            expected = net.predict(x)
            assert net.predict(x, out=x) is x
            np.testing.assert_array_equal(x, expected)

    def test_may_overlap_x(self):
        net = fastnn.MLP([3, 5, 3], dtype="float64", seed=1)
        memory = np.random.default_rng(0).normal(size=(2001, 3))
        expected = net.predict(memory[:-1])
        np.testing.assert_array_equal(net.predict(memory[:-1], out=memory[1:]), expected)

    def test_may_be_the_networks_own_memory(self):
        """A strange wish, and no crash."""
        net = fastnn.MLP([3, 3], bias=False, dtype="float64", seed=1)
        x = rows(3)[0]
        expected = net.predict(x)
        net.predict(x, out=net.weights[0])
        np.testing.assert_array_equal(net.weights[0], expected)

    def test_without_it_the_result_is_the_callers(self, net):
        x, y = rows()
        first = net.predict(x)
        kept = first.copy()
        net.fit(x, y)
        net.predict(x)
        np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("row", [0, 255, 256, 1000, 9999])
def test_predict_finds_what_is_not_finite_wherever_it_is(isa, dtype, row, n_threads, monkeypatch):
    """Rows are looked at piece by piece while they are used; relu alone would make a prediction of -inf."""
    monkeypatch.setattr("fastnn.threads.WORK_PER_STARTED_THREAD", 1)
    net = fastnn.MLP([3, 4, 2], dtype=dtype.name, seed=0)
    x = np.random.default_rng(0).normal(size=(10_000, 3)).astype(dtype)
    expected = net.predict(x.tolist(), n_threads=1)
    np.testing.assert_array_equal(net.predict(x, n_threads=n_threads), expected)
    x[row, 2] = -np.inf
    with pytest.raises(ValueError, match=f"X must be finite in {dtype}; got -inf in row {row}, column 2"):
        net.predict(x, n_threads=n_threads)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_predict_finds_what_is_not_finite_in_products(isa, dtype, value):
    """Where the first layer has many more inputs than outputs, its products are looked at instead of the inputs."""
    net = fastnn.MLP([200, 64, 3], dtype=dtype, seed=0)
    for weight in (0.0, 1.0):  # infinity times 0 is not a number, and relu must not hide anything
        net.weights[0][:] = weight
        for row, column in ((0, 0), (69, 199), (40, 100)):
            x = np.ones((70, 200), dtype)
            x[row, column] = value
            with pytest.raises(
                ValueError, match=f"X must be finite in {dtype}; got {value} in row {row}, column {column}"
            ):
                net.predict(x)
    x = np.full((70, 200), np.finfo(dtype).max)
    assert (
        np.isnan(net.predict(x)).all() or np.isinf(net.predict(x)).all()
    )  # its products overflow, it itself is finite


class TestPredictor:
    """A function of one row."""

    def test_one_row(self, dtype):
        net = fastnn.MLP([3, 5, 2], dtype=dtype, seed=1)
        predict = net.predictor()
        x = rows()[0].astype(dtype)
        expected = net.predict(x)
        for given in (x[0], x[0].astype(float), x[0].tolist(), x[:, ::-1][0, ::-1], x[0].astype(">f8")):
            found = predict(given)
            assert (found.shape, found.dtype) == ((2,), dtype)
            np.testing.assert_array_equal(found, expected[0])
        np.testing.assert_array_equal(predict([1, 0, 2]), net.predict([[1, 0, 2]])[0])
        np.testing.assert_array_equal(predict(np.array([True, False, True])), net.predict([[1, 0, 1]])[0])

    def test_results_are_the_callers(self, net):
        predict = net.predictor()
        first = predict([1, 2, 3])
        kept = first.copy()
        predict([3, 2, 1])
        np.testing.assert_array_equal(first, kept)

    @pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_is_not_pickled(self, net, duplicate):
        with pytest.raises(TypeError, match=r"^a predictor cannot be pickled or copied; do that with the network"):
            duplicate(net.predictor())

    def test_outlives_the_network(self, net):
        predict, expected = net.predictor(), net.predict([[1, 2, 3]])[0]
        net.parameters[...] = 0  # it is frozen
        del net
        np.testing.assert_array_equal(predict([1, 2, 3]), expected)

    @pytest.mark.parametrize("value", [[1, 2], [1, 2, 3, 4], [], [[1, 2, 3]], 1.0, None, "123", [1j, 2, 3]], ids=repr)
    def test_other_shapes_and_types(self, net, value):
        with pytest.raises((TypeError, ValueError), match=r"^x must"):
            net.predictor()(value)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, net, value):
        with pytest.raises(ValueError, match=rf"^x must be finite in {net.parameters.dtype}; got"):
            net.predictor()([1, value, 3])

    def test_too_large_for_float32(self):
        with pytest.raises(ValueError, match=r"^x must be finite in float32; got \[ ?1\. inf"):
            fastnn.MLP([2, 1]).predictor()([1, 1e39])

    def test_in_many_threads(self, isa, dtype):
        """One predictor, used at once."""
        net = fastnn.MLP([30, 200, 100, 5], dtype=dtype, seed=1)
        x = np.random.default_rng(0).normal(size=(500, 30)).astype(dtype)
        expected, predict = net.predict(x), net.predictor()

        def work(_):
            np.testing.assert_array_equal([predict(row) for row in x], expected)

        with ThreadPoolExecutor(N_THREADS) as threads:
            list(threads.map(work, range(N_THREADS)))


class TestThreads:
    """Many Python threads: each with a network of its own, or all with one."""

    @staticmethod
    def trained(seed):
        described = networks.network((10, 40, 20, 3), "relu", "cross_entropy")
        x, y, _ = networks.data(described, 300, seed)
        net = networks.mlp(described, "float32", seed)
        history = net.fit(x, y, epochs=5, validation_data=(x[:50], y[:50]))
        return net.parameters, history.loss, history.validation_loss, net.predict(x)

    def test_each_a_network_of_its_own(self, isa):
        """The bits are those of one thread."""
        seeds = range(3 * N_THREADS)
        expected = [self.trained(seed) for seed in seeds]
        with ThreadPoolExecutor(N_THREADS) as threads:
            for one, other in zip(expected, threads.map(self.trained, seeds), strict=True):
                for a, b in zip(one, other, strict=True):
                    np.testing.assert_array_equal(a, b)

    USES = {  # noqa: RUF012
        "fit": lambda net, x, y: net.fit(x, y),
        "loss_and_gradient": lambda net, x, y: net.loss_and_gradient(x, y),
        "parameters": lambda net, x, y: setattr(net, "parameters", net.parameters),
        "predict": lambda net, x, y: net.predict(x),
        "loss": lambda net, x, y: net.loss(x, y),
        "jacobian": lambda net, x, y: net.jacobian(x),
        "save": lambda net, x, y: net.save(os.devnull),
        "copy": lambda net, x, y: copy.copy(net),
    }

    def test_one_network_in_two_threads(self):
        """While one trains it, the others get a RuntimeError, and the training is not disturbed."""
        described = networks.network((3, 30, 2), "relu")
        x, y, _ = networks.data(described, 60)
        for epochs in (3000, 30_000, 300_000):  # more, should the first have ended before we came
            net, refused = networks.mlp(described), {}
            start = net.parameters.copy()
            worker = threading.Thread(target=net.fit, args=(x, y), kwargs={"epochs": epochs})
            worker.start()
            while worker.is_alive() and (net.parameters == start).all():
                pass
            for name, use in self.USES.items():
                try:
                    use(net, x, y)
                except RuntimeError as error:
                    refused[name] = str(error)
            worker.join()
            if refused.keys() == self.USES.keys():
                break
        assert refused.keys() == self.USES.keys()
        assert all("in use by another thread" in message for message in refused.values())
        alone = networks.mlp(described)
        alone.fit(x, y, epochs=epochs)
        np.testing.assert_array_equal(net.parameters, alone.parameters)
        net.fit(x, y)

    def test_predictions_at_once(self):
        net = fastnn.MLP([30, 100, 5], seed=0)
        x = np.random.default_rng(0).normal(size=(3000, 30))
        expected = net.predict(x)

        def work(_):
            np.testing.assert_array_equal(net.predict(x), expected)

        with ThreadPoolExecutor(N_THREADS) as threads:
            list(threads.map(work, range(2 * N_THREADS)))

    def test_after_an_error_the_network_is_free_again(self, net):
        x, y = rows()
        for options in ({"epochs": -1}, {"batch_size": 0}, {"optimizer": "adam"}):
            with pytest.raises((TypeError, ValueError)):
                net.fit(x, y, **options)
        net.parameters[0] = np.nan
        with pytest.raises(FloatingPointError):
            net.fit(x, y)
        net.parameters[...] = 0.5
        net.fit(x, y)
        net.loss_and_gradient(x, y)


class Named(fastnn.MLP):
    """A subclass with a constructor of its own."""

    def __init__(self, name):
        super().__init__([3, 4, 2], seed=0)
        self.name = name


class Halving(schedules.Schedule):
    """A user's own schedule, which no file takes, but a pickle does."""

    def at(self, epoch):
        return 0.1 * 0.5**epoch

    def __eq__(self, other):
        return type(other) is Halving

    __hash__ = schedules.Schedule.__hash__


class TestCopies:
    """Pickle, copy and deepcopy."""

    WAYS = {  # noqa: RUF012
        "copy": copy.copy,
        "deepcopy": copy.deepcopy,
        **{
            f"pickle {n}": lambda net, n=n: pickle.loads(pickle.dumps(net, n))
            for n in range(2, pickle.HIGHEST_PROTOCOL + 1)
        },
    }

    @pytest.mark.parametrize("way", WAYS)
    def test_has_no_gradient(self, net, way):
        """As docs/choosing.md says to those who keep thousands of networks."""
        net.fit(np.ones((9, 3)), np.ones((9, 2)))
        assert net._engine.n_bytes["gradient"] > 0
        found = self.WAYS[way](net)._engine.n_bytes
        assert {name for name, n_bytes in found.items() if n_bytes} == {"parameters"}

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("trained", [False, True], ids=["new", "trained"])
    def test_is_the_same_network(self, dtype, way, trained):
        described = networks.network((3, 5, 4, 2), ["gelu", "sin"], "huber", "elu", 0.25, bias=False, l2=0.125)
        net = networks.mlp(described, dtype, dropout=0.25)
        x, y, _ = networks.data(described, 40)
        if trained:
            net.fit(x, y, epochs=3)
        twin = self.WAYS[way](net)
        assert type(twin) is fastnn.MLP
        assert repr(twin) == repr(net)
        assert twin.layer_sizes == net.layer_sizes
        np.testing.assert_array_equal(twin.parameters, net.parameters)
        assert not np.shares_memory(twin.parameters, net.parameters)
        for each in (net, twin):
            each.fit(x, y, epochs=3)
        np.testing.assert_array_equal(twin.parameters, net.parameters)
        assert twin.loss(x, y) == net.loss(x, y)

    @pytest.mark.parametrize("way", WAYS)
    def test_with_a_schedule_of_ones_own(self, net, way):
        optimizer = fastnn.Adam(Halving())
        net.fit(*rows(), epochs=2, optimizer=optimizer)
        twin = self.WAYS[way](net)
        histories = [each.fit(*rows(), epochs=2, optimizer=optimizer) for each in (net, twin)]
        np.testing.assert_array_equal(twin.parameters, net.parameters)
        for history in histories:
            assert history.learning_rate.tolist() == [0.025, 0.0125]

    @pytest.mark.parametrize("way", WAYS)
    def test_goes_its_own_way(self, net, way):
        twin = self.WAYS[way](net)
        kept = twin.parameters.copy()
        net.fit(*rows(), epochs=2)
        np.testing.assert_array_equal(twin.parameters, kept)

    @pytest.mark.parametrize("way", WAYS)
    def test_attributes_of_the_users_own_come_along(self, net, way):
        net.note = "mine"
        assert self.WAYS[way](net).note == "mine"

    @pytest.mark.parametrize("way", WAYS)
    def test_of_a_diverged_network(self, net, way):
        net.parameters[...] = np.nan
        assert np.isnan(self.WAYS[way](net).parameters).all()

    @pytest.mark.parametrize("way", WAYS)
    def test_of_a_subclass(self, way):
        net = Named("mine")
        net.fit(*rows())
        twin = self.WAYS[way](net)
        assert (type(twin), twin.name) == (Named, "mine")
        np.testing.assert_array_equal(twin.parameters, net.parameters)


class TestFiles:
    """save and load; test_storage.py has the file itself."""

    @pytest.mark.parametrize("loss", networks.LOSSES)
    def test_is_the_same_network(self, dtype, tmp_path, loss):
        case = networks.LOSSES.index(loss)
        parameter = 0.125 if loss in ("huber", "quantile") else None
        described = networks.network(
            (3, 5, 4, 2), ["gelu", "sin"], loss, None, parameter, bias=case % 2 == 0, l2=0.125 * (case % 3)
        )
        net = networks.mlp(described, dtype, dropout=0.25 * (case % 2))
        x, y, _ = networks.data(described, 40)
        net.fit(x, y, epochs=2, optimizer=fastnn.RMSProp(fastnn.StepDecay(0.01, 0.5, 2), clip_norm=1.0))
        path = tmp_path / "net.npz"
        for given in (path, str(path)):
            net.save(given)
            twin = fastnn.MLP.load(given)
            assert os.listdir(tmp_path) == ["net.npz"]
            assert repr(twin) == repr(net)
            np.testing.assert_array_equal(twin.parameters, net.parameters)
            assert twin.loss(x, y) == net.loss(x, y)
            np.testing.assert_array_equal(twin.loss_and_gradient(x, y)[1], net.loss_and_gradient(x, y)[1])

    def test_loading_is_not_training(self, net, tmp_path):
        """What was saved stays what it was."""
        net.save(tmp_path / "net.npz")
        before = (tmp_path / "net.npz").read_bytes()
        fastnn.MLP.load(tmp_path / "net.npz").fit(*rows(), epochs=2)
        assert (tmp_path / "net.npz").read_bytes() == before

    def test_in_another_process(self, run, net, tmp_path):
        net.save(tmp_path / "net.npz")
        x, _ = rows()
        code = "import fastnn, sys; print(fastnn.MLP.load('net.npz').predict(eval(sys.argv[1])).tobytes().hex())"
        assert run("-c", code, repr(x.tolist())).stdout.strip() == net.predict(x).tobytes().hex()

    def test_truncated(self, net, tmp_path):
        path = tmp_path / "net.npz"
        net.fit(*rows())
        net.save(path)
        whole = path.read_bytes()
        for length in [*range(0, 64), *range(64, len(whole), max(1, len(whole) // 40)), len(whole) - 1]:
            path.write_bytes(whole[:length])
            with pytest.raises(ValueError, match=r"net\.npz"):
                fastnn.MLP.load(path)

    def test_damaged(self, net, tmp_path):
        """A byte changed anywhere is an error of the right kind, or leaves a network that works."""
        path = tmp_path / "net.npz"
        net.fit(*rows())
        net.save(path)
        whole = path.read_bytes()
        rng = np.random.default_rng(0)
        for place in rng.permutation(len(whole))[:200]:
            damaged = bytearray(whole)
            damaged[place] ^= 1 << rng.integers(8)
            path.write_bytes(damaged)
            with contextlib.suppress(ValueError):
                np.testing.assert_array_equal(fastnn.MLP.load(path).parameters, net.parameters)

    def test_foreign(self, tmp_path):
        path = tmp_path / "net.npz"
        for write in (
            lambda: path.write_text("a text"),
            lambda: np.savez(path, parameters=np.zeros(3)),
            lambda: path.write_bytes(pickle.dumps([1, 2])),
            lambda: path.write_bytes(b""),
        ):
            write()
            with pytest.raises(ValueError, match=r"net\.npz"):
                fastnn.MLP.load(path)
        with pytest.raises(FileNotFoundError):
            fastnn.MLP.load(tmp_path / "nothing.npz")

    @pytest.mark.parametrize("sizes", [[3, 6, 2], [3, 5], [2**20, 2**12, 2], [2**24 - 1, 2**24 - 1]])
    def test_parameters_of_other_sizes(self, net, tmp_path, sizes):
        """What the header says does not take more memory or time than what the file has."""
        header, arrays = net._state()
        header |= {"layer_sizes": sizes, "activations": ["relu"] * (len(sizes) - 1)}
        storage.write(tmp_path / "net.npz", header, arrays)
        with pytest.raises(ValueError, match=r"cannot load .*net\.npz: it does not describe a network"):
            fastnn.MLP.load(tmp_path / "net.npz")

    def test_draws_no_weights(self, net, tmp_path, monkeypatch):
        """Which takes twenty times as long as to read those of a large network."""
        net.save(tmp_path / "net.npz")
        monkeypatch.delattr(fastnn.MLP, "_initialize")
        for twin in (fastnn.MLP.load(tmp_path / "net.npz"), pickle.loads(pickle.dumps(net)), copy.copy(net)):
            np.testing.assert_array_equal(twin.parameters, net.parameters)

    def test_executes_nothing(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "executed"),)

        path = tmp_path / "net.npz"
        np.savez(path, header=np.array([Evil()], object), parameters=np.array([Evil()], object))
        with pytest.raises(ValueError, match=r"net\.npz"):
            fastnn.MLP.load(path)
        path.write_bytes(pickle.dumps(Evil()))
        with pytest.raises(ValueError, match=r"net\.npz"):
            fastnn.MLP.load(path)
        assert not (tmp_path / "executed").exists()

    def test_a_crash_leaves_the_old_file(self, run, net, tmp_path):
        """The disk is full, or so it seems, in the middle of writing a larger network."""
        net.save(tmp_path / "net.npz")
        before = (tmp_path / "net.npz").read_bytes()
        code = """
import resource, signal, fastnn
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    fastnn.MLP([300, 300, 2], seed=0).save("net.npz")
except OSError:
    print("refused")
"""
        if sys.platform == "win32":
            pytest.skip("no limit on the size of files")
        assert run("-c", code).stdout == "refused\n"
        assert (tmp_path / "net.npz").read_bytes() == before
        assert os.listdir(tmp_path) == ["net.npz"]


class TestVerbose:
    """What is shown is on stderr."""

    def test_silent(self, net, capfd):
        net.fit(*rows(), epochs=3)
        assert capfd.readouterr() == ("", "")

    def test_lines_without_tqdm(self, net, capfd, monkeypatch):
        monkeypatch.setitem(sys.modules, "tqdm", None)
        x, y = rows()
        history = net.fit(x, y, epochs=3, verbose=1, validation_data=(x, y))
        out, err = capfd.readouterr()
        assert out == ""
        assert "epoch 3/3" in err
        assert f"loss {history.loss[-1]:.4g}" in err
        assert f"validation_loss {history.validation_loss[-1]:.4g}" in err

    def test_bar(self, net, capfd):
        pytest.importorskip("tqdm")
        net.fit(*rows(), epochs=3, verbose=1)
        out, err = capfd.readouterr()
        assert out == ""
        assert "3/3" in err
        assert "loss" in err

    def test_changes_nothing(self, capfd, monkeypatch):
        monkeypatch.setitem(sys.modules, "tqdm", None)
        x, y = rows(40)
        one, other = (fastnn.MLP([3, 5, 2], seed=0) for _ in range(2))
        histories = one.fit(x, y, epochs=50, verbose=1), other.fit(x, y, epochs=50)
        np.testing.assert_array_equal(one.parameters, other.parameters)
        np.testing.assert_array_equal(histories[0].loss, histories[1].loss)


# Counts the threads of this process while a fit and a prediction run.
COUNT_THREADS = """
import os, sys, threading
import numpy as np
{first}
import fastnn

x = np.random.default_rng(0).normal(size=(4096, 64)).astype("f4")
net = fastnn.MLP([64, 256, 256, 10], seed=0)
most, done = 0, False

def watch():
    global most
    while not done:
        most = max(most, len(os.listdir("/proc/self/task")))

watcher = threading.Thread(target=watch)
watcher.start()
before = len(os.listdir("/proc/self/task"))
with {context}:
    {calls}
done = True
watcher.join()
print(most - before)
"""

FIT_AND_PREDICT = """net.fit(x, np.zeros((4096, 10)), batch_size=1024, epochs=3, n_threads={n_threads})
    net.predict(x, n_threads={n_threads})"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@pytest.mark.isa_independent
class TestLimits:
    """How many threads a fit uses beside the caller's."""

    @staticmethod
    def extra_threads(
        run, first="", context="open(os.devnull)", calls=FIT_AND_PREDICT, n_threads="None", **environment
    ):
        calls = calls.format(n_threads=n_threads)
        code = COUNT_THREADS.format(first=first, context=context, calls=calls)
        return int(run("-c", code, **environment).stdout)

    @pytest.mark.skipif(usable_processors() < 2, reason="one processor")
    def test_more_than_one_by_default(self, run):
        assert self.extra_threads(run, OMP_NUM_THREADS="") >= 1

    def test_n_threads(self, run):
        assert self.extra_threads(run, n_threads="1") == 0
        assert self.extra_threads(run, n_threads="3") == 2

    def test_matmul(self, run):
        calls = "fastnn.matmul(x, x[:2048].T, n_threads={n_threads})"
        assert self.extra_threads(run, calls=calls, n_threads="1") == 0
        assert self.extra_threads(run, calls=calls, n_threads="3") == 2

    def test_openmps_variable(self, run):
        assert self.extra_threads(run, OMP_NUM_THREADS="1") == 0

    def test_affinity(self, run):
        first = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
        assert self.extra_threads(run, first, OMP_NUM_THREADS="") == 0

    def test_threadpoolctl(self, run):
        pytest.importorskip("threadpoolctl")
        first, context = "import threadpoolctl", "threadpoolctl.threadpool_limits(1)"
        assert self.extra_threads(run, first, context, OMP_NUM_THREADS="") == 0

    def test_none_stays(self, run):
        calls = FIT_AND_PREDICT.format(n_threads=3)
        code = COUNT_THREADS.format(first="", context="open(os.devnull)", calls=calls)
        code += """
import time
end = time.monotonic() + 20
while len(os.listdir("/proc/self/task")) >= before and time.monotonic() < end:
    pass  # the kernel forgets a thread a little after it was joined
print(len(os.listdir("/proc/self/task")) - before + 1)
"""
        assert run("-c", code).stdout.split()[1] == "0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork_after_training_with_threads(run):
    """The child trains and predicts too, with threads of its own."""
    code = """
import os, sys, warnings
import numpy as np
import fastnn.threads

warnings.simplefilter("ignore")
fastnn.threads.WORK_PER_THREAD = fastnn.threads.WORK_PER_STARTED_THREAD = 1
x, y = np.random.default_rng(0).normal(size=(500, 30)), np.zeros((500, 2))
net = fastnn.MLP([30, 64, 2], seed=0)
net.fit(x, y, epochs=2, n_threads=4)
twin = __import__("copy").deepcopy(net)
child = os.fork()
net.fit(x, y, epochs=2, n_threads=4)
twin.fit(x, y, epochs=2, n_threads=1)
same = (net.parameters == twin.parameters).all() and (net.predict(x, n_threads=4) == twin.predict(x)).all()
if child == 0:
    os._exit(0 if same else 1)
_, status = os.waitpid(child, 0)
print(same, os.waitstatus_to_exitcode(status))
"""
    assert run("-c", code).stdout.split() == ["True", "0"]


# Trains until interrupted, then looks for the number of steps that leads to the very bits it was left with.
INTERRUPTED = """
import signal
import sys
import numpy as np
import fastnn

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is born with Ctrl-C ignored
n, sizes, batch_size, optimizer, n_threads = {case}
rng = np.random.default_rng(0)
x, y = rng.normal(size=(n, sizes[0])).astype("f4"), rng.normal(size=(n, sizes[-1])).astype("f4")
options = dict(batch_size=batch_size, optimizer=eval("fastnn." + optimizer), shuffle=False, n_threads=n_threads)

def build():
    return fastnn.MLP(sizes, activation="tanh", seed=0)

net = build()
print("ready", flush=True)
history = net.fit(x, y, epochs=10**8, **options)
print("stopped", flush=True)
assert history.stopped_by == "interrupt", history.stopped_by
assert len(history.loss) == history.epochs
again = build()
expected = again.fit(x, y, epochs=history.epochs, **options)
assert (expected.loss == history.loss).all()
steps = 0
while not (again.parameters == net.parameters).all():
    rows = slice(steps * batch_size, (steps + 1) * batch_size)
    if not len(x[rows]):
        sys.exit("no number of steps leads here")
    again.fit(x[rows], y[rows], **options)
    steps += 1
net.fit(x, y, epochs=1, **options)
again.fit(x, y, epochs=1, **options)
assert (again.parameters == net.parameters).all(), "it does not go on as if nothing had happened"
print(history.epochs, steps)
"""


@pytest.mark.isa_independent
@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send Ctrl-C to another")
@pytest.mark.parametrize(
    "case",
    [
        (64, (8, 32, 1), 32, "Adam()", 1),  # many short epochs
        (200_000, (16, 32, 1), 32, "Adam()", 1),  # in the middle of a long one
        (20_000, (64, 256, 256, 4), 2000, "SGD(0.001)", 2),  # long steps
    ],
    ids=["short epochs", "a long epoch", "long steps"],
)
def test_ctrl_c(case, tmp_path, capsys):
    """The time is printed, not asserted: it says as much about the machine's load as about fastnn."""
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.replace("{case}", repr(case))],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(200, child.kill)
    watchdog.start()
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.3)  # likely long enough to be in the middle; if not, the outcome is the same
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
        epochs, steps = out.split()
        print(f"\n    Ctrl-C stopped fit after {elapsed * 1e3:.1f} ms, {epochs} epochs and {steps} steps", end=" ")
