"""Does any width of a layer cost more than the next multiple of 16? 10-w-w-10 networks for w = 1 to 130, one thread."""

import dataclasses
import sys

import harness
import rivals_mlp
import workloads
from harness import Contender

import fastnn

WIDTHS = tuple(range(1, 131))
QUICK = (1, 15, 16, 17, 32)
STEP = 16
MOST = 1.1  # the goal
MOST_LISTED = 5


def main(arguments=None):
    """Measure all widths, print the worst and write them."""
    options = harness.parser("widths", __doc__).parse_args(arguments)
    machine = harness.machine()
    if not machine["build_is_current"]:
        sys.exit("fastnn is not built from this tree as it is now; run: pip install -e .")
    settings, progress = harness.settings(options), harness.Progress()
    results = {"machine": machine, "goal": MOST}
    results["widths"] = measure(QUICK if options.quick else WIDTHS, settings, progress)
    progress.done()
    print_summary(results)
    harness.write("widths", options, settings, results)


def measure(widths, settings, progress):
    """Microseconds per step of each width, and its ratio to the next multiple of 16."""
    contenders = []
    for width in sorted({*widths, *map(next_multiple, widths)}):
        progress(f"width {width}: prepare")
        w46 = workloads.WORKLOADS["w46"]
        network = rivals_mlp.FastnnMLP(dataclasses.replace(w46, sizes=(10, width, width, 10)), w46.dtype)
        work = rivals_mlp.prepare(network, settings.seconds) * w46.batches
        contenders.append(Contender(width, network.statement, {"network": network}, work, "network.reset()"))
    progress(f"{len(contenders)} widths in turn")
    measured = harness.measure(contenders, settings)
    return [
        {
            "width": width,
            "microseconds": harness.microseconds(measured.time(width)),
            "times_next_multiple": measured.ratio(width, next_multiple(width)),
        }
        for width in widths
    ]


def next_multiple(width):
    """Return the least multiple of 16 from width on."""
    return -(-width // STEP) * STEP


def print_summary(results):
    """Say which widths cost most against the next multiple of 16."""
    its, goal = results["machine"], results["goal"]
    print(f"fastnn {fastnn.__version__}, {its['isa']}, {its['compiler']}, {its['processor']}")
    worst = sorted(results["widths"], key=lambda case: -case["times_next_multiple"]["median"])
    for case in worst[:MOST_LISTED]:
        width, ratio = case["width"], case["times_next_multiple"]["median"]
        print(f"w = {width:<4}{case['microseconds']['median']:>9.2f} us, {ratio:.3f}x w = {next_multiple(width)}")
    ratio = worst[0]["times_next_multiple"]["median"]
    print(f"the worst is {ratio:.3f}x the next multiple of {STEP}; goal {goal}x: {harness.verdict(ratio <= goal)}")


if __name__ == "__main__":
    harness.run_in_one_thread()
    main()
