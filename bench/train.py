"""How fast does fastnn train? Ten networks beside their rivals and the machine's limit; results are checked first."""

import dataclasses
import statistics
import sys

import harness
import limit
import numpy as np
import rivals_frameworks
import rivals_mlp
import workloads
from harness import Contender

import fastnn

KINDS = (
    rivals_mlp.FastnnMLP,
    rivals_mlp.NumPyMLP,
    rivals_mlp.SklearnMLP,
    rivals_frameworks.TorchMLP,
    rivals_frameworks.TorchCompiledMLP,
    rivals_frameworks.JaxMLP,
)
OURS, JAX = rivals_mlp.FastnnMLP.name, rivals_frameworks.JaxMLP.name
VERIFIED_STEPS = 4
# How far from where NumPy's float64 loop ends a contender may end, as a part of the way there in the 2-norm, in units
# of rounding u. A gradient g comes out of sums of some hundred products, wrong by dg = 30 u G or so where G is the
# usual size of gradients. Adam divides it by |g| + epsilon, so that small gradients weigh as much as large: the way's
# relative error is the root mean square of dg / (|g| + epsilon), about dg sqrt(2 / (G epsilon)) for gradients spread
# evenly around 0, which is 5e4 u at the G = 1e-2 and epsilon = 1e-8 of these networks. A factor 2 is for the guess.
TOLERANCE = 1e5
# In float64 the comparison is with an epsilon that vanishes beside every gradient, as scikit-learn's has another place.
VANISHING_EPSILON = 1e-30
WATCHED = ("diabetes", "digits")
LEAST_MEAN = 2.2  # times the JAX loop, in one thread, as a geometric mean over the workloads
MOST_OVERHEAD = 0.03  # of a fit, for validation, early stopping and history beyond the validation's own arithmetic


def main(arguments=None):
    """Measure the workloads asked for, print what was found and write it."""
    options = parse(arguments)
    machine = harness.machine()
    if not machine["build_is_current"]:
        sys.exit("fastnn is not built from this tree as it is now; run: pip install -e .")
    settings, progress = harness.settings(options, options.threads), harness.Progress()
    chosen = [workloads.WORKLOADS[name] for name in options.workload]
    results = {"machine": machine, "threads": options.threads}
    results["workloads"] = [measure_workload(workload, options.threads, settings, progress) for workload in chosen]
    watched = [workload for workload in chosen if workload.name in WATCHED and options.threads == 1]
    results["watching"] = [measure_watching(workload, settings, progress) for workload in watched]
    progress.done()
    print_summary(results)
    harness.write(script_name(options.threads), options, settings, results)


def parse(arguments=None):
    """Read the command line."""
    parser = harness.parser("train", __doc__)
    parser.add_argument("--threads", type=int, choices=(1, 2), default=1, help="of every library; 2: train2.json")
    parser.add_argument("--workload", nargs="+", choices=workloads.WORKLOADS, help="measure only these")
    options = parser.parse_args(arguments)
    if options.workload and not (options.quick or options.output):
        parser.error("--workload leaves workloads out of the results; name a file for them with --output")
    small = [name for name in workloads.WORKLOADS if name != "wide" or not options.quick]
    options.workload = options.workload or small
    return options


def script_name(threads):
    """Name the file of the results."""
    return "train" if threads == 1 else f"train{threads}"


