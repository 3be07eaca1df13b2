import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.analysis.phase_change import smooth_fall, steepest_drop

STEPS = np.arange(0, 2001, 50)


def drop(steps, losses, ceiling=None, budget=None):
    """The steepest drop of a trial that ended at its last step, or before a budget."""
    return steepest_drop(steps, losses, ceiling, budget=steps[-1] if budget is None else budget)


def sigmoid_fall(at: float, width: float) -> np.ndarray:
    return 4 - 3 / (1 + np.exp(-(STEPS - at) / width))


@pytest.mark.parametrize("at", [500, 1000, 1500])
def test_a_drop_from_a_plateau_is_sudden(at):
    change = drop(STEPS, sigmoid_fall(at, width=20))
    assert change is not None
    assert change.is_sudden
    assert change.step == pytest.approx(at, abs=100)
    assert change.size == pytest.approx(3, abs=0.15)
    assert change.share > 0.9


@pytest.mark.parametrize("scale", [100, 400, 1500])
def test_a_steady_fall_is_none(scale):
    curve = 1 + 3 * np.exp(-STEPS / scale)
    change = drop(STEPS, curve)
    assert change is not None
    assert change.step == 100, "it is steepest at the beginning"
    assert change.size == pytest.approx(change.smooth_size, rel=0.05)
    assert not change.is_sudden
    np.testing.assert_allclose(smooth_fall(STEPS, curve), curve, atol=0.05)


def test_a_straight_fall_is_steady_too():
    change = drop(STEPS, 4 - STEPS / 1000)
    assert change is not None
    assert not change.is_sudden


def test_noise_on_a_plateau_is_no_phase_change():
    noise = np.random.default_rng(0).normal(0, 0.01, len(STEPS))
    change = drop(STEPS, 4 - STEPS / 2000 + noise)
    assert change is not None
    assert not change.is_sudden


def test_a_rise_is_no_fall():
    """A loss that falls by a tenth and then rises has not fallen by what it rose."""
    change = steepest_drop(range(6), [2.0, 1.95, 1.9, 1.9, 3.4, 3.5], budget=5)
    assert change.whole == pytest.approx(0.1)


def test_a_model_that_hardly_learns_has_none():
    plateau = np.where(STEPS < 1000, 4.0, 3.5)
    assert drop(STEPS, plateau).steepness > 2
    assert not drop(STEPS, plateau).is_sudden
    assert drop(STEPS, 3 * plateau).is_sudden


def test_what_is_lost_above_the_ceiling_does_not_count():
    curve = sigmoid_fall(1000, width=20) + 20 * np.exp(-STEPS / 20)
    whole, below = drop(STEPS, curve), drop(STEPS, curve, ceiling=4.0)
    assert whole is not None
    assert below is not None
    assert whole.step < 200
    assert below.is_sudden
    assert below.step == pytest.approx(1000, abs=100)
    assert below.share == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("width", [40, 60, 70])
def test_a_trial_that_ended_as_it_solved_its_task_is_measured_alike(width):
    """As if it had stayed there."""
    steps = np.arange(25, 1501, 25)
    losses = 8 / (1 + np.exp((steps - 400) / width))
    ended = int(np.argmax(losses < 0.1)) + 1
    whole = drop(steps, losses)
    short = drop(steps[:ended], losses[:ended], budget=1500)
    assert short.steepness == pytest.approx(whole.steepness, rel=0.02)
    assert short.share == pytest.approx(whole.share, rel=0.02)


def test_what_never_falls_has_none():
    assert drop([0, 1, 2, 3], [1.0, 1.0, 2.0, 3.0]) is None
    assert drop([0, 1], [2.0, 1.0]) is None


@given(
    st.lists(st.floats(0, 10), min_size=3, max_size=30),
    st.floats(0.1, 10),
    st.floats(-5, 5),
)
def test_units_of_loss_and_time_do_not_matter(losses, factor, shift):
    steps = np.arange(len(losses), dtype=float)
    one = drop(steps, losses)
    other = drop(100 * steps, [factor * loss + shift for loss in losses])
    if one is None or other is None or one.size < 1e-6:
        return
    assert other.size == pytest.approx(factor * one.size, rel=1e-6, abs=1e-9)
    assert other.share == pytest.approx(one.share, rel=1e-6)


@pytest.mark.parametrize(
    ("steps", "losses", "message"),
    [([0, 1, 2], [1.0, 2.0], "3 steps and 2 losses"), ([0, 2, 1], [1.0, 2.0, 3.0], "ascending")],
)
def test_wrong_curves_are_refused(steps, losses, message):
    with pytest.raises(ValueError, match=message):
        drop(steps, losses)
