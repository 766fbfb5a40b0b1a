"""The `fastnn` command: train the book's network and show what happened, or say what fastnn found on this machine."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import fastnn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

X = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
Y = np.array([[0], [1], [1], [0]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with sys.argv's arguments, or the given ones, and return its exit status."""
    try:
        try:
            return _run(arguments)
        finally:
            print(end="", flush=True)
    except OSError as error:  # stdout's: it is closed, as by `fastnn | head -1`, or the disk full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        if not isinstance(error, BrokenPipeError):
            print(f"fastnn: cannot write: {error.strerror}", file=sys.stderr)
        return 1


def _run(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    if options.command == "info":
        fastnn.show_config()
        return 0
    figure = _new_figure() if options.plot is not None else None
    try:
        losses = _train(options.iterations, options.seed)
    except (MemoryError, ValueError):
        sys.exit(f"fastnn: no memory for the losses of {options.iterations} iterations")
    except KeyboardInterrupt:
        sys.exit("fastnn: interrupted")
    if figure:
        _draw(figure, losses, options.plot)
        print(f"\nloss drawn in {options.plot}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastnn",
        description="Train the book's two-layer network on its four rows, or (info) report what fastnn found here.",
    )
    parser.add_argument("command", nargs="?", choices=["train", "info"], default="train", help="default: train")
    parser.add_argument("--iterations", type=_count(2**63 - 1), default=1500, metavar="N", help="default: 1500")
    parser.add_argument(
        "--seed", type=_count(2**32 - 1), default=0, metavar="S", help="of the initial weights; default: 0"
    )
    parser.add_argument("--plot", metavar="FILE", help="draw the loss of each iteration, e.g. in loss.png")
    parser.add_argument("--version", action="version", version=f"fastnn {fastnn.__version__}")
    return parser


def _count(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) > most:
            raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {most}; got {text!r}")
        return int(text)

    return parse


def _train(iterations: int, seed: int) -> NDArray[Any]:
    print(f"fastnn {fastnn.__version__}: the book's network, 3 inputs - 4 hidden - 1 output, seed {seed}\n")
    np.random.seed(seed)  # noqa: NPY002 - the book's generator
    nn = fastnn.NeuralNetwork(X, Y)
    start = time.perf_counter()
    losses = nn.train(iterations)
    seconds = time.perf_counter() - start
    if not iterations:
        nn.feedforward()
    print(f"{'iteration':>10}  {'loss':>10}")
    for i in sorted({1, iterations // 100, iterations // 10, iterations // 2, iterations} - {0}):
        if i <= iterations:
            print(f"{i:>10}  {losses[i - 1]:>10.6f}")
    print(f"\n{'x':<9}  {'prediction':>10}  {'y':>3}")
    for row, prediction, target in zip(X, nn.output, Y, strict=True):
        print(f"{row!s:<9}  {prediction[0]:>10.6f}  {target[0]:>3}")
    each = f", {seconds / iterations * 1e9:.0f} ns each" if iterations else ""
    print(f"\n{iterations} iterations in {seconds * 1e3:.3f} ms{each}, instruction set {fastnn.isa()}")
    return losses


def _new_figure() -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError:
        sys.exit("fastnn: --plot needs matplotlib; run: pip install matplotlib")
    return Figure(figsize=(6.4, 4.0), layout="constrained")


def _draw(figure: "Figure", losses: NDArray[Any], path: str) -> None:
    axes = figure.add_subplot(xlabel="iteration", ylabel="loss (sum of squared errors)", title="The book's network")
    axes.plot(np.arange(len(losses)), losses)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    try:
        figure.savefig(path, dpi=150, format=os.path.splitext(path)[1][1:] or "png")  # else it might add a suffix
    except (OSError, ValueError) as error:
        sys.exit(f"fastnn: cannot write {path}: {error}")


if __name__ == "__main__":
    sys.exit(main())
