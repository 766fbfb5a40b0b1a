"""How fast are the book's network and what it is made of? One thread; results checked, then measured side by side."""

import statistics
import subprocess
import sys

import functions
import harness
import numpy as np
import rivals
from harness import Contender

import fastnn

PARTS = ("training", "elementwise", "products", "gemm", "import")
TOLERANCE = 1e-9  # between the results of NumPy's loop and another's
LARGEST = 10_000_000  # elements
LARGEST_QUICK = 20_000


def main(arguments=None):
    """Measure the parts asked for, print what was found and write it."""
    parser = harness.parser("book", __doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="measure only this part; may be repeated")
    options = parser.parse_args(arguments)
    if options.part and not (options.quick or options.output):
        parser.error("--part leaves parts of the results out; name a file for them with --output")
    machine = harness.machine()
    if not machine["build_is_current"]:
        sys.exit("fastnn is not built from this tree as it is now; run: pip install -e .")
    settings, progress = harness.settings(options), harness.Progress()
    results = {"machine": machine}
    for part in options.part or PARTS:
        results[part] = measure_part(part, options, settings, progress)
    progress.done()
    print_summary(results)
    harness.write("book", options, settings, results)


def measure_part(part, options, settings, progress):
    """Measure one part."""
    largest = LARGEST_QUICK if options.quick else LARGEST
    if part == "training":
        return measure_training(settings, progress)
    if part == "elementwise":
        return functions.measure_elementwise(settings, progress, largest)
    if part == "products":
        return functions.measure_products(settings, progress, largest)
    if part == "gemm":
        return functions.measure_gemm(settings, progress, largest)
    return measure_import(5 if options.quick else 41, progress)


def measure_training(settings, progress):
    """Microseconds per iteration of each way to train the book's network."""
    progress("training: compile and compare results")
    networks, missing = rivals.available()
    errors = {network.name: verify(network) for network in networks}
    progress("training: " + ", ".join(errors))
    contenders = [
        Contender(network.name, network.statement, {"network": network}, network.iterations, "network.reset()")
        for network in networks
    ]
    measured = harness.measure(contenders, settings)
    return {
        "iterations": rivals.ITERATIONS,
        "missing": missing,
        "contenders": [
            {**measured.beside(rivals.FastnnTrain.name, network.name, network.version), **errors[network.name]}
            for network in networks
        ],
    }


def verify(network):
    """Train once; return the largest error against NumPy's loop, or stop if it is not rounding."""
    network.reset()
    if isinstance(network, rivals.FannNetwork):
        return verify_learning(network)
    network.run()
    expected = rivals.NumPyNetwork()
    expected.run()
    names = ("weights1", "weights2", "output")
    error = max(np.max(np.abs(getattr(network, name) - getattr(expected, name))) for name in names)
    if not error <= TOLERANCE:
        sys.exit(f"{network.name} differs from NumPy's loop by {error} after {rivals.ITERATIONS} iterations")
    return {"largest_error": float(error)}


def verify_learning(network):
    """Train a network that cannot give the same numbers; return its error before and after, or stop if it stays."""
    before = network.mean_squared_error
    network.run()
    after = network.mean_squared_error
    if not after < before / 10:
        sys.exit(f"{network.name} does not learn: mean squared error {before} before, {after} after")
    return {"mean_squared_error": [before, after]}


def measure_import(rounds, progress):
    """Seconds that importing fastnn takes after NumPy, and NumPy itself; each pair in a new interpreter."""
    progress("import, in new interpreters")
    code = (
        "from time import perf_counter as now; a = now(); import numpy; b = now(); import fastnn; c = now(); "
        "print(b - a, c - b)"
    )
    samples = []
    for _ in range(rounds + 1):  # the first reads the files from disk
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        samples.append([float(word) for word in done.stdout.split()])
    numpy_seconds, beyond = zip(*samples[1:], strict=True)
    return {
        "rounds": rounds,
        "numpy_seconds": harness.quartiles(numpy_seconds),
        "beyond_numpy_seconds": harness.quartiles(beyond),
    }


def print_summary(results):
    """Say the main findings in a few lines."""
    machine = results["machine"]
    print(f"fastnn {fastnn.__version__}, {machine['isa']}, {machine['compiler']}, {machine['processor']}")
    for contender in results.get("training", {}).get("contenders", []):
        time, ratio = contender["microseconds"]["median"], contender["times_fastnn"]["median"]
        print(f"{contender['name']:<16}{time:>9.3f} us per iteration {ratio:>8.1f}x fastnn's train")
    for name, reason in results.get("training", {}).get("missing", {}).items():
        print(f"{name:<16}  missing: {reason}")
    for part in ("elementwise", "products"):
        ratios = [case["times_fastnn"]["median"] for case in results.get(part, [])]
        if ratios:
            slower = f"{sum(ratio < 1 for ratio in ratios)} of {len(ratios)} cases slower than NumPy"
            print(f"{part:<16}{slower}; median {statistics.median(ratios):.2f}x, worst {min(ratios):.2f}x")
    for case in results.get("gemm", []):
        shape = "x".join(str(case[key]) for key in "mkn")
        share, numpy_share = (case[f"{name}_share"]["median"] for name in ("fastnn", "numpy"))
        peak = f"{case['peak_gflops']:.1f} GFLOP/s"
        print(f"gemm {shape:<15} {case['dtype']} {share:>6.1%} of {peak}; NumPy {numpy_share:.1%}")
    if "import" in results:
        print(f"import          {1e3 * results['import']['beyond_numpy_seconds']['median']:.1f} ms beyond NumPy")


if __name__ == "__main__":
    harness.run_in_one_thread()
    main()
