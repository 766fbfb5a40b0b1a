"""Write the pages' speed tables from bench/results: all between <!-- bench:NAME --> and <!-- /bench:NAME -->."""

import argparse
import json
import math
import re
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Each page, and the folder of the results of the machine that it is about.
PAGES = {"README.md": "bench/results", "docs/speed-avx2.md": "bench/results/zen3"}
DTYPES = ("float32", "float64")
DECADES = {10**i for i in range(8)}
MOST_LISTED = 24  # losing cases
OURS = "fastnn"
TITLES = {
    "fastnn train": "fastnn: `nn.train(n)`",
    "fastnn methods": "fastnn: `nn.feedforward(); nn.backprop()` in a Python loop",
    "NumPy": "NumPy {version}: the book's class in its Python loop",
    "JAX": "JAX {version}: the whole loop compiled (`lax.scan`)",
    "FANN": "FANN {version}: batch training in C (has biases, so not the same numbers)",
}


def main(arguments=None):
    """Rewrite the tables of all pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is out of date")
    options = parser.parse_args(arguments)
    return max(write_page(ROOT / page, ROOT / folder, options.check) for page, folder in PAGES.items())


def write_page(page, folder, checks_only):
    """Rewrite the tables of one page, or check them; return 1 if a page that is only checked is out of date."""
    before = page.read_text(encoding="utf-8")
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    after = fill(page.name, before, results)
    if before == after:
        return 0
    if checks_only:
        print(f"{page.name}: its tables are not those of {folder}; run python bench/tables.py")
        return 1
    page.write_text(after, encoding="utf-8")
    return 0


def fill(name, text, results):
    """Replace what stands between each pair of markers of a page; results are those of each script, by its name."""
    pattern = re.compile(r"(<!-- bench:(\w+) -->\n).*?(<!-- /bench:\2 -->)", re.DOTALL)
    markers = re.findall(r"<!-- /?bench:\w+ -->", text)
    if not markers or len(markers) != 2 * len(pattern.findall(text)):
        sys.exit(f"{name} needs pairs of lines <!-- bench:NAME --> and <!-- /bench:NAME -->")
    if unknown := {found[1] for found in pattern.findall(text)} - set(TABLES):
        sys.exit(f"{name}: no tables are called {sorted(unknown)}; there are {sorted(TABLES)}")
    return pattern.sub(lambda found: found[1] + table_of(found[2], results) + "\n" + found[3], text)


def table_of(name, results):
    """Write a table out of its script's results, or that there are none."""
    script, write = TABLES[name]
    return write(results[script]) if script in results else f"*There are no results of `bench/{script}.json` yet.*"


def machine(results):
    """Say where the numbers come from."""
    its = results["machine"]
    commit = f"{its['commit'][:10]}{' with changes' if its['dirty'] else ''}"
    n_threads = results.get("threads", 1)
    threads = {1: "one thread", 2: "two threads"}.get(n_threads, f"{n_threads} threads")
    smoke = " **A smoke run: these numbers mean nothing.**" if results["quick"] else ""
    return (
        f"Medians of {results['rounds']} interleaved rounds in {threads} on {its['processor']}, {its['cores']} cores, "
        f"{its['isa']}; {its['compiler']}, Python {its['python']}, NumPy {its['numpy']} ({its['blas']}); "
        f"fastnn {its['fastnn']} at {commit}, {results['date']}.{smoke}"
    )


def training(results):
    """Microseconds per iteration of the book's network."""
    rows = []
    for contender in sorted(results["training"]["contenders"], key=lambda c: c["microseconds"]["median"]):
        title = TITLES[contender["name"]].format(**contender)
        rows.append([title, significant(contender["microseconds"]["median"]), times(contender["times_fastnn"])])
    rows += [[name, "missing", ""] for name in results["training"]["missing"]]
    return table(["the book's network", "µs per iteration", "relative to `train`"], rows)


def elementwise(results):
    """NumPy's time over fastnn's, for a size in each decade, and where it is below 1."""
    cases = results["elementwise"]
    columns = list(dict.fromkeys((case["function"], case["dtype"]) for case in cases))
    ratios = {(case["function"], case["dtype"], case["elements"]): case["times_fastnn"] for case in cases}
    sizes = sorted({case["elements"] for case in cases} & DECADES)
    rows = [[f"{size:,}", *(times(ratios[(*column, size)]) for column in columns)] for size in sizes]
    head = ["elements", *(f"`{function}` {dtype}" for function, dtype in columns)]
    return table(head, rows) + "\n\n" + slower(cases, lambda c: f"`{c['function']}` {c['dtype']} {c['elements']:,}")


