"""What the machine allows a training step: the sum of what its products, activations and optimizer take at their best.

Products run at the peak of multiply-adds; the optimizer moves its bytes at the speed of a copy in as much memory;
activations take what fastnn's kernels for them take, but those that are an instruction on a tile in registers take
nothing. All of it is measured in the same rounds as the contenders; two threads halve it.
"""

import harness
import numpy as np
from harness import Contender

from fastnn import _kernels

FREE = ("identity", "relu")
ELEMENTS = 32_768  # so that Python's call, of a microsecond, does not count

# Passes over arrays as long as the parameters, reading or writing, and how many such arrays there are.
SWEEPS = {"SGD": (3, 2), "Adam": (7, 4)}


def of(workload, threads):
    """Return the parts of the limit, {part: {contender: units of its work}}, and the contenders."""
    bits = 64 if workload.dtype == "float64" else 32
    passes, arrays = SWEEPS[workload.optimizer]
    n_bytes = workload.n_parameters * bits // 8
    parts = {
        "products": {"peak": workload.flops / threads},
        "optimizer": {"copy": passes * n_bytes / threads},
        "activations": {
            name: elements / threads for name, elements in workload.activations.items() if name not in FREE
        },
    }
    probes = [activation(name, workload.dtype) for name in parts["activations"]]
    return parts, [harness.peak(bits), harness.copy(arrays * n_bytes), *probes]


def activation(name, dtype):
    """Return the contender whose unit of work is one element of an activation."""
    z = np.random.default_rng(0).normal(size=ELEMENTS).astype(dtype)
    names = {"activation_forward": _kernels.activation_forward, "name": name, "a": np.empty_like(z), "z": z}
    return Contender(name, "activation_forward(name, a, z)", names, work=ELEMENTS)


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
