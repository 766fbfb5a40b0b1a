"""The `fastnn` command, as `python -m fastnn` in a process of its own where that matters."""

import errno
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import reference

import fastnn
from fastnn.__main__ import main


def command(run, *arguments, **options):
    return run("-m", "fastnn", *arguments, **options)


def predictions(text):
    return [float(value) for value in re.findall(r"^\[[01] [01] 1\] +([\d.]+) +[01]$", text, re.MULTILINE)]


def losses(text):
    return {int(i): float(loss) for i, loss in re.findall(r"^ +(\d+) +([\d.]+)$", text, re.MULTILINE)}


def test_trains_the_books_network(run):
    """The table, the loss at a few iterations, the time and the instruction set; the numbers are seed 0's."""
    done = command(run)
    assert done.stderr == ""
    assert "seed 0" in done.stdout
    # of the last iteration's forward pass
    np.testing.assert_allclose(predictions(done.stdout), [0.010096, 0.971578, 0.971665, 0.032979], rtol=0, atol=1e-6)
    found = losses(done.stdout)
    assert list(found) == [1, 15, 150, 750, 1500]
    assert sorted(found.values(), reverse=True) == list(found.values())
    assert re.search(
        rf"1500 iterations in [\d.]+ ms, \d+ ns each, instruction set {fastnn.isa()}$", done.stdout, re.MULTILINE
    )


def test_seed_and_iterations(run):
    done = command(run, "train", "--seed", "7", "--iterations", "40")
    generator = np.random.RandomState(7)
    x, y = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]]), np.array([[0], [1], [1], [0]])
    *_, output, expected = reference.train(x, y, generator.rand(3, 4), generator.rand(4, 1), 40)
    np.testing.assert_allclose(predictions(done.stdout), output.ravel(), rtol=0, atol=1e-6)
    for i, loss in losses(done.stdout).items():
        assert loss == pytest.approx(expected[i - 1], abs=1e-6)


@pytest.mark.parametrize("iterations", [0, 1, 2, 9, 10, 99])
def test_few_iterations(run, iterations):
    done = command(run, "--iterations", str(iterations))
    assert len(predictions(done.stdout)) == 4
    assert max(losses(done.stdout), default=0) == iterations


def test_forced_instruction_set(run):
    assert "instruction set scalar\n" in command(run, FASTNN_ISA="scalar").stdout
    done = command(run, FASTNN_ISA="abacus", check=False)
    assert done.returncode == 1
    assert "ImportError: FASTNN_ISA" in done.stderr


def test_info(run):
    text = command(run, "info").stdout
    assert fastnn.__version__ in text
    for name in fastnn.available_isas():
        assert name in text
    assert re.search(rf"^active: +{fastnn.isa()} ", text, re.MULTILINE)
    assert re.search(r"^threads: +\d", text, re.MULTILINE)
    assert re.search(r"^compiler: +\S", text, re.MULTILINE)


def test_version(run):
    assert command(run, "--version").stdout == f"fastnn {fastnn.__version__}\n"


def test_help(run):
    text = command(run, "--help").stdout
    for word in ("train", "info", "--iterations", "--seed", "--plot", "--version"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["dance"], "dance"),
        (["--iterations", "-1"], "--iterations"),
        (["--iterations", "many"], "many"),
        (["--iterations", "1.5"], "1.5"),
        (["--iterations", str(2**63)], "--iterations"),
        (["--seed", "-1"], "--seed"),
        (["--seed", str(2**32)], "--seed"),
        (["--plot"], "--plot"),
        (["--nonsense"], "--nonsense"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments(run, arguments, word):
    """Status 2, and one line that names the argument, after the usage."""
    done = command(run, *arguments, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert word in done.stderr.strip().splitlines()[-1]


def test_plot(run, tmp_path):
    pytest.importorskip("matplotlib")
    done = command(run, "--plot", "loss.png", MPLCONFIGDIR=str(tmp_path))
    assert "loss drawn in loss.png" in done.stdout
    picture = (tmp_path / "loss.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000


def test_plot_takes_the_name_as_it_is(run, tmp_path):
    """Also without a suffix, to which matplotlib by itself adds one."""
    pytest.importorskip("matplotlib")
    done = command(run, "--plot", "loss", MPLCONFIGDIR=str(tmp_path))
    assert done.stdout.endswith("loss drawn in loss\n")
    assert (tmp_path / "loss").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("path", ["no/such/folder.png", "loss.nonsense", ".", ""])
def test_plot_that_cannot_be_written(tmp_path, monkeypatch, path):
    """Not in a process of its own: to import matplotlib takes the most of it."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"^fastnn: cannot write {re.escape(path)}: "):
        main(["--plot", path])


def test_plot_without_matplotlib(run, tmp_path):
    """One line that says what to install, before any training. `-m` looks first in the folder where it runs."""
    (tmp_path / "matplotlib").mkdir()
    (tmp_path / "matplotlib" / "__init__.py").write_text("raise ImportError('hidden')")
    done = command(run, "--plot", "loss.png", check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "fastnn: --plot needs matplotlib; run: pip install matplotlib\n"
    assert not (tmp_path / "loss.png").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has another error for a closed pipe")
@pytest.mark.parametrize("arguments", [[], ["info"], ["--help"]], ids=str)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nobody_reads(arguments, unbuffered):
    """As in `fastnn | head -1`: not a word about it, whether print meets the closed pipe or the flush at the end."""
    read, write = os.pipe()
    os.close(read)
    try:
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        command = [sys.executable, "-m", "fastnn", *arguments]
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=environment, timeout=300)
    finally:
        os.close(write)
    assert done.stderr == b""
    assert done.returncode in (0, 1)  # argparse takes its own help as shown


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("arguments", [[], ["info"]], ids=str)
def test_a_full_disk(arguments):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "fastnn", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300)
    assert done.stderr == f"fastnn: cannot write: {os.strerror(errno.ENOSPC)}\n"
    assert done.returncode == 1


def test_the_script_is_the_same_command(distribution):
    [script] = [s for s in distribution.entry_points if s.group == "console_scripts"]
    assert script.name == "fastnn"
    assert script.load() is main
