"""What a user passes to a fit: optimizers, losses and early stopping, their defaults, checks and form in files."""

import dataclasses
import json
import math
import pickle
import re
from fractions import Fraction

import numpy as np
import pytest

import fastnn
from fastnn import losses, optimizers, options

OPTIMIZERS = [fastnn.SGD, fastnn.RMSProp, fastnn.Adam, fastnn.AdamW]
OPTIONS = [
    *(optimizer() for optimizer in OPTIMIZERS),
    fastnn.SGD(0.1, momentum=0.9, nesterov=True, clip_norm=1 / 3),
    fastnn.Adam(fastnn.WarmUp(3, fastnn.CosineDecay(0.1, 10))),
    fastnn.RMSProp(fastnn.ReduceOnPlateau(0.1)),
    fastnn.Huber(0.25),
    fastnn.Quantile(0.9),
    fastnn.EarlyStopping(3, monitor="loss"),
]

SWITCHES = ("nesterov", "rate_in_velocity", "epsilon_hat")


def refuses(error, message):
    return pytest.raises(error, match=f"^{message}")


class TestOptimizers:
    """The fields, their defaults and their ranges."""

    def test_defaults(self):
        assert dataclasses.asdict(fastnn.SGD()) == {
            "learning_rate": 0.01,
            "momentum": 0.0,
            "nesterov": False,
            "clip_norm": None,
            "rate_in_velocity": False,
        }
        assert dataclasses.asdict(fastnn.RMSProp()) == {
            "learning_rate": 0.01,
            "alpha": 0.99,
            "epsilon": 1e-8,
            "clip_norm": None,
        }
        adam = {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "clip_norm": None}
        assert dataclasses.asdict(fastnn.Adam()) == adam | {"epsilon_hat": False}
        assert dataclasses.asdict(fastnn.AdamW()) == adam | {"weight_decay": 0.01}

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_equality_and_hash(self, optimizer):
        assert optimizer(0.5) == optimizer(learning_rate=0.5)
        assert optimizer(0.5) != optimizer(0.25)
        assert hash(optimizer(1)) == hash(optimizer(1.0))
        assert all(optimizer() != other() for other in OPTIMIZERS if other is not optimizer)

    def test_repr_makes_it_again(self):
        for option in OPTIONS:
            assert eval(repr(option), {name: getattr(fastnn, name) for name in fastnn.__all__}) == option

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_the_learning_rate_comes_first_and_the_rest_by_name(self, optimizer):
        assert optimizer(0.5).learning_rate == 0.5
        with pytest.raises(TypeError, match="positional"):
            optimizer(0.5, 0.9)

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_frozen(self, optimizer):
        with pytest.raises(dataclasses.FrozenInstanceError):
            optimizer().learning_rate = 1.0

    @pytest.mark.parametrize("value", [1, np.float32(1), np.int8(1), Fraction(1), np.longdouble(1)], ids=repr)
    def test_numbers_become_floats(self, value):
        optimizer = fastnn.AdamW(value, weight_decay=value, clip_norm=value)
        for number in (optimizer.learning_rate, optimizer.weight_decay, optimizer.clip_norm):
            assert type(number) is float
            assert number == 1.0

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    @pytest.mark.parametrize("value", ["0.1", b"1", True, np.True_, 1j, [0.1], np.array(0.1), np.array([0.1]), len])
    def test_no_number(self, optimizer, value):
        """No learning rate, nor any other field."""
        expected = re.escape(repr(value))
        with refuses(TypeError, f"learning_rate must be a number or a schedule, .*; got {expected}"):
            optimizer(value)
        for field in dataclasses.fields(optimizer):
            if field.name not in ("learning_rate", *SWITCHES):
                with refuses(TypeError, f"{field.name} must be a number; got {expected}"):
                    optimizer(**{field.name: value})

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400], ids=["nan", "inf", "-inf", "10**400"])
    def test_not_finite(self, optimizer, value):
        for field in dataclasses.fields(optimizer):
            if field.name not in SWITCHES:
                with refuses(ValueError, f"{field.name} must be finite; got"):
                    optimizer(**{field.name: value})

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_none(self, optimizer):
        assert optimizer(clip_norm=None).clip_norm is None
        with refuses(TypeError, "learning_rate must be a number or a schedule"):
            optimizer(None)

    @pytest.mark.parametrize(
        ("optimizer", "name", "values", "expected"),
        [
            (fastnn.SGD, "learning_rate", [-1e-300, -1], "at least 0"),
            (fastnn.SGD, "momentum", [-0.1, 1.5], "at least 0 and at most 1"),
            (fastnn.SGD, "clip_norm", [0, -1], "above 0"),
            (fastnn.RMSProp, "learning_rate", [-1], "at least 0"),
            (fastnn.RMSProp, "alpha", [-0.1, 1], "at least 0 and below 1"),
            (fastnn.RMSProp, "epsilon", [0, -1e-8], "above 0"),
            (fastnn.RMSProp, "clip_norm", [0], "above 0"),
            *(
                (optimizer, name, values, expected)
                for optimizer in (fastnn.Adam, fastnn.AdamW)
                for name, values, expected in [
                    ("learning_rate", [-1], "at least 0"),
                    ("beta_1", [-0.1, 1], "at least 0 and below 1"),
                    ("beta_2", [-0.1, 1], "at least 0 and below 1"),
                    ("epsilon", [0, -1e-8], "above 0"),
                    ("clip_norm", [0], "above 0"),
                ]
            ),
            (fastnn.AdamW, "weight_decay", [-0.01], "at least 0"),
        ],
    )
    def test_out_of_range(self, optimizer, name, values, expected):
        for value in values:
            with refuses(ValueError, f"{name} must be {expected}; got {re.escape(str(float(value)))}$"):
                optimizer(**{name: value})

    def test_the_ends_of_the_ranges(self):
        fastnn.SGD(0, momentum=0, clip_norm=5e-324)
        fastnn.RMSProp(0, alpha=0, epsilon=5e-324)
        fastnn.AdamW(0, beta_1=0, beta_2=math.nextafter(1, 0), weight_decay=0)

    def test_nesterov(self):
        assert fastnn.SGD(momentum=0.5, nesterov=np.True_).nesterov is True
        with refuses(ValueError, "nesterov must be False without momentum; got nesterov=True"):
            fastnn.SGD(nesterov=True)
        for value in (1, 0, "yes", None):
            with refuses(TypeError, f"nesterov must be True or False; got {value!r}"):
                fastnn.SGD(momentum=0.5, nesterov=value)

    def test_check(self):
        assert optimizers.check_optimizer(None) == fastnn.Adam()
        optimizer = fastnn.SGD(0.5)
        assert optimizers.check_optimizer(optimizer) is optimizer
        for value in ("adam", fastnn.SGD, 0.1):
            with refuses(
                TypeError, f"optimizer must be None or an instance of one of .*; got {re.escape(repr(value))}"
            ):
                optimizers.check_optimizer(value)


