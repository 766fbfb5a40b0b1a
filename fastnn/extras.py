"""The packages that are optional: each is imported where it is first used."""

import importlib
from typing import Any

NAMES = {"sklearn": "scikit-learn >= 1.6", "torch": "PyTorch"}  # of packages that are imported by others


def import_extra(module: str, extra: str, user: str) -> Any:
    """Import a module that `user`, a function's name, needs: of the package that is called like its extra, or of ours.

    Raises
    ------
    ImportError
        If the package is not installed, or for our module too old; the one line says what to run.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        of_package = (error.name or "").partition(".")[0] == extra
        absent = isinstance(error, ModuleNotFoundError) and error.name in (module, extra)
        if not absent and not (of_package and module.startswith("fastnn.")):  # it is there, and lacks something itself
            raise
        raise ImportError(f'{user} needs {NAMES.get(extra, extra)}; run: pip install "fastnn-cpu[{extra}]"') from (
            None if absent else error
        )
