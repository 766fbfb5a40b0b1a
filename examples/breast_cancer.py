"""Tell malignant tumours from benign ones: 569 biopsies, 30 measures each."""

import argparse

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

import fastnn


def main(arguments=None):
    """Predict each row by a network that did not see it, print and draw how well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="cancer.png", help="the picture's file")
    output = parser.parse_args(arguments).output

    data = load_breast_cancer()
    x, malignant = data.data, data.target == 0
    probability = np.empty(len(x))
    sizes = np.empty(x.shape)  # of the derivatives of the probability
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    for training, test in folds.split(x, malignant):
        scaler = StandardScaler().fit(x[training])  # of the training rows alone
        net = fastnn.MLP(
            [30, 16, 1], activation="tanh", loss="binary_cross_entropy", l2=0.01, seed=0
        )
        net.fit(scaler.transform(x[training]), malignant[training], epochs=100)
        rows = scaler.transform(x[test])
        probability[test] = net.predict(rows)[:, 0]
        sizes[test] = np.abs(net.jacobian(rows)[:, 0])

    accuracy = np.mean((probability > 0.5) == malignant)
    area = roc_auc_score(malignant, probability)
    print(f"accuracy {accuracy:.1%}, area under the ROC curve {area:.4f}")
    figure = draw(malignant, probability, sizes.mean(axis=0), data.feature_names)
    figure.savefig(output, dpi=100)


def draw(malignant, probability, importance, names):
    """Draw the ROC curve beside the measures that count most."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    false_alarms, found, _ = roc_curve(malignant, probability)
    left.plot(false_alarms, found)
    left.set(xlabel="benign tumours taken for malignant", xlim=(-0.01, 0.3))
    left.set_ylabel("malignant tumours found")
    left.grid(alpha=0.3)
    most = np.argsort(importance)[-8:]
    right.barh(names[most], importance[most])
    right.set_xlabel("mean change of the probability")
    return figure


if __name__ == "__main__":
    main()
