import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.analysis.learning_rate import (
    LEAST_ACCURACY,
    TIE,
    WORKING_SHARE,
    RateOutcome,
    best_mean,
    choose_rate,
    tied_range,
    working_window,
)

GRID = [1e-4, 3.16e-4, 1e-3, 3.16e-3, 1e-2, 3.16e-2, 1e-1]


def grid(*means: float | None, seeds: int = 1) -> list[RateOutcome]:
    """Every seed of a rate gives its mean; a rate of None was stopped."""
    return [
        RateOutcome(rate, () if mean is None else (mean,) * seeds, seeds)
        for rate, mean in zip(GRID, means, strict=False)
    ]


def chosen(outcomes: list[RateOutcome]) -> float:
    outcome = choose_rate(outcomes)
    assert outcome is not None
    return outcome.learning_rate


def test_the_best_mean_over_seeds_is_chosen():
    outcomes = [RateOutcome(1e-3, (1.0, 0.1), 2), RateOutcome(1e-2, (0.7, 0.6), 2)]
    assert chosen(outcomes) == 1e-2


def test_ties_give_the_middle_of_their_range():
    assert chosen(grid(0.2, 0.999, 1.0, 0.998, 0.3)) == 1e-3
    assert chosen(grid(0.2, 0.999, 1.0, 0.9, 0.3)) == 3.16e-4, "the lower of two"
    assert chosen(grid(1.0, 0.2, 1.0, 1.0, 1.0, 0.2)) == 3.16e-3, "the widest range"
    assert chosen(grid(1.0, None, 1.0, 1.0, 1.0)) == 3.16e-3, "a stopped rate parts ranges"


def test_the_order_of_rates_does_not_matter():
    outcomes = grid(0.2, 0.999, 1.0, 0.998, 0.3)
    assert choose_rate(outcomes[::-1]) == choose_rate(outcomes)
    assert working_window(outcomes[::-1], 0.1) == working_window(outcomes, 0.1)


def test_unfinished_rates_are_not_chosen():
    assert choose_rate([RateOutcome(1e-3, (1.0,), 2)]) is None
    assert choose_rate([RateOutcome(1e-3, (1.0,), 2), RateOutcome(1e-2, (0.1, 0.1), 2)]) is not None
    assert chosen([RateOutcome(1e-3, (1.0,), 2), RateOutcome(1e-2, (0.1, 0.1), 2)]) == 1e-2


def test_window_reaches_from_the_lowest_working_rate_to_the_highest():
    window = working_window(grid(0.1, 0.95, 1.0, 0.91, 0.2), chance=0.1)
    assert window is not None
    assert (window.low, window.high) == (3.16e-4, 3.16e-3)
    edges = (
        3.16e-4 * (1e-4 / 3.16e-4) ** (0.05 / 0.85),
        3.16e-3 * (1e-2 / 3.16e-3) ** (0.01 / 0.71),
    )
    assert (window.low_edge, window.high_edge) == pytest.approx(edges)
    assert window.decades == pytest.approx(math.log10(edges[1] / edges[0]))


def test_window_is_of_the_chosen_rate():
    window = working_window(grid(1.0, 0.3, 1.0, 1.0, 0.2), chance=0.1)
    assert window is not None
    assert (window.low, window.high, str(window)) == (1e-3, 3.16e-3, "0.6")


@pytest.mark.parametrize(
    ("means", "text"),
    [
        ((1.0, 1.0, 0.2), ">=0.6"),
        ((0.2, 1.0, 1.0), ">=0.6"),
        ((0.2, 1.0, 0.2), "0.1"),
        ((1.0,), ">=0.0"),
        ((None, 1.0, 0.2), ">=0.1"),
    ],
)
def test_an_edge_that_is_not_known_is_open(means, text):
    window = working_window(grid(*means), chance=0.1)
    assert str(window) == text


def test_a_stopped_rate_is_outside_only_by_a_bound():
    """With 3 seeds and a best of 1, a rate is out when its first seed is below 0.7."""
    best = RateOutcome(1e-3, (1.0, 1.0, 1.0), 3)
    for first, text in ((0.69, "0.6"), (0.71, ">=0.0")):
        neighbours = [RateOutcome(rate, (first,), 3) for rate in (1e-4, 1e-2)]
        assert str(working_window([best, *neighbours], chance=0.1)) == text


def test_no_window_for_poor_or_guessing_models():
    assert working_window(grid(0.1, 0.49, 0.2), chance=0.1) is None
    assert working_window(grid(0.5, 0.52, 0.5), chance=0.5) is None
    assert working_window([RateOutcome(1e-3, (), 3)], chance=0.1) is None


accuracies = st.floats(0, 1)


@st.composite
def tried_rates(draw) -> list[RateOutcome]:
    seeds = draw(st.integers(1, 3))
    rates = draw(st.lists(st.integers(-20, 0), min_size=1, max_size=8, unique=True))
    known = st.lists(accuracies, max_size=seeds).map(tuple)
    return [RateOutcome(10 ** (rate / 4), draw(known), seeds) for rate in rates]


@given(tried_rates(), st.floats(0, 0.5))
def test_window_and_choice_keep_their_promises(outcomes, chance):
    best = best_mean(outcomes)
    outcome = choose_rate(outcomes)
    assert (outcome is None) == (best is None)
    if outcome is None or best is None:
        return
    assert outcome.finished
    assert outcome.mean >= best - TIE
    tied = tied_range(outcomes)
    assert tied[0].learning_rate <= outcome.learning_rate <= tied[-1].learning_rate
    window = working_window(outcomes, chance)
    if window is None:
        return
    assert best >= LEAST_ACCURACY
    assert window.low_edge <= window.low <= outcome.learning_rate <= window.high
    assert window.high <= window.high_edge
    for o in outcomes:
        assert o.learning_rate >= window.low or o.learning_rate <= window.low_edge * (1 + 1e-9)
    for o in outcomes:
        if window.low <= o.learning_rate <= window.high:
            assert o.lowest >= WORKING_SHARE * best
    below = [o for o in outcomes if o.learning_rate < window.low]
    assert not window.low_is_edge or max(below, key=lambda o: o.learning_rate).highest < (
        WORKING_SHARE * best
    )


@given(tried_rates(), st.data())
def test_what_a_window_says_of_its_edges_survives_the_missing_seeds(outcomes, data):
    """An edge that is known stays where it is, whatever the rates beyond it turn out to be."""
    window = working_window(outcomes, chance=0.0)
    best = best_mean(outcomes)
    if window is None or best is None or not window.high_is_edge:
        return
    beyond = min(
        (o for o in outcomes if o.learning_rate > window.high), key=lambda o: o.learning_rate
    )
    missing = beyond.n_seeds - len(beyond.accuracies)
    more = data.draw(st.lists(accuracies, min_size=missing, max_size=missing))
    full = RateOutcome(beyond.learning_rate, (*beyond.accuracies, *more), beyond.n_seeds)
    assert full.mean < WORKING_SHARE * best or math.isclose(full.mean, WORKING_SHARE * best)
