"""What fastnn found on this machine."""

import os
import platform

import numpy as np

import fastnn
from fastnn import _kernels


def show_config() -> None:
    """Print the version, the instruction sets built and runnable, the active one, the threads and the compiler."""
    built, available = ", ".join(_kernels.built_isas()), ", ".join(_kernels.available_isas())
    for name, value in {
        "fastnn": fastnn.__version__,
        "Python": f"{platform.python_version()}, NumPy {np.__version__}",
        "machine": f"{platform.machine()}, {platform.system()}",
        "instruction sets": f"{built} built; {available} run here",
        "active": f"{_kernels.isa()} (FASTNN_ISA={os.environ.get('FASTNN_ISA', '')!r})",
        "threads": f"1 used, {_usable_processors()} processors usable by this process",
        "compiler": _kernels.compiler(),
    }.items():
        print(f"{name + ':':<18}{value}")


def _usable_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
