"""What the estimators have beyond scikit-learn's, and in whose company they work."""

import io
import math
import pickle
import time

import numpy as np
import pytest
from small_estimators import classifier, regressor, same

import fastnn

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

import sklearn
from sklearn import ensemble, model_selection, pipeline, preprocessing
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score

from fastnn.estimators import scores
from fastnn.estimators.lbfgs import LBFGS

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.isa_independent,
]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
NUMBER = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
LABEL = np.array(["low", "middle", "high"])[np.digitize(NUMBER, [-0.3, 0.5])]
NEEDED = 'needs scikit-learn >= 1.6; run: pip install "fastnn-cpu[sklearn]"'
JOBS = pytest.mark.parametrize(
    "n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)]
)  # processes take seconds to start


class TestNetworks:
    """Activations, losses, dropout: MLP's own."""

    @pytest.mark.parametrize("activation", ["leaky_relu", "elu", "softplus", "gelu", "silu", "sin", ["tanh", "gelu"]])
    def test_activations(self, activation):
        net = regressor(activation=activation, hidden_layer_sizes=(8, 5), max_iter=100, solver="lbfgs").fit(X, NUMBER)
        expected = tuple([activation] * 2 if isinstance(activation, str) else activation)
        assert net.network_.activations[:2] == expected
        assert net.score(X, NUMBER) > 0.8

    def test_logistic_and_sigmoid_are_one(self):
        assert same(regressor(activation="logistic").fit(X, NUMBER), regressor(activation=["sigmoid"]).fit(X, NUMBER))

    def test_absolute_error_and_mae_are_one(self):
        """scikit-learn's name, as its other regressors have it, and MLP's."""
        for solver in ("adam", "lbfgs"):
            net, other = (regressor(loss=loss, solver=solver).fit(X, NUMBER) for loss in ("absolute_error", "mae"))
            assert same(net, other)
            assert clone(net).loss == "absolute_error"
            with pytest.raises(ValueError, match=r"MLPRegressor.*absolute_error"):
                net.to_sklearn()
        net = regressor(loss="absolute_error").partial_fit(X, NUMBER).set_params(loss="mae").partial_fit(X, NUMBER)
        other = regressor(loss="mae").partial_fit(X, NUMBER).partial_fit(X, NUMBER)
        assert same(net, other)

    @pytest.mark.parametrize(
        ("loss", "of_residual"),
        [
            ("mae", np.abs),
            ("quantile", lambda r: np.abs(r) / 2),
            (fastnn.Quantile(0.9), lambda r: np.maximum(0.9 * r, -0.1 * r)),
            ("huber", lambda r: np.where(np.abs(r) <= 1, r**2 / 2, np.abs(r) - 0.5)),
            (fastnn.Huber(0.1), lambda r: np.where(np.abs(r) <= 0.1, r**2 / 2, 0.1 * (np.abs(r) - 0.05))),
            ("squared_error", lambda r: r**2 / 2),
        ],
        ids=lambda value: None if callable(value) else str(value),
    )
    def test_losses(self, loss, of_residual):
        """The best constants for two outputs are found, and the mean over outputs is reported."""
        y = np.random.default_rng(1).exponential(size=(101, 1)) * [1.0, 2.0] - [0.0, 3.0]
        optimizer = fastnn.SGD(fastnn.CosineDecay(0.5, epochs=600))
        net = regressor(loss=loss, hidden_layer_sizes=(), solver=optimizer, max_iter=600, alpha=0, tol=0)
        net.fit(np.zeros((101, 1)), y)
        grid = np.linspace(-4, 8, 2401)
        best = sum(min(of_residual(y[:, k] - c).mean() for c in grid) for k in range(2)) / 2
        reached = of_residual(y - net.predict(np.zeros((101, 1)))).mean()
        assert reached == pytest.approx(best, rel=0.01)
        assert net.loss_ == pytest.approx(reached, rel=0.01)

    def test_dropout(self):
        a, b = (regressor(dropout=0.5).fit(X, NUMBER) for _ in range(2))
        assert same(a, b)
        assert a.network_.dropout == 0.5
        assert not same(a, regressor().fit(X, NUMBER))

    def test_no_hidden_layer(self):
        net = classifier(hidden_layer_sizes=(), solver="lbfgs", max_iter=100).fit(X, LABEL)
        assert net.n_layers_ == 2
        assert net.score(X, LABEL) > 0.4

    def test_input_gradient(self):
        h = 1e-5
        for net, output in (
            (regressor().fit(X, NUMBER), lambda n, x: n.predict(x)),
            (regressor().fit(X, np.column_stack([NUMBER, X])), lambda n, x: n.predict(x)),
            (classifier().fit(X, LABEL), lambda n, x: n.predict_proba(x)),
            (classifier().fit(X, LABEL == "low"), lambda n, x: n.predict_proba(x)[:, 1]),
        ):
            gradient = net.input_gradient(X[:7])
            for j in range(4):
                step = h * np.eye(4)[j]
                expected = (output(net, X[:7] + step) - output(net, X[:7] - step)) / (2 * h)
                np.testing.assert_allclose(gradient[..., j], expected, atol=1e-8)


