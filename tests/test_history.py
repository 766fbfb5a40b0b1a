"""What a fit leaves behind: the losses of its epochs, their picture, and what is shown while it runs."""

import errno
import io
import pickle
import re
import sys
import time

import numpy as np
import pytest

import fastnn
from fastnn.history import History
from fastnn.progress import Progress


def history_of(loss, validation_loss=None, **options):
    history = History(validation=validation_loss is not None, **options)
    history.append(loss, 0.5, 0.25, validation_loss)
    return history


class TestArrays:
    """Blocks of epochs go in, arrays come out."""

    def test_empty(self):
        history = History()
        assert (history.epochs, history.best_epoch, history.stopped_by) == (0, None, None)
        for array in (history.loss, history.learning_rate, history.seconds):
            assert array.shape == (0,)
            assert array.dtype == np.float64
        assert history.validation_loss is None
        assert History(validation=True).validation_loss.shape == (0,)

    @pytest.mark.parametrize("validation", [False, True])
    @pytest.mark.parametrize("blocks", [[1] * 40, [40], [3, 0, 16, 1, 20], [17, 23]], ids=str)
    @pytest.mark.parametrize("reserved", [0, 20, 100])
    def test_blocks(self, blocks, validation, reserved):
        table = np.random.default_rng(0).random((4, 40))
        history = History(validation=validation)
        history.reserve(reserved)
        for end, length in zip(np.cumsum(blocks), blocks, strict=True):
            loss, rate, seconds, validation_loss = table[:, end - length : end]
            history.append(loss, rate, seconds, validation_loss if validation else None)
            assert history.epochs == end
        np.testing.assert_array_equal(history.loss, table[0])
        np.testing.assert_array_equal(history.learning_rate, table[1])
        np.testing.assert_array_equal(history.seconds, table[2])
        if validation:
            np.testing.assert_array_equal(history.validation_loss, table[3])
        assert history.best_epoch == table[3 if validation else 0].argmin()

    def test_numbers_stand_for_a_block(self):
        history = History()
        history.append(3, 0.1, 0.2)
        history.append(np.array([2, 1], np.float32), 0.1, [0.3, 0.4])
        assert history.loss.tolist() == [3, 2, 1]
        assert history.learning_rate.tolist() == [0.1] * 3
        assert history.seconds.tolist() == [0.2, 0.3, 0.4]

    def test_read_only(self):
        history = history_of([1, 2])
        with pytest.raises(ValueError, match="read-only"):
            history.loss[0] = 0
        with pytest.raises(AttributeError):
            history.loss = np.zeros(2)

    def test_arrays_that_were_taken_stay(self):
        history = history_of([1, 2])
        before = history.loss
        history.append(np.arange(1000), 1, 1)
        assert before.tolist() == [1, 2]

    def test_appending_takes_constant_time_each(self):
        """Doubling: 2**16 epochs, one by one, copy the table 12 times."""
        history, tables = History(), set()
        for _ in range(2**16):
            history.append(1.0, 1.0, 1.0)
            tables.add(history._table.shape)
        assert len(tables) == 13

    def test_what_is_written_to_its_room_counts_when_it_is_counted(self):
        history = history_of([3, 2])
        before = history.loss
        room = history.room(2000)
        assert room.shape == (3, 2000)
        room[:, :3] = [[1, 5, 4], [0.1] * 3, [0.2] * 3]
        assert history.epochs == 2
        history.count(2)
        assert (history.epochs, history.best_epoch) == (4, 2)
        assert history.loss.tolist() == [3, 2, 1, 5]
        assert before.tolist() == [3, 2]

    def test_trimming_gives_back_room_and_nothing_else(self):
        history = history_of([3, 2])
        history.reserve(10**4)
        before = history.loss
        history.trim()
        assert history._table.shape == (3, 2)
        assert before.tolist() == history.loss.tolist() == [3, 2]
        history.append([1], 0.1, 0.2)
        history.trim()
        assert history.loss.tolist() == [3, 2, 1]
        assert history._table.shape[1] > 3  # little is left as it is

    def test_a_fit_that_ends_early_keeps_no_room(self):
        history = fastnn.MLP([1, 1]).fit([[1.0]], [1.0], epochs=10**5, max_time=0)
        assert history._table.shape[1] <= 2048

    def test_validation_loss_is_due_or_not(self):
        with pytest.raises(ValueError, match=r"^validation_loss must be given"):
            History(validation=True).append(1, 1, 1)
        with pytest.raises(ValueError, match=r"^validation_loss must not be given"):
            History().append(1, 1, 1, 1)
        with pytest.raises(ValueError, match="broadcast"):
            History().append([1, 2], [1, 2, 3], 1)

    def test_public(self):
        assert fastnn.History is History


