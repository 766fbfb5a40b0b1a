"""Measure contenders side by side in as many threads as they are given, and describe the machine that did it."""

import argparse
import contextlib
import datetime
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from timeit import Timer

import numpy as np

import fastnn
from fastnn import _kernels

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"

# Libraries read these when they are loaded. The last three are for JAX: its compiled code, its pool, its processor.
ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "NPROC": "1",
    "JAX_PLATFORMS": "cpu",
}


def run_in_one_thread():
    """Start the running script again with every library limited to one thread, unless it already is."""
    run_in_threads(1)


def run_in_threads(threads):
    """Start the running script again with every library limited to so many threads, unless it already is."""
    wanted = ONE_THREAD | {name: str(threads) for name, value in ONE_THREAD.items() if value == "1"}
    if threads > 1:
        wanted["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=true"
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | wanted)


def run_in_default_threads():
    """Start the running script again without the limits on threads that the environment sets, if there are any."""
    free = {name: value for name, value in os.environ.items() if name not in ONE_THREAD}
    if len(free) < len(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], free)


@dataclass(frozen=True)
class Contender:
    """One way to do the work: a statement, repeated in timeit's loop.

    Parameters
    ----------
    name : str
    statement : str
        What is timed.
    names : dict
        The names that the statement and the setup use.
    work : float
        Units of work in one execution of the statement; times are per unit.
    setup : str
        Run before every timed run, outside the timing.
    """

    name: str
    statement: str
    names: dict = field(repr=False)
    work: float = 1.0
    setup: str = "pass"


@dataclass(frozen=True)
class Settings:
    """How long to measure: rounds, the least seconds of one timed run, and how many threads each contender has."""

    rounds: int = 25
    seconds: float = 0.01
    threads: int = 1


def settings(options, threads=1):
    """Return the settings that the command line asks for."""
    return Settings(rounds=3, seconds=0.001, threads=threads) if options.quick else Settings(threads=threads)


class Measurement:
    """Seconds per unit of work, one per round, of each contender."""

    def __init__(self, names):
        self.seconds = {name: [] for name in names}

    def time(self, name):
        """Median and quartiles of the seconds per unit."""
        return quartiles(self.seconds[name])

    def ratio(self, name, to):
        """Median and quartiles of name's time divided by to's, each pair out of one round."""
        return quartiles([a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True)])

    def beside(self, ours, name, version):
        """Return what the results say of a contender: its name and version, its time, and that over ours."""
        return {
            "name": name,
            "version": version,
            "microseconds": microseconds(self.time(name)),
            "times_fastnn": self.ratio(name, ours),
        }

    def share(self, parts, of):
        """Median and quartiles of the time for {name: units} of several contenders' work, divided by of's time."""
        rounds = range(len(self.seconds[of]))
        sums = [sum(units * self.seconds[name][i] for name, units in parts.items()) for i in rounds]
        return quartiles([a / b for a, b in zip(sums, self.seconds[of], strict=True)])


def quartiles(values):
    """Return {"median", "lower", "upper"} of at least one value."""
    if len(values) == 1:
        return dict.fromkeys(("median", "lower", "upper"), values[0])
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "lower": lower, "upper": upper}


def microseconds(seconds):
    """Turn the seconds of a median and quartiles into microseconds."""
    return {key: 1e6 * value for key, value in seconds.items()}


def verdict(met):
    """Say in a word whether a goal was met."""
    return "met" if met else "MISSED"


def measure(contenders, settings):
    """Run every contender once per round, shuffled anew for each, every run at least settings.seconds long."""
    runs = []
    for contender in contenders:
        timer = Timer(contender.statement, contender.setup, globals=contender.names)
        runs.append((contender, timer, calibrate(timer, settings.seconds)))
    measurement = Measurement([contender.name for contender in contenders])
    order = random.Random(0)
    for _ in range(settings.rounds):
        order.shuffle(runs)
        for contender, timer, repeats in runs:
            if settings.threads > 1:
                settle()
            measurement.seconds[contender.name].append(timer.timeit(repeats) / (repeats * contender.work))
    return measurement


def settle():
    """Wait, at most a second, until no thread of this process is busy: some pools spin for a while after their work."""
    for _ in range(200):
        busy = time.process_time()
        time.sleep(0.005)
        if time.process_time() - busy < 0.0005:
            return


def calibrate(timer, seconds):
    """Find how many repeats take at least so many seconds; warms up on the way."""
    repeats, elapsed = 1, timer.timeit(1)
    elapsed = min(elapsed, timer.timeit(1))  # the first may have had to load or allocate
    while elapsed < seconds:
        growth = 1.2 * seconds / max(elapsed, 1e-9)
        repeats = math.ceil(repeats * min(max(growth, 1.5), 100))
        elapsed = timer.timeit(repeats)
    return repeats