class TestSolvers:
    """rmsprop, adamw, optimizers, schedules; and what ends a fit."""

    @pytest.mark.parametrize(
        ("name", "optimizer"),
        [
            ("rmsprop", fastnn.RMSProp(0.001)),
            ("adamw", fastnn.AdamW(0.001)),
            ("adam", fastnn.Adam(0.001, epsilon_hat=True)),
            ("sgd", fastnn.SGD(0.001, momentum=0.9, nesterov=True, rate_in_velocity=True)),
        ],
    )
    def test_names_and_optimizers(self, name, optimizer):
        assert same(regressor(solver=name).fit(X, NUMBER), regressor(solver=optimizer).fit(X, NUMBER))

    def test_an_optimizer_trains_as_in_mlp(self):
        net = regressor(solver=fastnn.Adam(0.01), shuffle=False, batch_size=20).fit(X, NUMBER)
        twin = fastnn.MLP([4, 8, 1], l2=1e-4, dtype="float64", convention="scikit-learn")
        start = regressor(solver="lbfgs", max_iter=1).fit(X, NUMBER)
        start._random_state = np.random.RandomState(0)
        start._draw_weights(["relu"])
        twin.parameters = start.network_.parameters
        history = twin.fit(X, NUMBER, epochs=5, batch_size=20, shuffle=False, optimizer=fastnn.Adam(0.01))
        np.testing.assert_array_equal(net.network_.parameters, twin.parameters)
        assert net.loss_curve_ == history.loss.tolist()

    def test_schedules(self):
        schedule = fastnn.CosineDecay(0.05, epochs=5)
        rates = []
        net = regressor(learning_rate=schedule, callbacks=lambda _, history: rates.append(history.learning_rate[-1]))
        net.fit(X, NUMBER)
        assert rates == [schedule(epoch) for epoch in range(5)]
        assert same(net, regressor(learning_rate_init=schedule).fit(X, NUMBER))

    @pytest.mark.parametrize("solver", ["adam", fastnn.RMSProp(epsilon=1e-60)], ids=["name", "optimizer"])
    def test_an_epsilon_that_is_0_in_float32(self, solver):
        net = regressor(solver=solver, epsilon=1e-60)
        with pytest.raises(ValueError, match=r"^optimizer must have an epsilon above 0 in float32; .*epsilon=1e-60"):
            net.fit(X.astype("float32"), NUMBER)

    def test_one_row_has_no_score(self):
        with pytest.raises(ValueError, match=r"^X_val must have at least 2 rows for a score of early_stopping; got 1"):
            regressor(early_stopping=True).fit(X, NUMBER, X_val=X[:1], y_val=NUMBER[:1])

    def test_sizes_without_dimensions(self):
        assert regressor(hidden_layer_sizes=np.array(8)).fit(X, NUMBER).network_.layer_sizes == (4, 8, 1)

    @pytest.mark.parametrize("solver", ["adam", "lbfgs"])
    def test_a_closed_stdout(self, monkeypatch, solver):
        closed = io.StringIO()
        closed.close()
        monkeypatch.setattr("sys.stdout", closed)
        assert regressor(solver=solver, verbose=True, max_iter=2).fit(X, NUMBER).n_iter_ == 2

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                {"solver": fastnn.SGD(0.1), "learning_rate_init": fastnn.Constant(0.2)},
                r"^learning_rate_init must not be a schedule where solver is an optimizer.* got "
                r".*learning_rate_init=Constant\(learning_rate=0\.2\), solver=SGD\(learning_rate=0\.1",
            ),
            (
                {"solver": fastnn.Adam(), "learning_rate": fastnn.ReduceOnPlateau(0.1)},
                r"^learning_rate must not be a schedule where solver is an optimizer.* learning_rate=ReduceOnPlateau",
            ),
            (
                {"learning_rate": fastnn.Constant(0.1), "learning_rate_init": fastnn.Constant(0.2)},
                r"^only one of learning_rate and learning_rate_init .* got learning_rate=Constant.*0\.1.*0\.2",
            ),
            (
                {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": fastnn.Constant(0.2)},
                r"^learning_rate must be 'constant' where .* got learning_rate='adaptive', learning_rate_init=Constant",
            ),
        ],
        ids=["init and optimizer", "schedule and optimizer", "two schedules", "rule and schedule"],
    )
    def test_no_schedule_is_ignored(self, arguments, message):
        for fit in (regressor(**arguments).fit, regressor(**arguments).partial_fit):
            with pytest.raises(ValueError, match=message):
                fit(X, NUMBER)

    def test_plateau(self):
        rates = []
        regressor(
            solver="sgd",
            learning_rate=fastnn.ReduceOnPlateau(1e-12, factor=0.5, patience=0),
            callbacks=lambda _, history: rates.append(history.learning_rate[-1]),
        ).fit(X, NUMBER)
        assert rates[-1] < rates[0]

    def test_max_time(self):
        start = time.monotonic()
        net = regressor(max_iter=10**9, max_time=0.2, tol=0, n_iter_no_change=math.inf).fit(X, NUMBER)
        assert time.monotonic() - start < 20
        assert 1 <= net.n_iter_ < 10**9
        net = regressor(solver="lbfgs", max_iter=10**6, max_fun=10**9, max_time=0.0, tol=0).fit(X, NUMBER)
        assert net.n_iter_ == 1

    @pytest.mark.parametrize(
        ("limits", "advice"),
        [
            ({"max_iter": 2}, r"\(max_iter=2\) or scale"),
            ({"max_iter": 100, "max_fun": 9}, r"\(max_fun=9\) or scale"),
            ({"max_iter": 100}, "ABNORMAL.*\n\nYou might want to scale"),
        ],
    )
    def test_what_an_unsuccessful_lbfgs_advises(self, monkeypatch, limits, advice):
        """The limit that ended it; none where the line search failed, as it does on a gradient that leads upwards."""

        def mislead(fit, parameters):
            loss, gradient = compute(fit, parameters)
            return loss, gradient if "ABNORMAL" not in advice else -gradient

        compute = LBFGS._loss_and_gradient
        monkeypatch.setattr(LBFGS, "_loss_and_gradient", mislead)
        with pytest.warns(ConvergenceWarning, match=advice):
            regressor(solver="lbfgs", **limits).fit(X, NUMBER)

    def test_callbacks(self):
        seen = []

        def stop_at_three(estimator, history):
            seen.append((estimator.n_iter_, history.epochs, estimator.loss_curve_[-1] == history.loss[-1]))
            return history.epochs == 3

        net = regressor(callbacks=[stop_at_three], max_iter=9).fit(X, NUMBER)
        assert seen == [(1, 1, True), (2, 2, True), (3, 3, True)]
        assert net.n_iter_ == 3

    def test_wrong_callbacks(self):
        with pytest.raises(TypeError, match="callbacks must be a function or several; got 1"):
            regressor(callbacks=[1]).fit(X, NUMBER)

    def test_interrupt(self):
        def interrupt(estimator, history):
            raise KeyboardInterrupt

        with pytest.warns(UserWarning, match=r"Training interrupted by user\."):
            net = regressor(callbacks=interrupt).fit(X, NUMBER)
        assert net.n_iter_ == 1

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_interrupt_of_lbfgs(self, monkeypatch, dtype):
        """As in scikit-learn it is not caught; the weights are those of the last iteration, not of a line search."""

        def interrupt(fit, parameters):
            result = compute(fit, parameters)
            if fit.iterations == 2:
                raise KeyboardInterrupt
            return result

        expected = regressor(solver="lbfgs", max_iter=2).fit(X.astype(dtype), NUMBER)
        compute = LBFGS._loss_and_gradient
        monkeypatch.setattr(LBFGS, "_loss_and_gradient", interrupt)
        net = regressor(solver="lbfgs", max_iter=3)
        with pytest.raises(KeyboardInterrupt):
            net.fit(X.astype(dtype), NUMBER)
        assert same(net, expected)
        assert (net.n_iter_, net.loss_) == (2, expected.loss_)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"dropout": 0.1},
            {"learning_rate": fastnn.Constant(0.1)},
            {"learning_rate_init": fastnn.ReduceOnPlateau(0.1)},
            {"callbacks": print},
            {"callbacks": [print]},
            {"warm_start": "resume"},
        ],
        ids=str,
    )
    def test_lbfgs_ignores_nothing(self, arguments):
        name = next(iter(arguments))
        with pytest.raises(ValueError, match=rf"^{name}=.* needs a stochastic solver; got solver='lbfgs'$"):
            regressor(solver="lbfgs", **arguments).fit(X, NUMBER)
        regressor(solver="lbfgs", callbacks=[], learning_rate="adaptive", warm_start=True).fit(X, NUMBER)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_lbfgs_on_a_loss_that_is_not_finite(self, dtype):
        x = X * (1e200 if dtype == np.float64 else 1e30)
        y = NUMBER if dtype == np.float64 else NUMBER * 1e200
        net = regressor(solver="lbfgs", warm_start=True, max_iter=1).fit(X.astype(dtype), NUMBER)
        before = net.network_.parameters.copy()
        with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
            net.fit(x.astype(dtype), y)
        np.testing.assert_array_equal(net.network_.parameters, before)

    def test_threads_cannot_be_seen(self):
        x, y = RNG.normal(size=(500, 60)), RNG.normal(size=500)
        a, b = (regressor(hidden_layer_sizes=200, batch_size=250, n_threads=n, max_iter=2).fit(x, y) for n in (1, 2))
        assert same(a, b)
        assert (a.predict(x) == b.predict(x)).all()


