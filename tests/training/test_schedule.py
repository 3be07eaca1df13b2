import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.errors import UserError
from recollect.training.config import TrainConfig
from recollect.training.schedule import learning_rate_at

SCHEDULES = ["cosine", "constant", "linear", "wsd"]


def test_warm_up_is_linear_and_cosine_ends_near_zero():
    train = TrainConfig(learning_rate=1.0, steps=100, warmup=0.1)
    rates = [learning_rate_at(step, train, 1) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[99] < 1e-3


def test_linear_falls_in_equal_steps():
    train = TrainConfig(learning_rate=2.0, steps=100, warmup=0.2, schedule="linear")
    rates = [learning_rate_at(step, train, 1) for step in range(20, 100)]
    assert rates == pytest.approx([2 * (1 - i / 80) for i in range(80)])


@pytest.mark.parametrize(("warmup", "decay"), [(0.1, 20), (0.9, 10)])
def test_wsd_is_constant_and_falls_linearly_over_the_last_fifth(warmup, decay):
    """Over less where the warm-up leaves less."""
    train = TrainConfig(learning_rate=2.0, steps=100, warmup=warmup, schedule="wsd")
    rates = [learning_rate_at(step, train, 1) for step in range(100)]
    start = round(100 * warmup)
    assert rates[:start] == pytest.approx([2 * (i + 1) / start for i in range(start)])
    assert set(rates[start : 100 - decay]) <= {2.0}
    assert rates[100 - decay :] == pytest.approx([2 * (1 - i / decay) for i in range(decay)])


@given(st.integers(1, 500), st.floats(0, 1), st.sampled_from(SCHEDULES))
def test_rate_never_exceeds_the_peak_and_never_falls_below_zero(steps, warmup, schedule):
    train = TrainConfig(learning_rate=0.3, steps=steps, warmup=warmup, schedule=schedule)
    rates = [learning_rate_at(step, train, 1) for step in range(steps)]
    assert all(0 <= rate <= 0.3 for rate in rates)
    assert all(math.isfinite(rate) for rate in rates)


def test_schedule_by_epoch_holds_its_rate_for_an_epoch():
    train = TrainConfig(
        learning_rate=1.0, steps=40, warmup=0.0, schedule_unit="epoch", train_examples=1280
    )
    rates = [learning_rate_at(step, train, 10) for step in range(40)]
    assert [len(set(rates[i : i + 10])) for i in range(0, 40, 10)] == [1, 1, 1, 1]
    expected = [0.5 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(4)]
    assert rates[::10] == pytest.approx(expected)


def test_epochs_need_a_training_set():
    with pytest.raises(UserError, match="needs train_examples"):
        TrainConfig(schedule_unit="epoch", warmup=0.0)


def test_epochs_have_no_warm_up():
    """Its first rate would last for the whole first epoch."""
    with pytest.raises(UserError, match="the whole first epoch"):
        TrainConfig(schedule_unit="epoch", train_examples=100)