def matmul(results):
    """NumPy's time over fastnn's for each kind of shape, and where it is below 1."""
    cases = results["products"]
    rows = []
    for kind in dict.fromkeys(case["kind"] for case in cases):
        of_kind = sorted((c for c in cases if c["kind"] == kind), key=lambda c: c["times_fastnn"]["median"])
        median = statistics.median(case["times_fastnn"]["median"] for case in of_kind)
        worst, best = of_kind[0], of_kind[-1]
        ends = [f"{times(case['times_fastnn'])} at {shape(case)} {case['dtype']}" for case in (worst, best)]
        rows.append([kind, str(len(of_kind)), f"{median:.2f}x", *ends])
    head = ["`matmul`, m x k x n", "cases", "median", "worst", "best"]
    return table(head, rows) + "\n\n" + slower(cases, lambda c: f"{shape(c)} {c['dtype']}{transposed(c)}")


def threaded(results):
    """Compare one thread, and NumPy, with fastnn and its default number of threads."""
    columns = [(dtype, name) for dtype in DTYPES for name in ("one thread", "NumPy")]
    rows = []
    for size, pair in by_shape_and_dtype(results["products"]).items():
        rows.append([f"`matmul`, {size}", *(times(pair[dtype]["times_fastnn"][name]) for dtype, name in columns)])
    for case in results["predictions"]:
        rows.append([f"`predict`, {case['name']}, {case['rows']:,} rows", times(case["times_fastnn"]["one thread"])])
    head = [f"default threads on {results['machine']['cores']} cores", *map(", ".join, columns)]
    return table(head, [row + [""] * (len(head) - len(row)) for row in rows])


def gemm(results):
    """Shares of the FMA peak."""
    rows = []
    for size, pair in by_shape_and_dtype(results["gemm"]).items():
        shares = (pair[dtype][f"{name}_share"]["median"] for dtype in DTYPES for name in ("fastnn", "numpy"))
        rows.append([size, *(f"{share:.0%}" for share in shares)])
    peaks = (statistics.median(c["peak_gflops"] for c in results["gemm"] if c["dtype"] == dtype) for dtype in DTYPES)
    note = "Peak, measured in the same rounds: {:.1f} GFLOP/s in float32, {:.1f} in float64.".format(*peaks)
    return table(["m x k x n", "float32", "NumPy", "float64", "NumPy"], rows) + "\n\n" + note


def by_shape_and_dtype(cases):
    """Nest cases as cases[shape][dtype], in their order."""
    nested = {}
    for case in cases:
        nested.setdefault(shape(case), {})[case["dtype"]] = case
    return nested


def imports(results):
    """How long `import fastnn` takes."""
    beyond, numpy = (1e3 * results["import"][key]["median"] for key in ("beyond_numpy_seconds", "numpy_seconds"))
    return f"`import fastnn` takes {beyond:.1f} ms beyond `import numpy`, which takes {numpy:.0f}."


def networks(results):
    """Microseconds per step in fastnn, the others' times over it, and the share of the machine's limit."""
    cases = results["workloads"]
    one_thread = ["one thread"] if results["threads"] > 1 else []
    rivals = rivals_of(cases)
    rows = []
    for case in cases:
        ratios = [case["one_thread_times_fastnn"]] if one_thread else []
        found = {contender["name"]: contender for contender in case["contenders"]}
        ratios += [found[name]["times_fastnn"] if name in found else None for name in rivals]
        sizes = f"{case['name']}: {'-'.join(map(str, case['sizes']))}, {case['batch']:,} rows"
        ours = significant(found[OURS]["microseconds"]["median"])
        share = f"{case['share_of_limit']['median']:.0%}"
        rows.append([sizes, ours, *("" if ratio is None else times(ratio) for ratio in ratios), share])
    head = ["a training step", "fastnn, µs", *one_thread, *rivals.values(), "of the limit"]
    return table(head, rows) + "\n\n" + best_rivals(cases)


def calls(results):
    """Microseconds per step where each is a call of fit, and where one call takes all, and the others' times."""
    cases = results["calls"]
    others = rivals_of(cases)
    rows = []
    for case in cases:
        found = {contender["name"]: contender for contender in case["contenders"]}
        title = f"{case['name']}: {'-'.join(map(str, case['sizes']))}, {case['batch']:,} rows"
        ratios = (times(found[name]["times_fastnn"]) if name in found else "" for name in others)
        ours = [found[OURS]["microseconds"], case["one_call_microseconds"]]
        rows.append([title, *(significant(time["median"]) for time in ours), *ratios])
    return table(["a step in a call of its own", "fastnn, µs", "in one call, µs", *others.values()], rows)