class TestResume:
    """Two fits of five epochs are one of ten, bit for bit."""

    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {"solver": "sgd", "learning_rate": "invscaling"},
            {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 2},
            {"solver": "rmsprop", "dropout": 0.3},
            {"learning_rate": fastnn.CosineDecay(0.01, epochs=9)},
            {"early_stopping": True, "n_iter_no_change": 100},
            {"shuffle": False},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("through", ["memory", "pickle"])
    def test_exact(self, arguments, through):
        arguments = {"warm_start": "resume", "batch_size": 16, "max_iter": 5} | arguments
        whole = regressor(**arguments | {"max_iter": 10}).fit(X, NUMBER)
        parts = regressor(**arguments).fit(X, NUMBER)
        if through == "pickle":
            parts = pickle.loads(pickle.dumps(parts))
        parts.fit(X, NUMBER)
        assert same(whole, parts)
        assert whole.loss_curve_ == parts.loss_curve_
        assert whole.validation_scores_ == parts.validation_scores_

    def test_true_begins_with_a_new_optimizer(self):
        parts = regressor(warm_start=True, shuffle=False).fit(X, NUMBER).fit(X, NUMBER)
        assert not same(parts, regressor(max_iter=10, shuffle=False).fit(X, NUMBER))

    def test_partial_fit_keeps_the_optimizer(self):
        whole, parts = regressor(shuffle=False).fit(X, NUMBER), regressor(shuffle=False)
        for _ in range(5):
            parts = pickle.loads(pickle.dumps(parts.partial_fit(X, NUMBER)))
        assert same(whole, parts)


