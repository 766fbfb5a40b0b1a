"""Tell malignant tumours from benign ones: 569 biopsies with 30 measures each, which come with scikit-learn."""

import argparse

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

import fastnn


def main(arguments=None):
    """Predict each row by a network that did not see it, print how well, and draw what can be chosen from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="breast_cancer.png", metavar="FILE", help="default: breast_cancer.png")
    output = parser.parse_args(arguments).output

    data = load_breast_cancer()
    x, malignant = data.data, data.target == 0
    probability = np.empty(len(x))
    networks = []
    for training, test in StratifiedKFold(5, shuffle=True, random_state=0).split(x, malignant):
        scaler = StandardScaler().fit(x[training])  # of the training rows alone
        net = fastnn.MLP([30, 16, 1], activation="tanh", loss="binary_cross_entropy", l2=0.01, seed=0)
        net.fit(scaler.transform(x[training]), malignant[training], epochs=100)
        probability[test] = net.predict(scaler.transform(x[test]))[:, 0]
        networks.append((net, scaler))

    accuracy = np.mean((probability > 0.5) == malignant)
    print(f"accuracy {accuracy:.1%}, area under the ROC curve {roc_auc_score(malignant, probability):.4f}")
    draw(malignant, probability, importances(networks, x), data.feature_names).savefig(output, dpi=100)
    return accuracy


def importances(networks, x):
    """Return how much a step of one standard deviation in each measure moves the probability, on average."""
    return np.mean([np.abs(net.jacobian(scaler.transform(x))[:, 0]).mean(axis=0) for net, scaler in networks], axis=0)


def draw(malignant, probability, importance, names):
    """Draw the ROC curve beside the measures that count most."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    false_alarms, found, _ = roc_curve(malignant, probability)
    left.plot(false_alarms, found)
    left.set(xlabel="benign tumours taken for malignant", ylabel="malignant tumours found", xlim=(-0.01, 0.3))
    left.grid(alpha=0.3)
    most = np.argsort(importance)[-8:]
    right.barh(names[most], importance[most])
    right.set_xlabel("mean change of the probability")
    return figure


if __name__ == "__main__":
    main()