def predictions(results):
    """Microseconds per prediction in fastnn, and the others' times over it."""
    cases = results["predict"]
    rivals = rivals_of(cases)
    rows = []
    for case in cases:
        found = {contender["name"]: contender for contender in case["contenders"]}
        ratios = (times(found[name]["times_fastnn"]) if name in found else "" for name in rivals)
        title = f"{case['name']}, {case['rows']:,} row{'s' if case['rows'] > 1 else ''}"
        rows.append([title, significant(found[OURS]["microseconds"]["median"]), *ratios])
    return table(["a prediction", "fastnn, µs", *rivals.values()], rows) + "\n\n" + best_rivals(cases)


def estimators(results):
    """Microseconds per step of a fit and per call of a prediction, and scikit-learn's times over them."""
    rows = {}
    for case in results["fit"]:
        n, d = case["rows"]
        rows.setdefault(f"{case['name']}, {n:,} x {d:,}: a step of `fit`", {})[case["dtype"]] = case["contenders"]
    for case in results["predict"]:
        title = f"{case['name']}: `{case['method']}`, {case['rows']:,} row{'s' if case['rows'] > 1 else ''}"
        rows.setdefault(title, {})[case["dtype"]] = case["contenders"]
    cells = [
        [title, *(cell for dtype in DTYPES for cell in (significant(pair[dtype][0]["microseconds"]["median"]),
                                                        times(pair[dtype][1]["times_fastnn"])))]
        for title, pair in rows.items()
    ]  # fmt: skip
    theirs = "scikit-learn " + results["fit"][0]["contenders"][1]["version"]
    return table(["", *(text for dtype in DTYPES for text in (f"{dtype}, µs", theirs))], cells)


def rivals_of(cases):
    """Map the names of all rivals to their names with versions."""
    contenders = (contender for case in cases for contender in case["contenders"] if contender["name"] != OURS)
    return {contender["name"]: f"{contender['name']} {contender['version']}" for contender in contenders}


def best_rivals(cases):
    """Say how many times fastnn's time the fastest rival takes."""
    ratios = [
        min(contender["times_fastnn"]["median"] for contender in case["contenders"] if contender["name"] != OURS)
        for case in cases
    ]
    mean = significant(statistics.geometric_mean(ratios))
    return f"The best rival takes {mean}x as long in the geometric mean, {significant(min(ratios))}x at worst."


def widths(results):
    """Say which width costs most against the next multiple of 16."""
    worst = max(results["widths"], key=lambda case: case["times_next_multiple"]["median"])
    return (
        f"Of the {len(results['widths'])} widths, {worst['width']} costs most against the next multiple of 16: "
        f"{worst['times_next_multiple']['median']:.2f}x."
    )


# name: the script whose results it is made of, and what makes it
TABLES = {
    "machine": ("book", machine),
    "book": ("book", training),
    "elementwise": ("book", elementwise),
    "matmul": ("book", matmul),
    "threads": ("threads", threaded),
    "threads_machine": ("threads", machine),
    "gemm": ("book", gemm),
    "import": ("book", imports),
    "train_machine": ("train", machine),
    "train": ("train", networks),
    "train2": ("train2", networks),
    "calls": ("calls", calls),
    "calls_machine": ("calls", machine),
    "predict": ("predict", predictions),
    "widths": ("widths", widths),
    "estimators": ("estimators", estimators),
    "estimators_machine": ("estimators", machine),
}


def slower(cases, name):
    """List the cases in which NumPy is faster, the worst first."""
    losing = sorted((c for c in cases if c["times_fastnn"]["median"] < 1), key=lambda c: c["times_fastnn"]["median"])
    if not losing:
        return f"In none of the {len(cases)} cases measured is NumPy faster."
    listed = ", ".join(f"{name(case)} ({times(case['times_fastnn'])})" for case in losing[:MOST_LISTED])
    more = f", and {len(losing) - MOST_LISTED} more" if len(losing) > MOST_LISTED else ""
    return f"NumPy is faster in {len(losing)} of {len(cases)} cases: {listed}{more}."


def shape(case):
    return "x".join(str(case[key]) for key in "mkn")


def transposed(case):
    return f", {case['kind']}" if case["kind"].endswith("transposed") else ""


def times(ratio):
    """Write a ratio, in bold where fastnn loses."""
    text = f"{significant(ratio['median'])}x"
    return f"**{text}**" if ratio["median"] < 1 else text


def significant(value):
    """Write a number with three digits, and at most three after the point."""
    decimals = 2 - math.floor(math.log10(value))
    return f"{value:.{min(max(decimals, 0), 3)}f}"


def table(head, rows):
    """Lay out a table in Markdown, numbers to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
