"""How fast does fastnn predict, one row or 4096 at a time, in one thread? Three networks beside their rivals."""

import math
import statistics
import sys
from importlib import metadata

import harness
import numpy as np
import rivals_frameworks
import rivals_mlp
import workloads
from harness import Contender

import fastnn

ROWS = 4096
OURS = "fastnn"
# The most microseconds for one row and the least ratio to the best rival, if any; the least such ratio for ROWS.
GOALS = {"diabetes": (0.5, 10, 1.5), "taxi": (None, None, 1.15), "mnist": (5, None, 1.2)}


def fastnn_function(workload, x):
    """Return the compiled callable for one row, or predict."""
    contender = rivals_mlp.FastnnMLP(workload, "float32")
    contender.reset()
    if len(x) == 1:
        return contender.network.predictor(), x[0]
    return contender.network.predict, x


def numpy_function(workload, x):
    """Return NumPy's expression, layer by layer."""
    contender = rivals_mlp.NumPyMLP(workload, "float32")
    return lambda x: contender.forward(x)[-1], x


def sklearn_function(workload, x):
    """Return predict, or predict_proba of a classifier."""
    model = rivals_mlp.SklearnMLP(workload, "float32").model
    return getattr(model, "predict_proba", model.predict), x


def torch_function(workload, x):
    """Return the module without a gradient, on a tensor."""
    contender = rivals_frameworks.TorchMLP(workload, "float32")
    torch = contender.torch
    outputs = {"binary_cross_entropy": [torch.nn.Sigmoid()], "cross_entropy": [torch.nn.Softmax(dim=1)]}
    module = torch.nn.Sequential(*contender.module, *outputs.get(workload.loss, []))
    return torch.inference_mode()(module), torch.from_numpy(x)


def jax_function(workload, x):
    """Return the compiled network, on an array of JAX, waiting for its result."""
    contender = rivals_frameworks.JaxMLP(workload, "float32")
    parameters = contender.jax.numpy.asarray(contender.initial)
    compiled = contender.jax.jit(lambda parameters, x: contender.forward(parameters, x)[-1])
    return lambda x: compiled(parameters, x).block_until_ready(), contender.jax.numpy.asarray(x)


def onnx_function(workload, x):
    """Return ONNX Runtime's session, in one thread.

    Raises ImportError where onnx or onnxruntime is not installed.
    """
    import onnxruntime

    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = session_options.inter_op_num_threads = 1
    model = onnx_model(workload).SerializeToString()
    session = onnxruntime.InferenceSession(model, session_options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0], x


