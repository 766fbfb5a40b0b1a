"""The packages that are optional: each is imported where it is first used."""

import importlib
from typing import Any

NAMES = {"sklearn": "scikit-learn", "torch": "PyTorch"}  # of packages that are imported by others


def import_extra(module: str, extra: str, user: str) -> Any:
    """Import a module that `user`, a function's name, needs and that `extra` of pyproject.toml installs.

    Raises
    ------
    ImportError
        If it is not installed; the one line says what to run.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in (module, package):  # it is there, and lacks something itself
            raise
        raise ImportError(
            f'{user} needs {NAMES.get(package, package)}; run: pip install "fastnn-cpu[{extra}]"'
        ) from None
