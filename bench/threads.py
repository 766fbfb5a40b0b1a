"""What do a call's own threads gain? Products, beside NumPy's, and predictions, with each one's default number."""

import sys

import functions
import harness
import numpy as np
import predict
import workloads
from harness import Contender

import fastnn
from fastnn.threads import available_threads

SQUARES = (128, 256, 512, 1_024, 1_825)
LARGEST_QUICK = 128
NETWORKS = ("diabetes", "taxi", "mnist")


def main(arguments=None):
    """Measure the squares and the predictions, print what was found and write it."""
    options = harness.parser("threads", __doc__).parse_args(arguments)
    machine = harness.machine()
    if not machine["build_is_current"]:
        sys.exit("fastnn is not built from this tree as it is now; run: pip install -e .")
    threads = available_threads()
    settings, progress = harness.settings(options, max(threads, 2)), harness.Progress()  # so that pools come to rest
    results = {"machine": machine, "threads": threads}
    results["products"] = [
        measure_product(n, dtype, settings, progress)
        for n in SQUARES
        if not options.quick or n <= LARGEST_QUICK
        for dtype in functions.DTYPES
    ]
    results["predictions"] = [measure_prediction(name, settings, progress) for name in NETWORKS]
    progress.done()
    print_summary(results)
    harness.write("threads", options, settings, results)


def measure_product(n, dtype, settings, progress):
    """NumPy's time, and that of one thread, over fastnn's."""
    progress(f"matmul {dtype} {n}x{n}x{n}")
    a, b = functions.operands(n, n, n, dtype)
    names = {"fastnn": fastnn, "np": np, "a": a, "b": b}
    functions.check_equal(fastnn.matmul(a, b), np.matmul(a, b), functions.rounding(a, b), "fastnn.matmul(a, b)")
    contenders = [
        Contender("fastnn", "fastnn.matmul(a, b)", names),
        Contender("one thread", "fastnn.matmul(a, b, n_threads=1)", names),
        Contender("NumPy", "np.matmul(a, b)", names),
    ]
    return {"dtype": dtype, "m": n, "k": n, "n": n, **ratios(harness.measure(contenders, settings))}


def measure_prediction(name, settings, progress):
    """Measure what one thread takes against the default."""
    progress(f"{name}: {predict.ROWS} rows")
    workload = workloads.WORKLOADS[name]
    x = np.random.default_rng(workloads.SEED).normal(size=(predict.ROWS, workload.sizes[0])).astype(np.float32)
    function, _ = predict.fastnn_function(workload, x)
    names = {"predict": function, "x": x}
    if not np.array_equal(function(x), function(x, n_threads=1)):
        sys.exit(f"{name}: the prediction depends on the number of threads")
    contenders = [
        Contender("fastnn", "predict(x)", names),
        Contender("one thread", "predict(x, n_threads=1)", names),
    ]
    return {"name": name, "rows": predict.ROWS, **ratios(harness.measure(contenders, settings))}


def ratios(measured):
    """Return what fastnn takes by default, and how many times that the others take."""
    others = [name for name in measured.seconds if name != "fastnn"]
    return {
        "microseconds": harness.microseconds(measured.time("fastnn")),
        "times_fastnn": {name: measured.ratio(name, "fastnn") for name in others},
    }


def print_summary(results):
    """Say what each takes, and how many times that the others take."""
    its = results["machine"]
    print(f"fastnn {fastnn.__version__}, {its['isa']}, {its['processor']}, {results['threads']} threads")
    for case in results["products"] + results["predictions"]:
        what = case["name"] if "name" in case else f"matmul {case['n']} {case['dtype']}"
        compared = "  ".join(f"{name} {ratio['median']:.2f}x" for name, ratio in case["times_fastnn"].items())
        print(f"{what:<22}{case['microseconds']['median']:>12.1f} us  {compared}")


if __name__ == "__main__":
    harness.run_in_default_threads()
    main()
