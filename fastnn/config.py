"""What fastnn found on this machine."""

import os
import platform

import numpy as np

import fastnn
from fastnn import _kernels
from fastnn.threads import available_threads, usable_processors


def show_config() -> None:
    """Print the version, the instruction sets built and runnable, the active one, the threads and the compiler."""
    built, available = ", ".join(_kernels.built_isas()), ", ".join(_kernels.available_isas())
    for name, value in {
        "fastnn": fastnn.__version__,
        "Python": f"{platform.python_version()}, NumPy {np.__version__}",
        "machine": f"{platform.machine()}, {platform.system()}",
        "instruction sets": f"{built} built; {available} run here",
        "active": f"{_kernels.isa()} (FASTNN_ISA={os.environ.get('FASTNN_ISA', '')!r})",
        "threads": f"{available_threads()} at most in a fit; processors usable by this process: {usable_processors()} "
        f"(OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')!r})",
        "compiler": _kernels.compiler(),
    }.items():
        print(f"{name + ':':<18}{value}")