class TestChanges:
    """set_params between two fits."""

    def test_early_stopping_and_the_solver(self):
        net = regressor(warm_start=True, early_stopping=True).fit(X, NUMBER)
        net.set_params(early_stopping=False).fit(X, NUMBER)
        assert net.best_loss_ == min(net.loss_curve_[5:])
        net.set_params(early_stopping=True).fit(X, NUMBER)
        assert len(net.validation_scores_) == 5
        net.set_params(solver="lbfgs").fit(X, NUMBER)
        net.set_params(solver="sgd", early_stopping=False).partial_fit(X, NUMBER)
        assert np.isfinite(net.predict(X)).all()
        net.set_params(warm_start=False, solver="lbfgs").fit(X, NUMBER)
        assert not hasattr(net, "loss_curve_")

    def test_of_the_network_keep_the_weights(self):
        net = regressor(warm_start=True).fit(X, NUMBER)
        before = net.network_.parameters.copy()
        net.set_params(alpha=1.0, activation="gelu", dropout=0.5, max_iter=1, learning_rate_init=1e-12).fit(X, NUMBER)
        assert (net.network_.l2, net.network_.dropout, net.network_.activations[0]) == (1.0, 0.5, "gelu")
        np.testing.assert_allclose(net.network_.parameters, before, atol=1e-9)


