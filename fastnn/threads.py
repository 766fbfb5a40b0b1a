"""How many threads a call may use."""

import os
import sys
from typing import Any

from fastnn import checks

# Multiply-adds that are worth a thread: of a step in a fit, whose threads live as long as it and are measured to pay,
# and of a call that starts threads for itself alone, in some 40 us; two threads break even there at some 8 million.
WORK_PER_THREAD = 1_000_000
WORK_PER_STARTED_THREAD = 8 * WORK_PER_THREAD
SHARED_ROWS = 64  # in a batch: fewer are one thread's
MOST_THREADS = 256  # as in src_c/team.c; each has scratch memory of its own


def thread_count(value: object, work: float, per_thread: float) -> int:
    """Return how many threads to use for so many multiply-adds: at most `value`, or for None what the process may."""
    asked = None if value is None else checks.integer(value, "n_threads", minimum=1)
    useful = int(min(work // per_thread, MOST_THREADS))
    if useful <= 1:  # before the system is asked, which takes longer than a small network
        return 1
    return min(useful, available_threads() if asked is None else asked)


def threads_of_steps(value: object, batch_size: int, row_work: float) -> int:
    """Return how many threads a fit may use that takes steps of so many rows, each so many multiply-adds forward."""
    return thread_count(value, 3 * batch_size * row_work if batch_size >= SHARED_ROWS else 0, WORK_PER_THREAD)


def threads_of_call(value: object, work: float) -> int:
    """Return how many threads one call with so many multiply-adds starts."""
    return thread_count(value, work, WORK_PER_STARTED_THREAD)


def available_threads() -> int:
    """Return the processors that this process may run on, or fewer if OpenMP's or threadpoolctl's limit is lower.

    The limits are those of the environment variable OMP_NUM_THREADS and, in a process that uses threadpoolctl, the
    lowest number of threads that it reports for the libraries of linear algebra.
    """
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    limits = [usable_processors(), *([int(first)] if first.isdecimal() and int(first) > 0 else [])]
    if "threadpoolctl" in sys.modules and min(limits) > 1:
        limits += [library.num_threads for library in threadpool_controller().lib_controllers]
    return max(1, min(limits))


_found: tuple[int, Any] = (0, None)  # how many modules had been imported, and what threadpoolctl found then


def threadpool_controller() -> Any:
    """Return what threadpoolctl finds, which takes it milliseconds; only an import can bring another library."""
    global _found
    if _found[0] != len(sys.modules):
        _found = len(sys.modules), sys.modules["threadpoolctl"].ThreadpoolController()
    return _found[1]


def usable_processors() -> int:
    """Return the processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