class TestBestEpoch:
    """The first epoch with the lowest finite loss."""

    @pytest.mark.parametrize(
        ("losses", "expected"),
        [
            ([3], 0),
            ([3, 1, 2, 1], 1),
            ([np.nan, 3, np.nan], 1),
            ([np.inf, np.nan, -np.inf], None),
            ([-1, -2, -1], 1),
        ],
    )
    def test_best(self, losses, expected):
        assert history_of(losses).best_epoch == expected
        one_by_one = History()
        for loss in losses:
            one_by_one.append(loss, 1, 1)
        assert one_by_one.best_epoch == expected

    def test_monitor(self):
        loss, validation_loss = [3, 2, 1], [1, 2, 3]
        assert history_of(loss).monitor == "loss"
        assert history_of(loss, validation_loss).best_epoch == 0
        assert history_of(loss, validation_loss, monitor="loss").best_epoch == 2
        with pytest.raises(ValueError, match=r"^monitor must be 'loss' without validation data; got 'validation_loss'"):
            History(monitor="validation_loss")
        with pytest.raises(ValueError, match=r"^monitor must be 'validation_loss' or 'loss'; got 'accuracy'"):
            History(validation=True, monitor="accuracy")


class TestForm:
    """One line, pickles, and a dictionary for files."""

    def test_repr(self):
        assert repr(History()) == "History(0 epochs)"
        assert repr(history_of(2.0)) == "History(1 epoch, loss 2 -> 2, best_epoch 0, 0.25 s)"
        history = history_of([1, 0.123456], [2, np.nan])
        history.stopped_by = "max_time"
        expected = "2 epochs, loss 1 -> 0.1235, validation_loss 2 -> nan, best_epoch 0, 0.5 s, stopped by max_time"
        assert repr(history) == f"History({expected})"

    @pytest.mark.parametrize(
        "history",
        [
            History(),
            history_of([1, np.nan, 3]),
            history_of([1, 2], [np.inf, 1]),
            history_of([2, 1], [1, 2], monitor="loss"),
        ],
        ids=repr,
    )
    def test_round_trips(self, history):
        history.stopped_by = "callback"
        for twin in (History.from_dict(history.to_dict()), pickle.loads(pickle.dumps(history))):
            assert repr(twin) == repr(history)
            assert (twin.best_epoch, twin.monitor, twin.stopped_by) == (history.best_epoch, history.monitor, "callback")
            for name in ("loss", "learning_rate", "seconds", "validation_loss"):
                np.testing.assert_array_equal(getattr(twin, name), getattr(history, name))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"extra": 1}, "a history has"),
            ({"stopped_by": "boredom"}, "stopped_by must be one of None, 'early_stopping'"),
            ({"stopped_by": ["max_time"]}, "stopped_by must be"),
            ({"monitor": "accuracy"}, "monitor must be"),
            ({"loss": np.zeros(3)}, "the arrays of a history must be"),
            ({"loss": np.zeros((2, 1))}, "the arrays of a history must be"),
            ({"loss": np.zeros(2, int)}, "the arrays of a history must be"),
        ],
    )
    def test_what_is_no_history(self, change, message):
        values = history_of([1, 2]).to_dict()
        with pytest.raises(ValueError, match=f"^{message}"):
            History.from_dict(values | change)
        del values["loss"]
        with pytest.raises(ValueError, match=r"^a history has"):
            History.from_dict(values)
        with pytest.raises(TypeError, match=r"^values must be a mapping, as of to_dict; got None"):
            History.from_dict(None)