class TestValidation:
    """X_val and y_val."""

    def test_curve(self):
        losses = []
        net = classifier(callbacks=lambda e, _: losses.append(e.network_.loss(X[60:], e._encode(LABEL[60:]))))
        net.fit(X[:60], LABEL[:60], X_val=X[60:], y_val=LABEL[60:])
        assert net.validation_loss_curve_ == pytest.approx(losses, rel=1e-12)
        assert net.validation_scores_ is None
        assert same(net, classifier().fit(X[:60], LABEL[:60]))

    def test_early_stopping_takes_them(self):
        net = classifier(early_stopping=True).fit(X[:60], LABEL[:60], X_val=X[60:], y_val=LABEL[60:])
        assert net.best_validation_score_ == net.score(X[60:], LABEL[60:])
        assert len(net.validation_loss_curve_) == len(net.validation_scores_) == net.n_iter_

    def test_the_rows_set_aside_have_a_curve(self):
        assert len(regressor(early_stopping=True).fit(X, NUMBER).validation_loss_curve_) == 5

    def test_not_all_classes_after_a_warm_start(self):
        net = classifier(warm_start=True).fit(X, LABEL)
        few = LABEL == "low"
        assert len(net.fit(X, LABEL, X_val=X[few], y_val=LABEL[few]).validation_loss_curve_) == 5

    @pytest.mark.parametrize(
        ("x", "y", "error", "message"),
        [
            (X * np.nan, NUMBER, ValueError, "Input X contains NaN"),
            (X, NUMBER * np.nan, ValueError, "Input y contains NaN"),
            (X[:, :3], NUMBER, ValueError, "X has 3 features, but MLPRegressor is expecting 4"),
            (X, NUMBER[:5], ValueError, "Found input variables with inconsistent numbers of samples"),
            ([["a"] * 4] * 2, NUMBER[:2], ValueError, "could not convert string to float"),
            ([[None] * 4, [{}] * 4], NUMBER[:2], TypeError, "float"),
        ],
    )
    def test_scikit_learns_checks(self, x, y, error, message):
        with pytest.raises(error, match=rf"^X_val, y_val \(checked as X, y\): .*{message}"):
            regressor().fit(X, NUMBER, X_val=x, y_val=y)

    def test_errors(self):
        with pytest.raises(ValueError, match="X_val and y_val must be given together; got y_val=None"):
            regressor().fit(X, NUMBER, X_val=X)
        with pytest.raises(ValueError, match="X_val and y_val need a stochastic solver"):
            regressor(solver="lbfgs").fit(X, NUMBER, X_val=X, y_val=NUMBER)
        with pytest.raises(ValueError, match=r"^X_val, y_val \(.*\): `y` has classes not in `self\.classes_`"):
            classifier().fit(X, LABEL, X_val=X, y_val=NUMBER > 0)
        with pytest.raises(ValueError, match=r"^y_val must have shape"):
            regressor().fit(X, NUMBER, X_val=X, y_val=X)
        with pytest.raises(ValueError, match=r"^y_val must not be negative with loss 'poisson'"):
            regressor(loss="poisson").fit(X, abs(NUMBER), X_val=X, y_val=-abs(NUMBER))


