"""What the documentation shows runs: the README's Python code, and the examples of the docstrings."""

import doctest
import importlib
import pkgutil
import re
import warnings
from pathlib import Path

import pytest

import fastnn

README = Path(__file__).parents[1] / "README.md"
EXTRAS = {  # by what gives them away
    ".plot(": "matplotlib",
    "import matplotlib": "matplotlib",
    "import tqdm": "tqdm",
    "torch": "torch",
    "to_onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "sklearn": "sklearn",
}

TEXT = README.read_text(encoding="utf-8") if README.exists() else ""
BLOCKS = [
    pytest.param(match[1], id=f"line {TEXT[: match.start(1)].count(chr(10)) + 1}")
    for match in re.finditer(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
]


@pytest.mark.skipif(not README.exists(), reason="the tests are not in a source tree, so there is no README beside them")
def test_the_readme_has_code():
    assert BLOCKS


def import_what_is_needed(code):
    """Import the extras that some code uses, or skip the test."""
    for trace, module in EXTRAS.items():
        if trace in code:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pytest.importorskip(module, reason=f"this code needs {module}")
            if module == "matplotlib":
                importlib.import_module(module).use("agg")


@pytest.mark.parametrize("code", BLOCKS)
def test_readme(code, tmp_path, monkeypatch):
    """Each block by itself, as one who pastes it would run it, in an empty folder."""
    import_what_is_needed(code)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})


def examples():
    """Every docstring with examples, of the public names and of all modules that they may come from."""
    modules = [name for _, name, _ in pkgutil.walk_packages(fastnn.__path__, "fastnn.") if name != "fastnn.__main__"]
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = []
    for name in ["fastnn", *modules]:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in EXTRAS.values():  # which a module may need altogether
                raise
        else:
            found += finder.find(module)
    return sorted((test for test in found if test.examples), key=lambda test: test.name)


EXAMPLES = examples()


@pytest.mark.parametrize("name", ["MLP", "MLP.loss_and_gradient", "NeuralNetwork", "WarmUp", "from_torch"])
def test_the_search_finds_what_there_is(name):
    assert any(test.name.endswith("." + name) for test in EXAMPLES)


@pytest.mark.parametrize("example", [pytest.param(test, id=test.name) for test in EXAMPLES])
def test_docstring(example, tmp_path, monkeypatch):
    import_what_is_needed("".join(each.source for each in example.examples))
    monkeypatch.chdir(tmp_path)
    report = []
    doctest.DocTestRunner().run(example, out=report.append)
    assert not report, "".join(report)
