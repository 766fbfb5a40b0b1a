"""Learning rates as functions of the epoch, by hand and in any cut, and the one that looks at the loss."""

import json
import math
import re

import numpy as np
import pytest

import fastnn
from fastnn import schedules

EXAMPLES = [
    fastnn.Constant(0.1),
    fastnn.StepDecay(0.1, factor=0.3, every=7),
    fastnn.ExponentialDecay(0.1, rate=0.97),
    fastnn.InverseScaling(0.1),
    fastnn.CosineDecay(0.1, epochs=90, final=1e-4),
    fastnn.WarmUp(5, then=0.1),
    fastnn.WarmUp(3, then=fastnn.WarmUp(4, then=fastnn.CosineDecay(0.1, epochs=50))),
]
each_example = pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)


def refuses(error, message):
    return pytest.raises(error, match=f"^{message}")


class TestFormulas:
    """The first epochs by hand; powers of two are exact."""

    @pytest.mark.parametrize(
        ("schedule", "expected"),
        [
            (fastnn.Constant(0.25), [0.25] * 8),
            (fastnn.StepDecay(1, 0.5, 3), [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]),
            (fastnn.StepDecay(1, 1, 1), [1] * 8),
            (fastnn.ExponentialDecay(1, 0.5), [2.0**-i for i in range(8)]),
            (fastnn.InverseScaling(1, 1), [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6, 1 / 7, 1 / 8]),
            (fastnn.InverseScaling(1, 0), [1] * 8),
            (fastnn.WarmUp(4, 1), [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]),
            (fastnn.WarmUp(1, 1), [1] * 8),
            (fastnn.WarmUp(2, fastnn.ExponentialDecay(1, 0.5)), [0.5, 1, 1, 0.5, 0.25, 0.125, 1 / 16, 1 / 32]),
            (fastnn.WarmUp(2, fastnn.WarmUp(2, 1)), [0.25, 0.5, 0.5, 1, 1, 1, 1, 1]),
        ],
        ids=repr,
    )
    def test_exact(self, schedule, expected):
        rates = schedule(np.arange(8))
        assert rates.dtype == np.float64
        np.testing.assert_array_equal(rates, expected)

    def test_inverse_scaling(self):
        np.testing.assert_allclose(
            fastnn.InverseScaling(0.3)(np.arange(50)), 0.3 / np.sqrt(np.arange(1, 51)), rtol=1e-15
        )

    def test_cosine(self):
        schedule = fastnn.CosineDecay(3.0, epochs=4, final=1.0)
        root = math.sqrt(0.5)
        np.testing.assert_allclose(schedule(np.arange(5)), [3, 2 + root, 2, 2 - root, 1], rtol=1e-15)
        assert [schedule(epoch) for epoch in (0, 4, 5, 10**6)] == [3, 1, 1, 1]
        assert fastnn.CosineDecay(0.1, epochs=10)(10) == 0
        assert fastnn.CosineDecay(0.005, epochs=10, final=0.0005)(0) == 0.005  # the formula's sum is one bit off
        assert fastnn.CosineDecay(0.1, epochs=10, final=0.1)(3) == 0.1

    @each_example
    def test_far_away(self, schedule):
        """The rates stay finite and in range however long one trains."""
        for epoch in (10**5, 10**9, 2**63 - 1):
            assert 0 <= schedule(epoch) <= 0.1
        assert fastnn.InverseScaling(1, power=1e300)(1) == 0