class TestLosses:
    """Names, parameters and output activations."""

    def test_names(self):
        for name in ["sse", "mse", "mae", "poisson", "binary_cross_entropy", "cross_entropy"]:
            assert losses.parse_loss(name) == (name, 0.0)
        assert losses.parse_loss("huber") == losses.parse_loss(fastnn.Huber()) == ("huber", 1.0)
        assert losses.parse_loss("quantile") == losses.parse_loss(fastnn.Quantile()) == ("quantile", 0.5)
        assert losses.parse_loss(fastnn.Huber(3)) == ("huber", 3.0)
        assert losses.parse_loss(fastnn.Quantile(q=0.25)) == ("quantile", 0.25)

    @pytest.mark.parametrize("value", ["MSE", "", "hinge", None, 3, ["mse"], fastnn.Huber, {}, np.zeros(2)], ids=repr)
    def test_unknown(self, value):
        with refuses(ValueError, rf"loss must be one of 'sse', 'mse', .*; got {re.escape(repr(value))}$"):
            losses.parse_loss(value)

    def test_parameters(self):
        for value in (0, -1):
            with refuses(ValueError, f"delta must be above 0; got {float(value)}"):
                fastnn.Huber(value)
        for value in (0, 1, -0.5, 1.5):
            with refuses(ValueError, f"q must be above 0 and below 1; got {float(value)}"):
                fastnn.Quantile(value)
        with refuses(TypeError, "q must be a number; got '0.5'"):
            fastnn.Quantile("0.5")

    @pytest.mark.parametrize("loss", losses.LOSSES)
    def test_output_activations(self, loss):
        own = {"poisson": "exp", "binary_cross_entropy": "sigmoid", "cross_entropy": "softmax"}.get(loss)
        assert losses.parse_output_activation(None, loss) == own or "identity"
        for activation in (*losses.ACTIVATIONS, "exp", "softmax"):
            if activation == own or (own is None and activation in losses.ACTIVATIONS):
                assert losses.parse_output_activation(activation, loss) == activation
            else:
                with refuses(ValueError, f"output_activation must be .*with loss '{loss}'; got '{activation}'"):
                    losses.parse_output_activation(activation, loss)
        with refuses(ValueError, "output_activation must be .*; got 3"):
            losses.parse_output_activation(3, loss)

    def test_message_of_a_loss_with_one_activation(self):
        with refuses(ValueError, "output_activation must be 'exp' with loss 'poisson'; got 'relu'$"):
            losses.parse_output_activation("relu", "poisson")


