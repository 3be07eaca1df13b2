import pytest

from recollect.analysis.interval import window_interval
from recollect.analysis.learning_rate import RateOutcome, working_window

RATES = (1e-4, 1e-3, 1e-2, 1e-1)


def curve(*per_rate: tuple[float, ...]) -> list[RateOutcome]:
    return [
        RateOutcome(rate, each, len(per_rate[1]))
        for rate, each in zip(RATES, per_rate, strict=False)
    ]


def test_equal_seeds_leave_no_doubt():
    outcomes = curve((0.1,) * 3, (1.0,) * 3, (1.0,) * 3, (0.1,) * 3)
    window = working_window(outcomes, 0.1)
    assert window is not None
    assert window_interval(outcomes, 0.1) == pytest.approx((window.decades, window.decades))


def test_it_holds_the_window_and_the_doubt_about_it():
    """With one seed of two, the highest rate works or does not."""
    outcomes = curve((0.1, 0.1), (1.0, 1.0), (1.0, 1.0), (1.0, 0.6))
    window = working_window(outcomes, 0.1)
    assert window is not None
    low, high = window_interval(outcomes, 0.1)
    always_low = working_window(curve((0.1,), (1.0,), (1.0,), (0.6,)), 0.1)
    always_high = working_window(curve((0.1,), (1.0,), (1.0,), (1.0,)), 0.1)
    assert (low, high) == pytest.approx((always_low.decades, always_high.decades))
    assert low <= window.decades <= high
    narrow = window_interval(outcomes, 0.1, confidence=0.4)
    assert narrow == pytest.approx((window.decades, window.decades)), "half of all draws"


def test_draws_without_a_window_have_no_width():
    outcomes = curve((0.1, 0.1), (1.0, 0.2), (0.1, 0.1))
    assert window_interval(outcomes, 0.1)[0] == 0.0


def test_rates_that_lack_seeds_stay_outside():
    outcomes = [*curve((0.1, 0.1), (1.0, 1.0)), RateOutcome(1e-2, (0.1,), 2)]
    low, high = window_interval(outcomes, 0.1)
    assert low == pytest.approx(high)


def test_no_interval_without_window_or_seeds():
    assert window_interval(curve((0.1, 0.1), (0.2, 0.2)), 0.1) is None
    assert window_interval(curve((0.1,), (1.0,)), 0.1) is None
