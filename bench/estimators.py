"""How fast are our estimators beside scikit-learn's? Both with default arguments, in one thread, on four data sets.

A fit is cut after some epochs, in which both take the same steps; its time, what it takes besides them included, is
given per step.
"""

import sys
import warnings
from importlib import metadata

import harness
import numpy as np
import scipy.sparse
from harness import Contender
from sklearn import datasets, neural_network, preprocessing
from sklearn.exceptions import ConvergenceWarning

import fastnn

OURS, THEIRS = "fastnn", "scikit-learn"
MANY = 10_000
DTYPES = ("float64", "float32")
# of a fit in each dtype, of one row and of MANY: how many times as long scikit-learn must take
GOALS = {"digits": (3.5, 5.5), "breast cancer": (6, 10), "regression": (10, 18), "sparse": (2.5, 3)}
GOALS_DENSE_ROWS = (10, 1.5)
GOALS_SPARSE_ROWS = (3, 1.3)
EPOCHS = {"digits": 40, "breast cancer": 100, "regression": 5, "sparse": 2}
CLOSE = {"float64": 1e-6, "float32": 0.05}  # the weights, after steps in which rounding errors grow


def rows_of(name, quick):
    """Return x, y and the name of the estimator; of what is generated here only some rows for a smoke run."""
    if name == "digits":
        return *datasets.load_digits(return_X_y=True), "MLPClassifier"
    if name == "breast cancer":
        x, y = datasets.load_breast_cancer(return_X_y=True)
        return preprocessing.scale(x), y, "MLPClassifier"
    if name == "sparse":
        return *(counted_words(400, 4000) if quick else counted_words()), "MLPClassifier"
    x = np.random.default_rng(0).normal(size=(2000 if quick else 100_000, 12))
    return x, np.sin(x[:, 0]) + x[:, 1] * x[:, 2], "MLPRegressor"


def counted_words(n_rows=2000, n_words=20_000, n_classes=4, length=60):
    """Return rows like a text's, compressed, and their classes: some words are common, and each class has its own."""
    rng = np.random.default_rng(0)
    frequencies = 1 / np.arange(10, n_words + 10)
    y = rng.integers(0, n_classes, n_rows)
    words = rng.choice(n_words, (n_rows, length), p=frequencies / frequencies.sum())
    words = np.where(rng.random(words.shape) < 0.2, words // n_classes * n_classes + y[:, np.newaxis], words)
    places = (np.repeat(np.arange(n_rows, dtype=np.int32), length), words.ravel().astype(np.int32))
    counts = scipy.sparse.coo_array((np.ones(words.size), places), (n_rows, n_words)).tocsr()
    return preprocessing.normalize(counts), y


def main(arguments=None):
    """Measure fits and predictions, print what was found and write it."""
    options = harness.parser("estimators", __doc__).parse_args(arguments)
    machine = harness.machine()
    if not machine["build_is_current"]:
        sys.exit("fastnn is not built from this tree as it is now; run: pip install -e .")
    warnings.simplefilter("ignore", ConvergenceWarning)
    settings, progress = harness.settings(options), harness.Progress()
    results = {"machine": machine, "fit": [], "predict": []}
    for name in GOALS:
        data = rows_of(name, options.quick)
        for dtype, goal in zip(DTYPES, GOALS[name], strict=True):
            progress(f"{name}, {dtype}")
            epochs = 1 if options.quick else EPOCHS[name]
            models = fitted(name, data, dtype, epochs)
            results["fit"].append(fit(name, data, dtype, epochs, goal, models, settings))
            results["predict"] += predictions(name, data, dtype, models, settings)
    progress.done()
    print_summary(results)
    harness.write("estimators", options, settings, results)


def fitted(name, data, dtype, epochs):
    """Return both estimators by name, fitted, or stop if they differ."""
    x, y, cls = data
    models = {}
    for key, package in ((OURS, fastnn), (THEIRS, neural_network)):
        models[key] = getattr(package, cls)(max_iter=epochs, random_state=0).fit(x.astype(dtype), y)
    ours, theirs = (np.concatenate([coef.ravel() for coef in model.coefs_]) for model in models.values())
    error = np.abs(ours - theirs).max()
    if not error <= CLOSE[dtype] * np.abs(theirs).max():
        sys.exit(f"{name}, {dtype}: the weights differ by {error}")
    return models


def fit(name, data, dtype, epochs, goal, models, settings):
    """Microseconds per step."""
    x, y, _ = data
    steps = epochs * -(-x.shape[0] // 200)
    names = {"x": x.astype(dtype), "y": y}
    contenders = [Contender(key, "model.fit(x, y)", names | {"model": models[key]}, steps) for key in models]
    return {"name": name, "rows": x.shape, "dtype": dtype, "goal": goal, "contenders": timed(contenders, settings)}


def predictions(name, data, dtype, models, settings):
    """Microseconds per call, for one row and for many."""
    x, _, cls = data
    goals = GOALS_SPARSE_ROWS if scipy.sparse.issparse(x) else GOALS_DENSE_ROWS
    cases = []
    for method in ("predict", "predict_proba") if cls == "MLPClassifier" else ("predict",):
        for n, goal in zip((1, MANY), goals, strict=True):
            some = x[np.arange(n) % x.shape[0]].astype(dtype)
            contenders = [Contender(k, "f(x)", {"f": getattr(models[k], method), "x": some}) for k in models]
            measured = timed(contenders, settings)
            goal = goal if method == "predict_proba" or n == 1 else None
            cases.append(
                {"name": name, "method": method, "rows": n, "dtype": dtype, "goal": goal, "contenders": measured}
            )
    return cases


def timed(contenders, settings):
    """Measure ours and theirs."""
    measured = harness.measure(contenders, settings)
    versions = {OURS: fastnn.__version__, THEIRS: metadata.version("scikit-learn")}
    return [measured.beside(OURS, name, version) for name, version in versions.items()]


def print_summary(results):
    """Say what each case takes, and whether the goals were met."""
    its = results["machine"]
    print(f"fastnn {fastnn.__version__}, {its['isa']}, {its['compiler']}, {its['processor']}")
    for case in results["fit"] + results["predict"]:
        what = f"{case['method']} of {case['rows']:,} rows" if "method" in case else "a step of fit"
        ours, theirs = case["contenders"]
        ratio = theirs["times_fastnn"]["median"]
        goal = f"  goal {case['goal']}x: {harness.verdict(ratio >= case['goal'])}" if case["goal"] else ""
        print(
            f"{case['name']:<14}{case['dtype']:<9}{what:<30}{ours['microseconds']['median']:>10.2f} us"
            f"{theirs['microseconds']['median']:>10.2f} us{ratio:>8.2f}x{goal}"
        )


if __name__ == "__main__":
    harness.run_in_one_thread()
    main()