def onnx_model(workload):
    """Build the network as ONNX's operations."""
    import onnx
    from onnx import helper, numpy_helper

    nodes, weights, value = [], [], "x"
    last = {"binary_cross_entropy": ("Sigmoid", {}), "cross_entropy": ("Softmax", {"axis": 1})}.get(workload.loss)
    layers = workloads.layer_views(workload, workloads.initial_parameters(workload, "float32"))
    for i, arrays in enumerate(layers):
        names = [f"weights{i}", f"biases{i}"]
        weights += [numpy_helper.from_array(array, name) for array, name in zip(arrays, names, strict=True)]
        nodes.append(helper.make_node("Gemm", [value, *names], [f"z{i}"]))
        function, value = ("Relu", {}) if i < len(layers) - 1 else last, f"z{i}"
        if function:
            nodes.append(helper.make_node(function[0], [value], [f"a{i}"], **function[1]))
            value = f"a{i}"
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, size])
        for name, size in (("x", workload.sizes[0]), (value, workload.sizes[-1]))
    ]
    graph = helper.make_graph(nodes, workload.name, ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


# name: what gives the function and its argument, and the distribution that says the version
KINDS = {
    OURS: (fastnn_function, None),
    "NumPy": (numpy_function, "numpy"),
    "scikit-learn": (sklearn_function, "scikit-learn"),
    "PyTorch": (torch_function, "torch"),
    "JAX": (jax_function, "jax"),
    "ONNX Runtime": (onnx_function, "onnxruntime"),
}


def main(arguments=None):
    """Measure the three networks, print what was found and write it."""
    options = harness.parser("predict", __doc__).parse_args(arguments)
    machine = harness.machine()
    if not machine["build_is_current"]:
        sys.exit("fastnn is not built from this tree as it is now; run: pip install -e .")
    settings, progress = harness.settings(options), harness.Progress()
    results = {"machine": machine, "predict": []}
    for name in GOALS:
        for rows in (1, ROWS):
            results["predict"].append(measure(workloads.WORKLOADS[name], rows, settings, progress))
    progress.done()
    print_summary(results)
    harness.write("predict", options, settings, results)


def measure(workload, rows, settings, progress):
    """Microseconds per call of each contender, checked before."""
    progress(f"{workload.name}: {rows} rows")
    x = np.random.default_rng(workloads.SEED).normal(size=(rows, workload.sizes[0])).astype(np.float32)
    expected = rivals_mlp.NumPyMLP(workload, "float64").forward(x.astype(np.float64))[-1]
    contenders, errors, missing = [], {}, {}
    for name, (function_of, _) in KINDS.items():
        try:
            function, argument = function_of(workload, x)
        except ImportError as error:
            missing[name] = str(error)
            continue
        errors[name] = verify(name, workload, function(argument), expected)
        contenders.append(Contender(name, "function(x)", {"function": function, "x": argument}))
    measured = harness.measure(contenders, settings)
    most, least, least_of_many = GOALS[workload.name]
    return {
        "name": workload.name,
        "sizes": workload.sizes,
        "rows": rows,
        "goal_microseconds": most if rows == 1 else None,
        "goal": least if rows == 1 else least_of_many,
        "missing": missing,
        "contenders": [
            {**measured.beside(OURS, name, version(name)), "largest_error": error} for name, error in errors.items()
        ],
    }


def version(name):
    """Return that of a contender's package."""
    return metadata.version(KINDS[name][1]) if KINDS[name][1] else fastnn.__version__


def verify(name, workload, output, expected):
    """Return the largest error, or stop if it is not rounding.

    The inputs of each layer and its pre-activations are of size 1 with these weights, so that a sum of c products is
    off by sqrt(c) units of rounding or so, and the layers' errors add up; 8 of that is allowed.
    """
    rows, columns = expected.shape
    output = np.asarray(output).reshape(rows, -1)[:, -columns:]  # scikit-learn also gives the other class's probability
    error = float(np.max(np.abs(output - expected)))
    bound = 8 * math.sqrt(sum(workload.sizes)) * np.finfo(np.float32).eps * max(1.0, float(np.max(np.abs(expected))))
    if not error <= bound:
        sys.exit(f"{workload.name}: {name}'s prediction differs from NumPy's by {error}")
    return error


def best_rival(result):
    """Return the fastest of the others, or None."""
    rivals = [contender for contender in result["contenders"] if contender["name"] != OURS]
    return min(rivals, key=lambda rival: rival["times_fastnn"]["median"], default=None)


def print_summary(results):
    """Say what each prediction takes, and whether the goals were met."""
    its = results["machine"]
    print(f"fastnn {fastnn.__version__}, {its['isa']}, {its['compiler']}, {its['processor']}")
    for result in results["predict"]:
        print(f"\n{result['name']}: {'-'.join(map(str, result['sizes']))}, {result['rows']} rows")
        for contender in result["contenders"]:
            time, ratio = contender["microseconds"]["median"], contender["times_fastnn"]["median"]
            loses = "  faster than fastnn" if ratio < 1 else ""
            print(f"  {contender['name']:<14}{time:>11.3f} us{ratio:>9.2f}x fastnn{loses}")
        for name, reason in result["missing"].items():
            print(f"  {name:<14}  missing: {reason}")
        print_goals(result)
    ratios = [rival["times_fastnn"]["median"] for rival in map(best_rival, results["predict"]) if rival]
    if ratios:
        print(
            f"\nbest rival / fastnn: geometric mean {statistics.geometric_mean(ratios):.2f}x, worst {min(ratios):.2f}x"
        )


def print_goals(result):
    """Say whether a case's goals were met."""
    time, most = result["contenders"][0]["microseconds"]["median"], result["goal_microseconds"]
    if most:
        print(f"  goal {most} us: {harness.verdict(time <= most)}")
    rival, least = best_rival(result), result["goal"]
    if rival and least:
        ratio = rival["times_fastnn"]["median"]
        print(f"  goal {least}x the best rival, {rival['name']}: {harness.verdict(ratio >= least)}")


if __name__ == "__main__":
    harness.run_in_one_thread()
    main()
