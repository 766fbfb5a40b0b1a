"""What the documentation shows runs: the Python code of the README and of docs/, and the examples of the docstrings."""

import contextlib
import doctest
import importlib
import inspect
import io
import itertools
import pkgutil
import re
import warnings
from pathlib import Path

import pytest

import fastnn

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
EXTRAS = {  # by what gives them away
    ".plot(": "matplotlib",
    "import matplotlib": "matplotlib",
    "import tqdm": "tqdm",
    "import pandas": "pandas",
    "torch": "torch",
    "to_onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "sklearn": "sklearn",
    "MLPClassifier": "sklearn",
    "MLPRegressor": "sklearn",
    "scipy": "scipy",
}

# A page's code trains for a second; in scalar code, which emulates fused multiply-adds, for a minute, to the same bits.
once = pytest.mark.skipif(fastnn.isa() != fastnn.available_isas()[0], reason="runs on the best instruction set only")

in_a_source_tree = pytest.mark.skipif(
    not PAGES, reason="the tests are not in a source tree, so there is no documentation beside them"
)


def blocks(path):
    """Yield each block of Python in a page: its line, its code, and the output that the page shows right after it."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for match in re.finditer(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", text, re.DOTALL | re.MULTILINE):
        yield text[: match.start(1)].count("\n") + 1, match[1], match[2]


def import_what_is_needed(code):
    """Import the extras that some code uses, or skip the test."""
    for trace, module in EXTRAS.items():
        if trace in code:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pytest.importorskip(module, reason=f"this code needs {module}")
            if module == "matplotlib":
                importlib.import_module(module).use("agg")


def run_block(path, line, code, shown, namespace):
    """Run a block as one who pastes it would, and compare what it prints with what the page shows, if it does."""
    import_what_is_needed(code)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * (line - 1) + code, path.name, "exec"), namespace)
    if shown is not None:
        assert printed.getvalue() == shown, f"line {line} of {path.name}"


@in_a_source_tree
def test_the_pages_have_code():
    assert list(blocks(README))
    assert {path.stem for path in PAGES if list(blocks(path))} >= {"index", "quickstart", "tutorial", "saving"}


@once
@pytest.mark.parametrize(
    ("line", "code", "shown"), [pytest.param(*block, id=f"line {block[0]}") for block in blocks(README)]
)
def test_readme(line, code, shown, tmp_path, monkeypatch):
    """Each block by itself, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    run_block(README, line, code, shown, {"__name__": "__main__"})


@once
@pytest.mark.parametrize("page", [pytest.param(path, id=path.stem) for path in PAGES if list(blocks(path))])
def test_page(page, tmp_path, monkeypatch):
    """A page's blocks in their order, as in one notebook; where an extra is missing, those before it."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for block in blocks(page):
        run_block(page, *block, namespace)


@in_a_source_tree
def test_every_public_name_has_a_place_in_the_reference():
    reference = "".join(path.read_text(encoding="utf-8") for path in PAGES if path.parent.name == "api")
    documented = re.findall(r"^\.\. auto(?:class|function):: (\w+)$", reference, re.MULTILINE)
    assert sorted(documented) == sorted({*fastnn.__all__, *itertools.chain(*fastnn._LAZY.values())})


def entries(cls):
    """Return what a class's docstring says of its parameters and attributes, by name, or by "a, b" where they share."""
    text = inspect.getdoc(cls)  # without its margin, which Python 3.13's compiler takes away and an older one keeps
    text = text[text.index("Parameters\n") : text.index("\nNotes\n")]
    return dict(re.findall(r"^([a-z_0-9, ]+?)(?: : (.+\n(?: {4}.+\n)+))", text, re.MULTILINE))


def test_the_estimators_say_the_same_of_what_they_share():
    """Each docstring is whole, for whoever reads it in the source, in an editor or by help(); so it is here twice."""
    pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
    of_both = [entries(cls) for cls in (fastnn.MLPClassifier, fastnn.MLPRegressor)]
    shared = of_both[0].keys() & of_both[1].keys() - {"loss", "out_activation_"}
    assert len(shared) > 30
    assert [name for name in shared if of_both[0][name] != of_both[1][name]] == []
    for cls, documented in zip((fastnn.MLPClassifier, fastnn.MLPRegressor), of_both, strict=True):
        names = [name for names in documented for name in names.split(", ")]
        assert names[: len(cls().get_params())] == list(inspect.signature(cls).parameters)


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
