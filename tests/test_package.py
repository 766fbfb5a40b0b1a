"""What importing fastnn does, and what it exports."""

import json
import shutil
import sys
from pathlib import Path

import pytest

import fastnn

# Prints what modules `import fastnn` adds to those of `import numpy`.
NEW_MODULES = """
import json, sys
import numpy
before = set(sys.modules)
import fastnn
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_version_is_the_distributions(distribution):
    assert fastnn.__version__ == distribution.version


@pytest.mark.parametrize("name", fastnn.__all__)
def test_every_public_name_exists_and_is_documented(name):
    assert getattr(fastnn, name).__doc__
    assert name in dir(fastnn)


def test_star_import():
    names = {}
    exec("from fastnn import *", names)
    assert set(fastnn.__all__) <= names.keys()
    assert sorted(fastnn.__all__) == fastnn.__all__


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="module 'fastnn' has no attribute 'nonsense'"):
        fastnn.nonsense  # noqa: B018 - the access is the test


def test_import_pulls_in_nothing_beyond_numpy(run):
    """No matplotlib, SciPy or pandas, and of fastnn itself only what a program needs at once."""
    new = json.loads(run("-c", NEW_MODULES).stdout)
    ours = {name for name in new if name.partition(".")[0] == "fastnn"}
    assert "fastnn.network" in ours
    assert ours.isdisjoint({"fastnn.__main__", "fastnn.config"})
    # What is passed to a fit, and what a fit leaves behind.
    for name in ("early_stopping", "history", "losses", "optimizers", "options", "progress", "schedules", "storage"):
        assert f"fastnn.{name}" not in ours
    # Cython registers modules of its own for what its extensions share.
    others = {name.partition(".")[0] for name in new if name not in ours and "cython" not in name.lower()}
    assert others <= {*sys.stdlib_module_names, "numpy"}


def test_show_config(capsys):
    fastnn.show_config()
    lines = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["fastnn"].strip() == fastnn.__version__
    for name in fastnn.available_isas():
        assert name in lines["instruction sets"]
    assert fastnn.isa() in lines["active"]
    assert {"machine", "threads", "compiler"} <= lines.keys()


def test_a_tree_that_was_never_built_says_how_to(run, tmp_path):
    shutil.copytree(
        Path(fastnn.__file__).parent,
        tmp_path / "fastnn",
        ignore=shutil.ignore_patterns("*.so", "*.pyd", "*.c", "__pycache__"),
    )
    # The finder of an editable installation would bring in the compiled modules of the real tree.
    alone = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'Editable' not in repr(f)]; import fastnn"
    done = run("-c", alone, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: the compiled part of fastnn is missing from")
    assert str(tmp_path) in last
    assert "pip install -e ." in last


def test_typed():
    assert (Path(fastnn.__file__).parent / "py.typed").exists()