def measure_workload(workload, threads, settings, progress):
    """Microseconds per step of each contender, the machine's limit, and how the goals were met."""
    progress(f"{workload.name}: compile and compare results")
    networks, missing = available(workload, threads, KINDS)
    distances = {network.name: verify(type(network), workload, threads) for network in networks}
    steps = {network.name: rivals_mlp.prepare(network, settings.seconds) * workload.batches for network in networks}
    progress(f"{workload.name}: " + ", ".join(steps))
    contenders = [
        Contender(network.name, network.statement, {"network": network}, steps[network.name], "network.reset()")
        for network in networks
    ]
    parts, probes = limit.of(workload, threads)
    if threads > 1:
        alone = rivals_mlp.FastnnMLP(workload, workload.dtype)
        work = rivals_mlp.prepare(alone, settings.seconds) * workload.batches
        contenders.append(Contender("one thread", alone.statement, {"network": alone}, work, "network.reset()"))
    measured = harness.measure([*contenders, *probes], settings)
    return {
        **describe(workload),
        "missing": missing,
        "contenders": [
            {**measured.beside(OURS, network.name, network.version), "distance": distances[network.name]}
            for network in networks
        ],
        "one_thread_times_fastnn": measured.ratio("one thread", OURS) if threads > 1 else None,
        "limit_microseconds": limit.microseconds(measured, parts),
        "share_of_limit": measured.share(limit.flat(parts), OURS),
        "bytes": networks[0].bytes(),
    }


def available(workload, threads, kinds):
    """Return the contenders that can be built here, and a dictionary of why the others cannot."""
    networks, missing = [], {}
    for kind in kinds:
        try:
            networks.append(kind(workload, workload.dtype, threads))
        except (ImportError, NotImplementedError) as error:
            missing[kind.name] = str(error)
    return networks, missing


def verify(kind, workload, threads):
    """Train some steps in float64 and in the workload's dtype; return the distances from NumPy's way, or stop."""
    few = dataclasses.replace(workload, batches=min(workload.batches, VERIFIED_STEPS))
    orders = workloads.orders(few, 1 if few.batches > 1 else VERIFIED_STEPS)
    distances = {}
    for dtype in dict.fromkeys(("float64", workload.dtype)):
        epsilon = VANISHING_EPSILON if dtype == "float64" else rivals_mlp.EPSILON
        expected = rivals_mlp.NumPyMLP(few, "float64", epsilon=epsilon)
        network = kind(few, dtype, threads, epsilon)
        for each in (expected, network):
            each.prepare(orders, exact=True)
            each.reset()
            each.run()
        way = np.linalg.norm(expected.parameters - expected.initial)
        distances[dtype] = float(np.linalg.norm(network.parameters - expected.parameters) / way)
        if not distances[dtype] <= TOLERANCE * np.finfo(dtype).eps:
            sys.exit(f"{workload.name}: {kind.name} in {dtype} is {distances[dtype]:.2g} of the way off NumPy's loop")
    return distances


def describe(workload):
    """Return what of a workload the results name."""
    names = ("name", "sizes", "batch", "loss", "activation", "optimizer", "dtype", "goal", "two_threads", "share")
    return {name: getattr(workload, name) for name in names} | {"parameters": workload.n_parameters}


def measure_watching(workload, settings, progress):
    """Return what validation and early stopping cost beyond the validation's arithmetic, as a part of the fit."""
    progress(f"{workload.name}: with validation and early stopping")
    plain, watched = (rivals_mlp.FastnnMLP(workload, workload.dtype) for _ in range(2))
    held_out = workload.rows // 5
    several = 16  # so that Python's call of net.loss hardly counts as arithmetic
    rows, targets = (np.concatenate([part[:held_out]] * several) for part in (plain.x, plain.y))
    epochs = rivals_mlp.prepare(plain, settings.seconds)
    watched.prepare(workloads.orders(workload, epochs))
    watched.watch(plain.x[:held_out], plain.y[:held_out])
    contenders = [
        Contender("plain", plain.statement, {"network": plain}, epochs, "network.reset()"),
        Contender("watched", watched.statement, {"network": watched}, epochs, "network.reset()"),
        Contender("pass", "net.loss(x, y)", {"net": plain.network, "x": rows, "y": targets}, several),
    ]
    measured = harness.measure(contenders, settings)
    seconds = measured.seconds
    overheads = [(b - c) / a - 1 for a, b, c in zip(seconds["plain"], seconds["watched"], seconds["pass"], strict=True)]
    return {
        "name": workload.name,
        "validation_rows": held_out,
        "epoch_microseconds": harness.microseconds(measured.time("plain")),
        "pass_microseconds": harness.microseconds(measured.time("pass")),
        "overhead": harness.quartiles(overheads),
        "goal": MOST_OVERHEAD,
    }