class TestScores:
    """scikit-learn's metrics on outputs."""

    @pytest.mark.parametrize("weighted", [False, True])
    def test_scikit_learns(self, weighted):
        weights = RNG.uniform(size=50) if weighted else None
        outputs, numbers = RNG.uniform(size=(50, 3)), RNG.integers(0, 3, 50)
        many = RNG.integers(0, 2, (50, 3))
        assert scores.accuracy(outputs, numbers, weights) == pytest.approx(
            accuracy_score(numbers, outputs.argmax(axis=1), sample_weight=weights)
        )
        assert scores.accuracy(outputs, many, weights) == pytest.approx(
            accuracy_score(many, outputs > 0.5, sample_weight=weights)
        )
        y = RNG.normal(size=(50, 3))
        y[:, 2] = 1
        assert scores.r2(outputs, y, weights) == pytest.approx(r2_score(y, outputs, sample_weight=weights))
        outputs[:, 2] = 1
        assert scores.r2(outputs, y, weights) == pytest.approx(r2_score(y, outputs, sample_weight=weights))


class TestCompany:
    """Pipelines, searches, ensembles, frames and callbacks."""

    @JOBS
    def test_pipeline_and_search(self, n_jobs):
        chain = pipeline.make_pipeline(preprocessing.StandardScaler(), classifier())
        search = model_selection.GridSearchCV(chain, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=2, n_jobs=n_jobs)
        search.fit(X, LABEL)
        assert search.best_score_ > 0.2
        assert search.best_estimator_[-1].network_.layer_sizes == (4, 8, 3)

    @pytest.mark.slow
    def test_cross_val_predict(self):
        prediction = model_selection.cross_val_predict(regressor(), X, NUMBER, cv=3, n_jobs=-1)
        assert (prediction == model_selection.cross_val_predict(regressor(), X, NUMBER, cv=3)).all()

    @JOBS
    def test_ensembles(self, n_jobs):
        for whole in (
            CalibratedClassifierCV(classifier(), cv=2),
            ensemble.BaggingClassifier(classifier(), n_estimators=2, n_jobs=n_jobs, random_state=0),
            ensemble.VotingClassifier([("a", classifier()), ("b", classifier(alpha=1))], voting="soft", n_jobs=n_jobs),
        ):
            assert whole.fit(X, LABEL).predict_proba(X).shape == (90, 3)
        whole = ensemble.VotingRegressor([("a", regressor()), ("b", regressor(alpha=1))])
        assert whole.fit(X, NUMBER).predict(X).shape == (90,)

    @pytest.mark.parametrize("missing", [None, np.nan], ids=str)
    def test_missing_labels(self, missing):
        labels = LABEL.astype(object)
        labels[7] = missing
        for fit in (classifier().fit, lambda x, y: classifier().partial_fit(x, y, classes=np.unique(LABEL))):
            with pytest.raises(ValueError, match=rf"^y must have a label for each row; got {missing}$"):
                fit(X, labels)

    def test_labels_of_two_kinds(self):
        labels = np.array([1, *LABEL[1:].tolist()], object)
        with pytest.raises(ValueError, match=r"^y must have labels of one kind, .*; got 'high' and 1$"):
            classifier().fit(X, labels)

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    def test_missing_labels_of_frames(self, library):
        frames = pytest.importorskip(library, reason=f"{library} is not installed")
        labels = [None, *LABEL[1:].tolist()]
        for series in (
            frames.Series(labels),
            *([frames.Series(labels, dtype=name) for name in ("string", "category")] if library == "pandas" else []),
        ):
            with pytest.raises(ValueError, match=r"^y must have a label for each row; got (None|nan|<NA>)$"):
                classifier().fit(X, series)

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    def test_frames(self, library):
        frames = pytest.importorskip(library, reason=f"{library} is not installed")
        frame = frames.DataFrame({name: X[:, i] for i, name in enumerate("abcd")})
        net = classifier().fit(frame, frames.Series(LABEL))
        names = preprocessing.StandardScaler().fit(frame)  # whether scikit-learn knows them is its version's matter
        np.testing.assert_array_equal(getattr(net, "feature_names_in_", []), getattr(names, "feature_names_in_", []))
        assert same(net, classifier().fit(X, LABEL))
        assert (net.predict(frame) == classifier().fit(X, LABEL).predict(X)).all()

    def test_metadata_routing(self):
        with sklearn.config_context(enable_metadata_routing=True):
            net = regressor().set_fit_request(sample_weight=True)
            weights = RNG.uniform(size=len(X))
            scaler = preprocessing.StandardScaler().set_fit_request(sample_weight=False)
            chain = pipeline.make_pipeline(scaler, net).fit(X, NUMBER, sample_weight=weights)
        scaled = preprocessing.StandardScaler().fit_transform(X)
        assert same(chain[-1], regressor().fit(scaled, NUMBER, weights))

    @pytest.mark.parametrize("solver", ["adam", "lbfgs"])
    def test_scikit_learns_callbacks(self, solver):
        callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks since 1.9")
        monitor = callback.ScoringMonitor(scoring="accuracy")
        net = classifier(solver=solver).set_callbacks(monitor).fit(X, LABEL)
        logged = [row["accuracy"] for row in monitor.get_logs().data if row["task_name"].startswith("iteration")]
        assert len(logged) == net.n_iter_
        assert logged[-1] == net.score(X, LABEL)
        assert same(net, classifier(solver=solver).fit(X, LABEL))

    def test_scikit_learns_callbacks_end_a_fit(self):
        utilities = pytest.importorskip("sklearn.callback.tests._utils", reason="scikit-learn has callbacks since 1.9")
        stop = utilities.StopFitCallback()
        assert classifier().set_callbacks(stop).fit(X, LABEL).n_iter_ == 1
        assert stop.count_hooks("setup") == stop.count_hooks("teardown") == 1
        assert stop.count_hooks("on_fit_task_begin") == stop.count_hooks("on_fit_task_end") == 2

    def test_progress_bar_in_a_pipeline(self, capsys):
        callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks since 1.9")
        pytest.importorskip("rich", reason="scikit-learn's bar needs rich")
        chain = pipeline.make_pipeline(preprocessing.StandardScaler(), classifier())
        chain.set_callbacks(callback.ProgressBar()).fit(X, LABEL)
        assert "MLPClassifier - fit" in capsys.readouterr().out


def test_without_scikit_learn(run):
    """One line that says what to install; the rest of fastnn works."""
    code = "import sys; sys.modules['sklearn'] = None; import fastnn; from fastnn import *; fastnn.MLP([1, 1]); "
    error = run("-c", code + "fastnn.MLPClassifier", check=False).stderr.strip().splitlines()[-1]
    assert error == f"ImportError: fastnn.MLPClassifier {NEEDED}"


@pytest.mark.parametrize(
    "lacking", ["del validation.validate_data", "sys.modules['sklearn.utils._param_validation'] = None"]
)
def test_with_an_old_scikit_learn(run, lacking):
    code = f"import sys; from sklearn.utils import validation; import fastnn; {lacking}; fastnn.MLPRegressor"
    error = run("-c", code, check=False).stderr.strip().splitlines()[-1]
    assert error == f"ImportError: fastnn.MLPRegressor {NEEDED}"
