"""What the machine allows a training step: the sum of what its products, activations and optimizer take at their best.

Products run at the peak of multiply-adds; a pass over the parameters takes what moving its bytes takes, at the speed of
a copy in as much memory, or what its arithmetic takes, if that is more; activations take what fastnn's kernels for them
take in the L1 cache. All of it is measured in the same rounds as the contenders.
"""

import harness

# Passes over arrays as long as the parameters, reading or writing, and how many such arrays there are.
SWEEPS = {"SGD": (3, 2), "Adam": (7, 4)}


def of(workload, threads):
    """Return the parts of the limit, {part: {contender: units of its work}}, and the contenders."""
    bits = 64 if workload.dtype == "float64" else 32
    passes, arrays = SWEEPS[workload.optimizer]
    n_bytes = workload.n_parameters * bits // 8
    parts = {
        "products": {"peak": workload.flops / threads},
        "optimizer": {"copy": passes * n_bytes},
    }
    return parts, [harness.peak(bits), harness.copy(arrays * n_bytes)]


def flat(parts):
    """Return {contender: units} of all parts together."""
    return {name: units for part in parts.values() for name, units in part.items()}


def microseconds(measured, parts):
    """Return each part of the limit, and their sum, out of the contenders' median times."""
    found = {
        part: 1e6 * sum(units * measured.time(name)["median"] for name, units in work.items())
        for part, work in parts.items()
    }
    return found | {"sum": sum(found.values())}
