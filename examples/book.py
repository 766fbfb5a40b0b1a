"""The book's four rows, learned by networks of one, two and three layers."""

import argparse

import numpy as np
from matplotlib.figure import Figure

import fastnn

X = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
Y = np.array([[0], [1], [1], [0]])
ITERATIONS = 1500


def losses_of(sizes):
    """Train a network of sigmoids as the book does and return its losses."""
    net = fastnn.MLP(
        sizes,
        activation="sigmoid",
        output_activation="sigmoid",
        loss="sse",
        bias=False,
        dtype="float64",
        seed=0,
    )
    step = fastnn.SGD(1.0)
    return net.fit(X, Y, epochs=ITERATIONS, batch_size=None, optimizer=step).loss


def main(arguments=None):
    """Train the three networks, print where they end and draw how they got there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="book.png", help="the picture's file")
    output = parser.parse_args(arguments).output

    np.random.seed(0)  # noqa: NPY002 - the book's generator
    losses = {
        "perceptron, 3-1": losses_of([3, 1]),
        "NeuralNetwork, 3-4-1": fastnn.NeuralNetwork(X, Y).train(ITERATIONS),
        "three layers, 3-4-4-1": losses_of([3, 4, 4, 1]),
    }
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot(xlabel="iteration", ylabel="loss: sum of squared errors")
    for name, loss in losses.items():
        print(f"{name}: the loss falls from {loss[0]:.3f} to {loss[-1]:.4f}")
        axes.plot(loss, label=name)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(output, dpi=110)


if __name__ == "__main__":
    main()