class TestCalls:
    """Numbers and arrays of epochs."""

    @each_example
    def test_arrays_are_their_elements(self, schedule):
        epochs = np.random.default_rng(0).integers(0, 100, (7, 13))
        rates = schedule(epochs)
        assert rates.shape == (7, 13)
        assert rates.tolist() == [[schedule(int(epoch)) for epoch in row] for row in epochs]

    @each_example
    def test_any_cut_gives_the_same_rates(self, schedule):
        """Law 5: training that stops and goes on has the same learning rates."""
        whole = schedules.learning_rates(schedule, 0, 100)
        for cut in (0, 1, 37, 99, 100):
            parts = [schedules.learning_rates(schedule, 0, cut), schedules.learning_rates(schedule, cut, 100 - cut)]
            np.testing.assert_array_equal(np.concatenate(parts), whole)

    @pytest.mark.parametrize("epoch", [3, np.int8(3), np.uint64(3)], ids=repr)
    def test_a_number_gives_a_float(self, epoch):
        rate = fastnn.ExponentialDecay(1, 0.5)(epoch)
        assert type(rate) is float
        assert rate == 0.125

    def test_shapes(self):
        schedule = fastnn.ExponentialDecay(1, 0.5)
        assert schedule(np.array(3)).shape == ()
        assert schedule(np.empty(0, int)).shape == (0,)
        assert schedule([0, 1]).tolist() == [1, 0.5]
        assert schedule(np.array([2**64 - 1], np.uint64)) == 0

    @pytest.mark.parametrize("epoch", [1.0, "1", None, True, np.array([1.0]), np.array([True])], ids=repr)
    def test_no_epochs(self, epoch):
        with refuses(TypeError, "epoch must"):
            fastnn.Constant(1)(epoch)

    @pytest.mark.parametrize("epoch", [-1, np.array([0, -1])], ids=repr)
    def test_negative(self, epoch):
        with refuses(ValueError, "epoch must be at least 0.*; got -1"):
            fastnn.Constant(1)(epoch)

    def test_ragged(self):
        with refuses(ValueError, "epoch is not a rectangular array"):
            fastnn.Constant(1)([[1], [1, 2]])

    def test_learning_rates_of_a_number(self):
        rates = schedules.learning_rates(0.5, 3, 4)
        assert rates.dtype == np.float64
        np.testing.assert_array_equal(rates, [0.5] * 4)

    def test_a_users_own_schedule(self):
        class Sawtooth(schedules.Schedule):
            def at(self, epoch):
                return 1.0 - epoch % 2 / 2

        assert Sawtooth()(np.arange(3)).tolist() == [1, 0.5, 1]
        assert fastnn.SGD(Sawtooth()).learning_rate(1) == 0.5
        with pytest.raises(TypeError, match="abstract"):
            schedules.Schedule()


class TestFields:
    """Checks of the constructors."""

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: fastnn.Constant(-1), "learning_rate must be at least 0; got -1.0"),
            (lambda: fastnn.StepDecay(-1, 0.5, 1), "initial must be at least 0; got -1.0"),
            (lambda: fastnn.StepDecay(1, 0, 1), "factor must be above 0 and at most 1; got 0.0"),
            (lambda: fastnn.StepDecay(1, 1.5, 1), "factor must be above 0 and at most 1; got 1.5"),
            (lambda: fastnn.StepDecay(1, 0.5, 0), "every must be at least 1; got 0"),
            (lambda: fastnn.ExponentialDecay(1, 0), "rate must be above 0 and at most 1; got 0.0"),
            (lambda: fastnn.ExponentialDecay(math.inf, 1), "initial must be finite; got inf"),
            (lambda: fastnn.InverseScaling(1, -0.5), "power must be at least 0; got -0.5"),
            (lambda: fastnn.CosineDecay(1, 0), "epochs must be at least 1; got 0"),
            (lambda: fastnn.CosineDecay(1, 9, -1), "final must be at least 0; got -1.0"),
            (lambda: fastnn.CosineDecay(1, 9, 2), "final must be at most initial, 1.0; got 2.0"),
            (lambda: fastnn.WarmUp(0, 1), "epochs must be at least 1; got 0"),
            (lambda: fastnn.WarmUp(3, -1), "then must be at least 0; got -1.0"),
            (lambda: fastnn.ReduceOnPlateau(-1), "initial must be at least 0; got -1.0"),
            (lambda: fastnn.ReduceOnPlateau(1, factor=1), "factor must be at least 0 and below 1; got 1.0"),
            (lambda: fastnn.ReduceOnPlateau(1, patience=-1), "patience must be at least 0; got -1"),
            (lambda: fastnn.ReduceOnPlateau(1, threshold=1), "threshold must be at least 0 and below 1; got 1.0"),
            (lambda: fastnn.ReduceOnPlateau(1, minimum=2), "minimum must be at most initial, 1.0; got 2.0"),
        ],
    )
    def test_out_of_range(self, make, message):
        with refuses(ValueError, message):
            make()

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: fastnn.Constant(True), "learning_rate must be a number; got True"),
            (lambda: fastnn.Constant(fastnn.Constant(1)), "learning_rate must be a number; got Constant"),
            (lambda: fastnn.StepDecay(1, "0.5", 1), "factor must be a number; got '0.5'"),
            (lambda: fastnn.StepDecay(1, 0.5, 1.0), "every must be an integer; got 1.0"),
            (lambda: fastnn.CosineDecay(1, 9.5), "epochs must be an integer; got 9.5"),
            (lambda: fastnn.WarmUp(3, "1"), "then must be a number or a schedule, .*; got '1'"),
            (lambda: fastnn.WarmUp(3, fastnn.ReduceOnPlateau(1)), "then must be .* of epochs alone; got ReduceOnPl"),
            (lambda: fastnn.ReduceOnPlateau(None), "initial must be a number; got None"),
            (lambda: fastnn.SGD(len), f"learning_rate must be a number or a schedule.*; got {re.escape(repr(len))}"),
        ],
    )
    def test_of_another_type(self, make, message):
        with refuses(TypeError, message):
            make()

    def test_what_is_needed(self):
        for cls in (fastnn.Constant, fastnn.StepDecay, fastnn.InverseScaling, fastnn.WarmUp, fastnn.ReduceOnPlateau):
            with pytest.raises(TypeError, match="missing"):
                cls()