class TestEarlyStopping:
    """Its fields; what it does is in test_mlp_training.py."""

    def test_fields(self):
        stopping = fastnn.EarlyStopping(3)
        assert (stopping.min_delta, stopping.restore_best, stopping.monitor) == (0.0, True, "validation_loss")
        for value, error in ((-1, ValueError), (2**63, ValueError), (1.0, TypeError), (True, TypeError)):
            with refuses(error, "patience must"):
                fastnn.EarlyStopping(value)
        with refuses(ValueError, "min_delta must be at least 0; got -1.0"):
            fastnn.EarlyStopping(1, min_delta=-1)
        with refuses(TypeError, "restore_best must be True or False; got 1"):
            fastnn.EarlyStopping(1, restore_best=1)
        for value in ("accuracy", None, ["loss"], np.array(["loss", "loss"])):
            with refuses(ValueError, f"monitor must be 'validation_loss' or 'loss'; got {re.escape(repr(value))}"):
                fastnn.EarlyStopping(1, monitor=value)


class TestForm:
    """Pickles, and dictionaries that go through JSON."""

    @pytest.mark.parametrize("option", OPTIONS, ids=repr)
    def test_round_trip(self, option):
        assert pickle.loads(pickle.dumps(option)) == option
        assert options.from_dict(json.loads(json.dumps(options.to_dict(option)))) == option

    def test_form(self):
        assert options.to_dict(fastnn.RMSProp(fastnn.Constant(0.5), epsilon=1)) == {
            "class": "RMSProp",
            "learning_rate": {"class": "Constant", "learning_rate": 0.5},
            "alpha": 0.99,
            "epsilon": 1.0,
            "clip_norm": None,
        }

    def test_a_users_own_class(self):
        @dataclasses.dataclass(frozen=True)
        class Adam(fastnn.Adam):
            pass

        with refuses(TypeError, "only fastnn's own options can be saved; got .*Adam"):
            options.to_dict(Adam())

    @pytest.mark.parametrize(
        "description",
        [
            None,
            {},
            [],
            "Adam",
            {"class": "NeuralNetwork"},
            {"class": "show_config"},
            {"class": ["Adam"]},
            {"class": "Adam", "gamma": 1},
            {"class": "Adam", "beta_1": 2},
            {"class": "Adam", "beta_1": "0.9"},
            {"class": "Adam", "learning_rate": {"class": "Adam"}},
            {"class": "StepDecay", "initial": 1},
        ],
        ids=str,
    )
    def test_what_describes_nothing(self, description):
        with refuses(ValueError, f"{re.escape(repr(description))} describes none of fastnn's options"):
            options.from_dict(description)