class TestPlot:
    """What is on the axes, and what is said without matplotlib."""

    @pytest.fixture
    def axes(self):
        figure = pytest.importorskip("matplotlib.figure")
        return figure.Figure().add_subplot()

    def test_both_losses_and_the_best_epoch(self, axes):
        history = history_of([4, 3, 2], [5, 3.5, 4])
        assert history.plot(axes) is axes
        training, validation, best = axes.get_lines()
        assert training.get_xydata().tolist() == [[0, 4], [1, 3], [2, 2]]
        assert validation.get_xydata().tolist() == [[0, 5], [1, 3.5], [2, 4]]
        assert best.get_xydata().tolist() == [[1, 3.5]]
        assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("epoch", "loss", "linear")
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == ["training", "validation", "best epoch: 1"]

    @pytest.mark.parametrize(
        ("losses", "scale"),
        [
            ([100, 1], "linear"),
            ([101, 1], "log"),
            ([101, np.nan, np.inf, 1], "log"),
            ([100, 1, 0], "linear"),
            ([1000, -1], "linear"),
            ([np.nan, np.nan], "linear"),
            ([], "linear"),
        ],
        ids=str,
    )
    def test_scale(self, axes, losses, scale):
        history_of(losses).plot(axes)
        assert axes.get_yscale() == scale

    def test_a_new_figure(self, tmp_path):
        matplotlib = pytest.importorskip("matplotlib")
        matplotlib.use("Agg")
        from matplotlib import pyplot

        axes = history_of(np.geomspace(1, 1e-4, 50), np.geomspace(1, 1e-3, 50)).plot()
        try:
            axes.figure.savefig(tmp_path / "loss.png")
            assert (tmp_path / "loss.png").stat().st_size > 10_000
            # The legend stands above the data, not on them.
            renderer = axes.figure.canvas.get_renderer()
            assert axes.get_legend().get_window_extent(renderer).y0 >= axes.get_window_extent(renderer).y1 - 1
        finally:
            pyplot.close(axes.figure)

    def test_without_matplotlib(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(ImportError) as caught:
            history_of([1]).plot()
        assert str(caught.value) == 'History.plot needs matplotlib; run: pip install "fastnn-cpu[plot]"'


@pytest.fixture(params=["lines", "bar"])
def display(request, monkeypatch):
    """Run the test with and without tqdm, and give its name."""
    if request.param == "bar":
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    return request.param


@pytest.fixture
def clock(monkeypatch):
    """Stop time.monotonic; the test moves it by `clock.now += seconds`."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(time, "monotonic", lambda: Clock.now)
    return Clock


class TestProgress:
    """What is written on stderr."""

    @staticmethod
    def shown(text):
        """The numbers of epochs in the order they were shown."""
        return [int(number) for number in re.findall(r"\b(\d+)/\d+\b", text)]

    @pytest.mark.usefixtures("display")
    def test_silence(self, capsys):
        history = history_of([1])
        for verbose in (0, False, np.int64(0)):
            with Progress(1, verbose) as progress:
                progress.update(history)
        assert capsys.readouterr() == ("", "")

    def test_lines(self, monkeypatch, capsys, clock):
        monkeypatch.setitem(sys.modules, "tqdm", None)
        history = History(validation=True)
        with Progress(4, 1) as progress:
            for epoch in range(4):
                clock.now += 60
                history.append(1 / 2**epoch, 0.1, 60, 0.123456)
                progress.update(history)
        assert capsys.readouterr() == (
            "",
            "epoch 1/4, loss 1, validation_loss 0.1235, 3:00 left\n"
            "epoch 2/4, loss 0.5, validation_loss 0.1235, 2:00 left\n"
            "epoch 3/4, loss 0.25, validation_loss 0.1235, 1:00 left\n"
            "epoch 4/4, loss 0.125, validation_loss 0.1235, 0.0 s left\n",
        )

    def test_bar(self, capsys):
        pytest.importorskip("tqdm")
        history = History()
        with Progress(5, 1) as progress:
            for loss in (3, 2, 1.5):
                history.append(loss, 0.1, 0.1)
                progress.update(history)
        out, err = capsys.readouterr()
        assert out == ""
        last = err.strip("\n").split("\r")[-1]
        assert "3/5" in last
        assert "loss 1.5" in last
        assert err.endswith("\n")

    def test_first_and_last_are_shown(self, display, capsys):
        history = History()
        with Progress(10_000, True) as progress:
            for _ in range(10_000):
                history.append(1, 1, 1)
                progress.update(history)
        shown = self.shown(capsys.readouterr().err)
        assert shown[0] == (1 if display == "lines" else 0)
        assert 1 in shown
        assert shown[-1] == 10_000
        assert shown == sorted(shown)

    @pytest.mark.parametrize(("pause", "most"), [(1e-4, 14), (0.01, 340), (1, 800)])
    @pytest.mark.usefixtures("display")
    def test_ten_thousand_epochs(self, capsys, clock, pause, most):
        """At most ten times a second, and seldom in a long fit."""
        history = History()
        with Progress(10_000, 1) as progress:
            for _ in range(10_000):
                clock.now += pause
                history.append(1, 1, 1)
                progress.update(history)
        assert 5 < len(self.shown(capsys.readouterr().err)) <= most

    @pytest.mark.parametrize("gone", ["none", "closed", "full"])
    @pytest.mark.usefixtures("display")
    def test_stderr_that_takes_nothing(self, monkeypatch, gone):
        """As of a program without a console, or behind a pipe whose reader has ended."""

        class Full(io.StringIO):
            def write(self, text):
                raise OSError(errno.ENOSPC, "no space left")

        stderr = {"none": None, "closed": io.StringIO(), "full": Full()}[gone]
        if gone == "closed":
            stderr.close()
        monkeypatch.setattr(sys, "stderr", stderr)
        history = History()
        with Progress(3, 1) as progress:
            for loss in (3, 2, 1):
                history.append(loss, 0.1, 0.1)
                progress.update(history)
        net = fastnn.MLP([1, 1], seed=0)
        assert net.fit([[1.0]], [1.0], epochs=3, verbose=1).epochs == 3

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
    @pytest.mark.usefixtures("display", "clock")
    def test_an_exception_passes_and_the_last_epoch_is_shown(self, capsys, error):
        history = History()

        def fit():
            with Progress(100, 1) as progress:
                for epoch in range(7):
                    history.append(epoch, 1, 1)
                    progress.update(history)
                raise error

        with pytest.raises(error):
            fit()
        text = capsys.readouterr().err
        assert self.shown(text)[-1] == 7
        assert "loss 6" in text
        assert text.endswith("\n")

    @pytest.mark.usefixtures("display")
    def test_nothing_happened(self, capsys):
        """No epochs, no update, or the same history twice."""
        with Progress(0, 1):
            pass
        with Progress(3, 1) as progress:
            progress.update(History())
        history = history_of([3, 2])
        with Progress(3, 1) as progress:
            progress.update(history)
            progress.update(history)
        assert self.shown(capsys.readouterr().err)[-1] == 2

    @pytest.mark.parametrize("value", [2, -1, 0.5, 1.0, "1", None, [1]], ids=repr)
    def test_verbose(self, value):
        with pytest.raises(ValueError, match=f"^verbose must be 0 or 1; got {re.escape(repr(value))}"):
            Progress(1, value)