class TestReduceOnPlateau:
    """The learning rate after each epoch of a sequence of losses."""

    @staticmethod
    def rates(schedule, losses):
        """Learning rates of the epochs that had these losses, and of the one after."""
        state = schedule.start()
        rates = [state.learning_rate]
        for loss in losses:
            state = schedule.next(state, loss)
            rates.append(state.learning_rate)
        return rates

    @pytest.mark.parametrize(
        ("options", "losses", "expected"),
        [
            ({"patience": 0}, [3, 2, 2, 1, 1], [1, 1, 1, 0.5, 0.5, 0.25]),
            ({"patience": 1}, [3, 3, 3, 3, 3, 3], [1, 1, 1, 0.5, 0.5, 0.25, 0.25]),
            ({"patience": 2}, [3, 3, 3, 2, 2, 2, 2], [1, 1, 1, 1, 1, 1, 1, 0.5]),
            ({"patience": 0, "minimum": 0.3}, [1, 1, 1, 1], [1, 1, 0.5, 0.3, 0.3]),
            ({"patience": 0, "factor": 0}, [1, 1, 1], [1, 1, 0, 0]),
            ({"patience": 0, "threshold": 0.1}, [10, 9.5, 9, 8], [1, 1, 0.5, 0.25, 0.25]),
            ({"patience": 0, "threshold": 0.1}, [-10, -10.5, -12], [1, 1, 0.5, 0.5]),
            ({"patience": 0, "threshold": 0}, [1, math.nextafter(1, 0), 1], [1, 1, 1, 0.5]),
            ({"patience": 0}, [math.nan, 1, math.inf, 0.5], [1, 0.5, 0.5, 0.25, 0.25]),
            ({"patience": 0}, [math.inf, 1e308, -math.inf], [1, 0.5, 0.5, 0.25]),
            ({"patience": 0}, [0, 0, -1e-300], [1, 1, 0.5, 0.5]),
        ],
    )
    def test_rates(self, options, losses, expected):
        assert self.rates(fastnn.ReduceOnPlateau(1, **{"factor": 0.5, **options}), losses) == expected

    def test_defaults(self):
        schedule = fastnn.ReduceOnPlateau(1)
        assert schedule == fastnn.ReduceOnPlateau(1.0, factor=0.1, patience=10, threshold=1e-4, minimum=0)
        assert self.rates(schedule, [1] * 12) == [1] * 12 + [0.1]

    @pytest.mark.parametrize("state", [None, 1.0, (1.0, None)], ids=repr)
    def test_no_state(self, state):
        with refuses(TypeError, rf"state must be what start or next returned; got {re.escape(repr(state))}"):
            fastnn.ReduceOnPlateau(1).next(state, 1.0)

    def test_no_loss(self):
        with refuses(TypeError, "loss must be a number; got '1'"):
            fastnn.ReduceOnPlateau(1).next(fastnn.ReduceOnPlateau(1).start(), "1")

    def test_the_state_goes_through_json(self):
        """To the bit: a fit that is saved after each epoch has the learning rates of one that is not."""
        schedule = fastnn.ReduceOnPlateau(0.3, factor=1 / 3, patience=1)
        losses = np.random.default_rng(1).random(200) ** 20
        through, direct = schedule.start(), schedule.start()
        for loss in losses:
            through = schedule.next(json.loads(json.dumps(through)), loss)
            direct = schedule.next(direct, loss)
            assert through == direct
            assert all(type(value) in (int, float) for value in direct)
        assert direct.learning_rate < 1e-3
