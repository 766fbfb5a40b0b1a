"""Draw docs/speed.png and docs/widths.png from bench/results."""

import argparse
import json
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

ROOT = Path(__file__).resolve().parent.parent
STYLES = {"float32": "-", "float64": "--"}


def main():
    """Draw the figures whose results are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results", metavar="FOLDER")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", metavar="FOLDER")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name, (script, draw_figure) in FIGURES.items():
        path = options.results / f"{script}.json"
        if path.exists():
            figure = draw_figure(json.loads(path.read_text(encoding="utf-8")))
            figure.savefig(options.output / f"{name}.png", dpi=120)


def speed(results):
    """Draw fastnn beside NumPy over the number of elements."""
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
    return figure


def draw(axes, cases, label, size, color):
    """Draw medians as lines, one per dtype, and the quartiles as a band."""
    for dtype, style in STYLES.items():
        chosen = [case for case in cases if case["dtype"] == dtype]
        sizes = [case[size] for case in chosen]
        median = draw_quartiles(axes, sizes, [case["times_fastnn"] for case in chosen], color)
        median.set(linestyle=style, marker=".", label=f"{label}, {dtype}")


def draw_quartiles(axes, x, values, color):
    """Draw the medians as a line, which is returned, and the quartiles as a band."""
    lower, median, upper = ([value[key] for value in values] for key in ("lower", "median", "upper"))
    axes.fill_between(x, lower, upper, color=color, alpha=0.15, linewidth=0)
    return axes.plot(x, median, color=color)[0]


def finish(axes):
    """Put sizes and ratios on log axes, with a line where both are equally fast."""
    axes.set_xscale("log")
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}x"))
    axes.axhline(1, color="black", linewidth=1)
    axes.set_ylabel("above 1: fastnn is faster")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)


def widths(results):
    """Draw what a step costs over the width of the hidden layers, and its ratio to the next multiple of 16."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    cases = results["widths"]
    x = [case["width"] for case in cases]
    draw_quartiles(left, x, [case["microseconds"] for case in cases], "C0")
    left.set_ylim(bottom=0)
    left.set_ylabel("us per step")
    draw_quartiles(right, x, [case["times_next_multiple"] for case in cases], "C0")
    right.axhline(results["goal"], color="C3", linewidth=1, label=f"{results['goal']}x")
    right.axhline(1, color="black", linewidth=1)
    right.set_ylim(bottom=0)
    right.set_ylabel("time / time of the next multiple of 16")
    right.legend(loc="lower right", frameon=False)
    for axes in (left, right):
        axes.set_xlabel("w")
        axes.set_xticks(range(0, max(x) + 1, 16))
        axes.grid(alpha=0.3)
    machine = results["machine"]
    figure.suptitle(f"10-w-w-10, batch 128, one thread, {machine['processor']}, {machine['isa']}")
    return figure


FIGURES = {"speed": ("book", speed), "widths": ("widths", widths)}

if __name__ == "__main__":
    main()