def best_rival(result):
    """Return the fastest of the others, or None."""
    rivals = [contender for contender in result["contenders"] if contender["name"] != OURS]
    return min(rivals, key=lambda rival: rival["times_fastnn"]["median"], default=None)


def find(result, name):
    """Return a contender's results, or None if it is missing."""
    return next((contender for contender in result["contenders"] if contender["name"] == name), None)


def goal_of(result, threads):
    """Return how many times the JAX loop is the goal, or None."""
    return result["goal"] if threads == 1 else result["two_threads"]


def print_summary(results):
    """Say the main findings in a few lines per workload."""
    its, threads = results["machine"], results["threads"]
    print(f"fastnn {fastnn.__version__}, {its['isa']}, {its['compiler']}, {its['processor']}; threads: {threads}")
    for result in results["workloads"]:
        print_workload(result, threads)
    print()
    print_mean("best rival", map(best_rival, results["workloads"]))
    jax = [find(result, JAX) for result in results["workloads"]]
    print_mean("JAX loop", jax, LEAST_MEAN if threads == 1 else None)
    for result in results["watching"]:
        overhead = result["overhead"]["median"]
        judged = harness.verdict(overhead <= result["goal"])
        print(f"{result['name']}: validation and early stopping cost {overhead:+.1%} of the fit: {judged}")


def print_mean(title, contenders, goal=None):
    """Say what a contender of each workload takes on the whole; None is a workload without one."""
    ratios = [contender["times_fastnn"]["median"] for contender in contenders if contender]
    if ratios:
        mean = statistics.geometric_mean(ratios)
        judged = f"; goal {goal}x: {harness.verdict(mean >= goal)}" if goal else ""
        print(f"{title} / fastnn: geometric mean {mean:.2f}x of {len(ratios)}, worst {min(ratios):.2f}x{judged}")


def print_workload(result, threads):
    """Say what a workload takes, and whether its goals were met."""
    print(f"\n{result['name']}: {'-'.join(map(str, result['sizes']))}, batch {result['batch']}, {result['dtype']}")
    for contender in result["contenders"]:
        time, ratio = contender["microseconds"]["median"], contender["times_fastnn"]["median"]
        goal = goal_of(result, threads) if contender["name"] == JAX else None
        judged = f"  goal {goal}x: {harness.verdict(ratio >= goal)}" if goal else ""
        loses = "  faster than fastnn" if ratio < 1 else ""
        print(f"  {contender['name']:<18}{time:>11.3f} us per step{ratio:>9.2f}x fastnn{judged}{loses}")
    for name, reason in result["missing"].items():
        print(f"  {name:<18}  missing: {reason}")
    if result["one_thread_times_fastnn"]:
        ratio = result["one_thread_times_fastnn"]
        never_slower = ratio["upper"] >= 1  # where one thread is all that is used, the median is on either side of 1
        print(f"  one thread takes {ratio['median']:.2f}x as long: {harness.verdict(never_slower)}")
    parts = ", ".join(f"{name} {value:.3f}" for name, value in result["limit_microseconds"].items())
    share, goal = result["share_of_limit"]["median"], result["share"] if threads == 1 else None
    judged = f"; goal {goal:.0%}: {harness.verdict(share >= goal)}" if goal else ""
    print(f"  limit: {parts} us; fastnn reaches {share:.0%} of it{judged}")
    print("  bytes: " + ", ".join(f"{name} {size:,}" for name, size in result["bytes"].items()))


if __name__ == "__main__":
    harness.run_in_threads(parse().threads)
    main()
