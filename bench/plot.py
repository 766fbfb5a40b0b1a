"""Draw docs/speed.png from bench/results: fastnn beside NumPy over the number of elements."""

import argparse
import json
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

ROOT = Path(__file__).resolve().parent.parent
STYLES = {"float32": "-", "float64": "--"}


def main():
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results" / "book.json", metavar="FILE")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "speed.png", metavar="FILE")
    options = parser.parse_args()
    results = json.loads(options.results.read_text(encoding="utf-8"))
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for function, color in (("sigmoid", "C0"), ("sigmoid_derivative", "C1")):
        cases = [case for case in results["elementwise"] if case["function"] == function]
        draw(left, cases, function, "elements", color)
    draw(right, [case for case in results["products"] if case["kind"] == "square"], "matmul, n x n", "n", "C2")
    left.set_xlabel("elements")
    right.set_xlabel("n")
    for axes in (left, right):
        finish(axes)
    machine = results["machine"]
    figure.suptitle(f"NumPy's time / fastnn's, one thread, {machine['processor']}, {machine['isa']}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output, dpi=120)


def draw(axes, cases, label, size, color):
    """Draw medians as lines, one per dtype, and the quartiles as a band."""
    for dtype, style in STYLES.items():
        chosen = [case for case in cases if case["dtype"] == dtype]
        sizes = [case[size] for case in chosen]
        lower, median, upper = ([c["times_fastnn"][key] for c in chosen] for key in ("lower", "median", "upper"))
        axes.plot(sizes, median, style, color=color, marker=".", label=f"{label}, {dtype}")
        axes.fill_between(sizes, lower, upper, color=color, alpha=0.15, linewidth=0)


def finish(axes):
    """Put sizes and ratios on log axes, with a line where both are equally fast."""
    axes.set_xscale("log")
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}x"))
    axes.axhline(1, color="black", linewidth=1)
    axes.set_ylabel("above 1: fastnn is faster")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)


if __name__ == "__main__":
    main()
