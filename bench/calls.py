"""What does a step cost that is a call, as where rows come one batch at a time? Results are checked first."""

import sys

import harness
import rivals_frameworks
import rivals_mlp
import train
import workloads
from harness import Contender

import fastnn

NETWORKS = ("diabetes", "rl", "digits", "taxi")


class FastnnCalls(rivals_mlp.FastnnMLP):
    """fastnn's `fit`, with the rows of one step."""

    name = "fastnn"
    prepare = rivals_mlp.Rival.prepare

    def run(self):
        """Train in a Python loop."""
        for rows in self.steps:
            self.network.fit(
                self.x[rows], self.y[rows], batch_size=None, optimizer=self.optimizer, n_threads=self.threads
            )


class FastnnFit(rivals_mlp.FastnnMLP):
    """All steps in one call, for comparison."""

    name = "one call for all"


class SklearnCalls(rivals_mlp.SklearnMLP):
    """scikit-learn's `partial_fit`, with the rows of one step."""

    def prepare(self, orders, exact=False):
        """List the rows of each step."""
        self.model.set_params(shuffle=False, warm_start=False)
        rivals_mlp.Rival.prepare(self, orders)

    def reset(self):
        """Start over from the initial weights and with a fresh optimizer."""
        super().reset()
        self.model.__dict__.pop("_optimizer", None)

    def run(self):
        """Train in a Python loop."""
        for rows in self.steps:
            self.model.partial_fit(self.x[rows], self.y[rows])


KINDS = (FastnnCalls, FastnnFit, rivals_mlp.NumPyMLP, SklearnCalls, rivals_frameworks.TorchMLP)


def main(arguments=None):
    """Measure the networks, print what was found and write it."""
    options = harness.parser("calls", __doc__).parse_args(arguments)
    machine = harness.machine()
    if not machine["build_is_current"]:
        sys.exit("fastnn is not built from this tree as it is now; run: pip install -e .")
    settings, progress = harness.settings(options), harness.Progress()
    results = {"machine": machine}
    results["calls"] = [measure_network(workloads.WORKLOADS[name], settings, progress) for name in NETWORKS]
    progress.done()
    print_summary(results)
    harness.write("calls", options, settings, results)


def measure_network(workload, settings, progress):
    """Microseconds per step of each contender."""
    progress(f"{workload.name}: compare results")
    networks, missing = train.available(workload, 1, KINDS)
    for network in networks:
        train.verify(type(network), workload, 1)
    steps = {network.name: rivals_mlp.prepare(network, settings.seconds) * workload.batches for network in networks}
    progress(f"{workload.name}: " + ", ".join(steps))
    measured = harness.measure(
        [
            Contender(network.name, network.statement, {"network": network}, steps[network.name], "network.reset()")
            for network in networks
        ],
        settings,
    )
    return {
        **{name: getattr(workload, name) for name in ("name", "sizes", "batch", "dtype")},
        "missing": missing,
        "contenders": [
            measured.beside(FastnnCalls.name, network.name, network.version)
            for network in networks
            if not isinstance(network, FastnnFit)
        ],
        "one_call_microseconds": harness.microseconds(measured.time(FastnnFit.name)),
    }


def print_summary(results):
    """Say what a step takes, and how many times that the others take."""
    its = results["machine"]
    print(f"fastnn {fastnn.__version__}, {its['isa']}, {its['compiler']}, {its['processor']}")
    for result in results["calls"]:
        print(f"\n{result['name']}: {'-'.join(map(str, result['sizes']))}, batch {result['batch']}, {result['dtype']}")
        for contender in result["contenders"]:
            time, ratio = contender["microseconds"]["median"], contender["times_fastnn"]["median"]
            print(f"  {contender['name']:<18}{time:>11.3f} us per step{ratio:>9.2f}x fastnn")
        print(f"  {FastnnFit.name:<18}{result['one_call_microseconds']['median']:>11.3f} us per step")
        for name, reason in result["missing"].items():
            print(f"  {name:<18}  missing: {reason}")


if __name__ == "__main__":
    harness.run_in_threads(1)
    main()
