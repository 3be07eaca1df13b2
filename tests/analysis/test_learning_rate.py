import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.analysis.learning_rate import (
    SOLVED,
    RateOutcome,
    choose_rate,
    tied,
    tied_range,
    ties_at_ends,
)
from recollect.analysis.rate_window import (
    LEAST_LEARNT,
    WORKING_SHARE,
    best_mean,
    fails_on_every_seed,
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
    assert chosen(grid(0.2, 0.9, 0.9, 0.9, 0.3)) == 1e-3
    assert chosen(grid(0.2, 0.999, 1.0, 0.9, 0.3)) == 3.16e-4, "the lower of two"
    assert chosen(grid(1.0, 0.2, 1.0, 1.0, 1.0, 0.2)) == 3.16e-3, "the widest range"
    assert chosen(grid(1.0, None, 1.0, 1.0, 1.0)) == 3.16e-3, "a stopped rate parts ranges"


def test_a_tie_is_a_difference_within_its_standard_error():
    """0.04 between two means, each of which has an error of 0.03: 0.042 in all."""
    for error, rate in ((0.03, 3.16e-3), (0.028, 1e-3)):
        outcomes = [
            RateOutcome(rate, (mean - 0.1, mean + 0.1), 2, (error * math.sqrt(2),) * 2)
            for rate, mean in ((1e-3, 0.6), (3.16e-3, 0.56), (1e-2, 0.58))
        ]
        assert chosen(outcomes) == rate


def test_losses_that_differ_clearly_are_no_ties():
    """Merits of losses over a vocabulary of 1,024; a hundredth of a nat is well measured."""
    losses = {2e-3: 2.815, 4e-3: 2.800, 8e-3: 2.783}
    guess = math.log(1024)
    for error, rate in ((0.005, 8e-3), (0.02, 4e-3)):
        outcomes = [
            RateOutcome(rate, (1 - loss / guess,), 1, (error / guess,))
            for rate, loss in losses.items()
        ]
        assert chosen(outcomes) == rate


GUESS = math.log(1024)
WINDOWS, GROUPS = 128, 16


def drawn(generator: np.random.Generator, paired: bool) -> list[RateOutcome]:
    """Rates on 128 windows of text, of which some are harder than others by 0.6 nats; the
    difference of two rates varies by hundredths."""
    windows = generator.normal(0, 0.6, WINDOWS)
    outcomes = []
    for rate, mean in ((2e-3, 2.815), (4e-3, 2.800), (8e-3, 2.783)):
        losses = mean + windows + generator.normal(0, 0.03, WINDOWS)
        scores = -losses.reshape(-1, GROUPS).mean(axis=0) / GUESS
        error = losses.std(ddof=1) / math.sqrt(WINDOWS) / GUESS
        groups = (tuple(scores.tolist()),) if paired else ()
        outcomes.append(RateOutcome(rate, (1 - losses.mean() / GUESS,), 1, (error,), groups))
    return outcomes


@pytest.mark.parametrize(("paired", "least", "most"), [(True, 195, 200), (False, 0, 5)])
def test_losses_on_the_same_examples_are_told_apart_by_their_differences(paired, least, most):
    draws = [chosen(drawn(np.random.default_rng(seed), paired)) for seed in range(200)]
    assert least <= draws.count(8e-3) <= most


def test_the_error_of_a_difference_is_that_of_its_groups_over_seeds():
    """Two seeds; the scores are so far apart as the error allows, or a little further."""
    groups = np.random.default_rng(0).normal(size=(2, 2, GROUPS))
    of_seeds = (groups[0] - groups[1]).std(axis=1, ddof=1) / math.sqrt(GROUPS)
    error = math.hypot(*of_seeds) / 2
    for share, is_tied in ((0.999, True), (1.001, False)):
        merits = (4 * error, 4 * error - share * error)
        outcomes = [
            RateOutcome(rate, (merit, merit), 2, (9.0, 9.0), tuple(map(tuple, own.tolist())))
            for rate, merit, own in zip((1e-3, 1e-2), merits, groups, strict=True)
        ]
        assert (len(tied(outcomes, solved=math.inf)) == 2) == is_tied


sixteenths = st.integers(-64, 64).map(lambda n: n / 64)
"""Sums and differences of which are exact."""


@given(
    st.lists(st.lists(sixteenths, min_size=GROUPS, max_size=GROUPS), min_size=4, max_size=4),
    st.lists(sixteenths, min_size=4, max_size=4),
    sixteenths,
)
def test_what_all_rates_share_makes_no_difference(groups, means, shift):
    def ties(shift: float) -> list[float]:
        outcomes = [
            RateOutcome(rate, (mean,), 1, (0.1,), (tuple(score + shift for score in own),))
            for rate, mean, own in zip(GRID, means, groups, strict=False)
        ]
        return [o.learning_rate for o in tied(outcomes)]

    assert ties(shift) == ties(0.0)


def test_without_groups_on_every_seed_errors_count_as_independent():
    """As for trials of older versions, and where a seed diverged."""
    known = RateOutcome(1e-3, (0.5, 0.5), 2, (0.1, 0.1), ((0.0,) * GROUPS,) * 2)
    unknown = RateOutcome(1e-2, (0.45, 0.45), 2, (0.1, 0.1))
    diverged = RateOutcome(1e-1, (0.9, 0.0), 2, (0.1, 0.0))
    assert tied([known, unknown, diverged]) == [known, unknown, diverged]
    alike = replace(unknown, groups=known.groups)
    assert tied([known, alike]) == [known]


def test_the_first_seeds_of_an_outcome_have_their_groups():
    outcome = RateOutcome(1e-3, (0.5, 0.6), 2, (0.1, 0.2), ((1.0, 2.0), (3.0, 4.0)))
    assert outcome.on_first(1) == RateOutcome(1e-3, (0.5,), 1, (0.1,), ((1.0, 2.0),))


def test_rates_that_solved_the_task_tie_however_well_that_is_known():
    outcomes = grid(0.2, 0.992, 0.996, 1.0, 0.994)
    assert chosen(outcomes) == 1e-3
    best = choose_rate(outcomes, solved=0.99)
    assert best is not None
    assert best.learning_rate == 1e-3
    assert {o.learning_rate for o in tied_range(outcomes, solved=0.99)} == set(GRID[1:5])


def test_a_rate_fails_on_every_seed_by_the_best_of_each():
    best = RateOutcome(1e-3, (1.0, 0.6, 0.3), 3)
    for accuracies, fails in (((0.89, 0.53, 0.3), True), ((0.5, 0.55, 0.3), False)):
        outcome = RateOutcome(1e-2, accuracies, 3)
        assert fails_on_every_seed(outcome, [best, outcome], chance=0.1) == fails
    unfinished = RateOutcome(1e-2, (0.1,), 3)
    assert not fails_on_every_seed(unfinished, [best, unfinished], chance=0.1)


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


def test_a_guessing_rate_is_outside_even_if_the_chance_level_is_high():
    window = working_window(grid(0.9, 0.96, 0.9), chance=0.9)
    assert window is not None
    assert (window.low, window.high) == (3.16e-4, 3.16e-4)
    assert window.low_is_edge
    assert window.high_is_edge


def test_an_edge_lies_anywhere_between_a_working_and_a_failing_rate():
    window = working_window(grid(0.1, 0.95, 1.0, 0.91, 0.2), chance=0.1)
    assert window is not None
    assert (window.below, window.above) == (1e-4, 1e-2)
    assert window.decades_between == (1.0, 2.0)
    one_sided = working_window(grid(0.1, 0.95, 1.0), chance=0.1)
    assert one_sided is not None
    assert one_sided.decades_between == (0.5, math.inf)


def test_window_is_of_the_chosen_rate():
    window = working_window(grid(1.0, 0.3, 1.0, 1.0, 0.2), chance=0.1)
    assert window is not None
    assert (window.low, window.high, str(window)) == (1e-3, 3.16e-3, "0.6")


def test_window_around_a_rate_that_was_chosen_elsewhere():
    """It holds that rate, and is measured by it; other rates may be better."""
    outcomes = grid(0.2, 1.0, 0.3, 0.7, 0.65, 0.2)
    window = working_window(outcomes, 0.1, chosen=3.16e-3)
    assert window is not None
    assert (window.low, window.high) == (3.16e-3, 1e-2)
    assert window.low_is_edge
    assert window.high_is_edge
    assert working_window(outcomes, 0.1, chosen=1e-3) is None, "too poor"
    assert working_window(outcomes, 0.1, chosen=2e-3) is None, "not tried"


def test_a_rate_at_an_end_may_tie_apart_from_the_others():
    assert ties_at_ends(grid(0.9, 0.5, 0.9, 0.9, 0.4)) == (True, False)
    assert ties_at_ends(grid(0.4, 0.9, 0.9, 0.3, 0.9)) == (False, True)
    assert ties_at_ends(grid(None, 0.9, 0.4)) == (False, False)
    assert ties_at_ends(grid(None)) == (False, False)


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
    assert working_window(grid(0.1, 0.54, 0.2), chance=0.1) is None
    assert working_window(grid(0.1, 0.56, 0.2), chance=0.1) is not None
    assert working_window(grid(0.5, 0.56, 0.5), chance=0.5) is None, "90 % of it is below chance"
    assert working_window([RateOutcome(1e-3, (), 3)], chance=0.1) is None


accuracies = st.floats(0, 1)


@st.composite
def tried_rates(draw) -> list[RateOutcome]:
    seeds = draw(st.integers(1, 3))
    rates = draw(st.lists(st.integers(-20, 0), min_size=1, max_size=8, unique=True))
    known = st.lists(accuracies, max_size=seeds).map(tuple)
    error = draw(st.sampled_from([0.0, 0.05]))
    outcomes = []
    for rate in rates:
        found = draw(known)
        errors = (error,) * len(found)
        outcomes.append(RateOutcome(10 ** (rate / 4), found, seeds, errors))
    return outcomes


@given(tried_rates(), st.floats(0, 0.5))
def test_window_and_choice_keep_their_promises(outcomes, chance):
    best = best_mean(outcomes)
    outcome = choose_rate(outcomes)
    assert (outcome is None) == (best is None)
    if outcome is None or best is None:
        return
    assert outcome.finished
    noise = max(o.error for o in outcomes if o.finished) * math.sqrt(2)
    assert outcome.mean >= best - noise or min(outcome.accuracies) >= SOLVED
    good = tied_range(outcomes)
    assert good[0].learning_rate <= outcome.learning_rate <= good[-1].learning_rate
    window = working_window(outcomes, chance)
    if window is None:
        return
    assert best >= chance + LEAST_LEARNT * (1 - chance)
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
