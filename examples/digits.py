"""Recognize handwritten digits: 1,797 pictures of 8 x 8 pixels."""

import argparse

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastnn


def main(arguments=None):
    """Train, print the accuracy, and draw the losses and the surest mistakes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="digits.png", help="the picture's file")
    output = parser.parse_args(arguments).output

    x, y = load_digits(return_X_y=True)
    x = x / 16  # the brightest pixel becomes 1
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.25, random_state=0)
    x, x_stop, y, y_stop = train_test_split(x, y, test_size=0.1, random_state=0)

    net = fastnn.MLP([64, 256, 10], loss="cross_entropy", dropout=0.2, seed=0)
    history = net.fit(
        x,
        y,
        epochs=200,
        validation_data=(x_stop, y_stop),
        early_stopping=fastnn.EarlyStopping(patience=20),
    )
    probabilities = net.predict(x_test)
    accuracy = np.mean(probabilities.argmax(axis=1) == y_test)
    print(f"{history.epochs} epochs, the best was {history.best_epoch}")
    print(f"accuracy on {len(x_test)} pictures kept back: {accuracy:.1%}")
    draw(history, x_test, y_test, probabilities).savefig(output, dpi=100)


def draw(history, x, y, probabilities):
    """Draw the losses, and the pictures that were most surely taken for others."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.3, 1])
    history.plot(left.subplots())
    digits = probabilities.argmax(axis=1)
    certainty = np.where(digits != y, probabilities.max(axis=1), 0)
    right.suptitle("the surest mistakes")
    for axes, row in zip(
        right.subplots(2, 3).flat, np.argsort(-certainty)[:6], strict=True
    ):
        axes.set_axis_off()
        if certainty[row]:
            axes.imshow(x[row].reshape(8, 8), cmap="gray_r")
            axes.set_title(f"{y[row]}, not {digits[row]}")
    return figure


if __name__ == "__main__":
    main()