def peak(bits):
    """Return the contender whose unit of work is one floating-point operation of the processor at its best."""
    iterations = 100_000  # a tenth of a millisecond or more, so that Python's call does not count
    return Contender(
        name="peak",
        statement="peak_flops(bits, iterations)",
        names={"peak_flops": _kernels.peak_flops, "bits": bits, "iterations": iterations},
        work=_kernels.peak_flops(bits, iterations),
    )


def copy(n_bytes):
    """Return the contender whose unit of work is one byte read or written, in copies within so many bytes of memory."""
    half = max(n_bytes // 2, 4096)  # in less, a call costs more than the copy
    repeats = min(64, max(1, 2_000_000 // half))  # some 50 us, as in peak
    # Every copy goes a cache line further: NumPy would take an axis without a stride for the inner loop.
    memory = np.zeros(half + 64 * repeats, np.uint8)
    target = np.lib.stride_tricks.as_strided(memory, (repeats, half), (64, 1))
    names = {"copyto": np.copyto, "target": target, "source": np.ones(half, np.uint8)}
    return Contender("copy", "copyto(target, source)", names, work=2 * half * repeats)


class Progress:
    """A line on stderr that says what is being measured."""

    def __init__(self):
        self.count = 0

    def __call__(self, what):
        """Announce the next measurement."""
        self.count += 1
        line = f"[{self.count}] {what}"
        if sys.stderr.isatty():
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def done(self):
        """End the line."""
        if sys.stderr.isatty():
            print(file=sys.stderr)


def machine():
    """Describe what the numbers depend on."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "caches": caches(),
        "system": platform.platform(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas(),
        "fastnn": fastnn.__version__,
        "isa": fastnn.isa(),
        "compiler": _kernels.compiler(),
        **revision(),
        "build_is_current": build_is_current(),
    }


def processor():
    """Name the processor model."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    with contextlib.suppress(OSError):
        return output_of("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor()
    return platform.processor() or platform.machine()


def caches():
    """Map each data cache of the first core to its size, where Linux says."""
    sizes = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        with contextlib.suppress(OSError):
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
            if kind != "Instruction":
                sizes[f"L{level}{'d' if kind == 'Data' else ''}"] = size
    return sizes


def blas():
    """Name the library behind NumPy's products."""
    with contextlib.suppress(Exception):  # show_config's answer is no fixed interface
        found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{found['name']} {found['version']}"
    return "unknown"


def revision():
    """Return the commit and whether tracked files differ from it, but for those that follow from a measurement."""
    with contextlib.suppress(OSError):
        measured = (".", ":!bench/results", ":!README.md", ":!docs")
        changed = output_of("git", "status", "--porcelain", "--untracked-files=no", "--", *measured)
        return {"commit": output_of("git", "rev-parse", "HEAD") or None, "dirty": bool(changed)}
    return {"commit": None, "dirty": None}


def output_of(*command):
    """Return what a command prints, in the folder of the repository; nothing if it fails."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def build_is_current():
    """Whether the imported extensions come from this tree and are newer than their sources."""
    package = Path(fastnn.__file__).parent
    built = [path for suffix in (".so", ".pyd") for path in package.glob(f"_*{suffix}")]
    sources = [*(ROOT / "src_c").rglob("*.[ch]"), *(ROOT / "fastnn").glob("*.p[yx][xd]"), ROOT / "setup.py"]
    newest_source = max(path.stat().st_mtime for path in sources)
    return package.parent == ROOT and all(path.stat().st_mtime >= newest_source for path in built)


def parser(script, description):
    """Return the argument parser that every script shares."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--quick", action="store_true", help="a smoke run: short, no large sizes, no file")
    arguments.add_argument("--output", type=Path, metavar="FILE", help=f"default: bench/results/{script}.json")
    return arguments


def write(script, options, settings, parts):
    """Write the results as JSON to --output, or to the script's own file unless it was a smoke run."""
    path = options.output or (None if options.quick else RESULTS / f"{script}.json")
    if path is None:
        return
    results = {
        "script": script,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "quick": options.quick,
        "rounds": settings.rounds,
        "seconds": settings.seconds,
        **parts,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_json(rounded(results)))
    print(f"written: {path}", file=sys.stderr)


def as_json(results):
    """Write a dictionary as JSON with one line for each entry, and for each item of an entry that is a list."""
    entries = []
    for key, value in results.items():
        items = ",\n  ".join(json.dumps(item) for item in value) if isinstance(value, list) else ""
        entries.append(f" {json.dumps(key)}: " + (f"[\n  {items}\n ]" if items else json.dumps(value)))
    return "{\n" + ",\n".join(entries) + "\n}\n"


def rounded(value):
    """Cut floats to five significant digits, all that a measurement is good for."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return value
