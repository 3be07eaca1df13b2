"""How a rate is chosen: what is stopped, what is resumed, how far a search looks."""

import math

import pytest
from searching import SEEDS, Curves, Landscape, Run

from recollect.analysis.rate_window import working_window
from recollect.studies.search import FINALISTS, BestRateSearch, FixedGrid, LearningRateSearch

BOTH = pytest.mark.parametrize("search", [BestRateSearch(), LearningRateSearch()])
FIRST = 9001
"""The first seed that chooses."""


def late_bloomer(rate: float, _: int) -> tuple[float, float]:
    """High rates are fast and end at 0.64; low ones leave the plateau late, and nearly solve it."""
    if rate >= 2.5e-2:
        return 0.25, 0.64
    if rate <= 3.1e-3:
        return 0.8, 0.99
    return (0.7, 0.9) if rate <= 6e-3 else (0.6, 0.6)


@pytest.mark.parametrize("seeds", [0, 2])
@pytest.mark.parametrize("refine", [0, 1])
def test_a_late_bloomer_is_not_lost(seeds, refine):
    search = BestRateSearch(low=3e-3, high=3e-2, refine=refine, search_seeds=seeds)
    chosen = Run(search, Curves(curve=late_bloomer)).finish().chosen
    assert chosen is not None
    assert chosen.accuracies[0] == 0.99


def test_a_stopped_rate_is_resumed_the_most_promising_first():
    """Of those on the plateau the next to the leader; none after one has solved the task."""

    def curve(rate: float, _: int) -> tuple[float, float]:
        return {1e-2: (0.1, 0.7), 3.16e-2: (0.9, 0.5), 3.16e-3: (0.9, 1.0)}.get(rate, (0.9, 0.25))

    run = Run(BestRateSearch(refine=0), Curves(curve=curve))
    run.finish()
    ended = [r.learning_rate for r in run.requested if r.until is None and r.seed == FIRST]
    assert ended == [1e-2, 3.16e-2, 3.16e-3]


@pytest.mark.parametrize("works", [1e-3, 3.16e-4, 3.16e-2, 1e-1])
def test_where_all_are_stuck_both_sides_are_tried(works):
    curve = Curves(curve=lambda rate, _: (0.2, 0.99 if rate == works else 0.25))
    search = BestRateSearch(low=10**-2.5, high=1e-2, rungs=(0.2, 0.4), refine=0)
    assert Run(search, curve).choose() == works


@BOTH
def test_a_model_that_never_learns_was_tried_over_the_full_range(search):
    plan = Run(search.replace(low=3e-3, high=3e-2), Landscape(top=0.25)).finish()
    assert plan.rates is not None
    assert plan.rates[0] <= 1e-4
    assert plan.rates[1] >= 1e-1
    assert all(until is None for until in plan.used.values())


def test_hopeless_rates_stop_at_the_first_rung_where_the_leader_solves_the_task():
    run = Run(BestRateSearch(), Landscape(centre=-2.5, width=0.2, slope=3.0))
    plan = run.finish()
    assert plan.used[1e-4, FIRST] == 250
    assert run.trials[1e-4, FIRST].status == "stopped"
    assert {trial for trial, until in plan.used.items() if until is None} == {
        (3.16e-3, seed) for seed in (9001, 9002, *SEEDS)
    }


@pytest.mark.parametrize("landscape", [Landscape(drop=0.9, top=0.99), Landscape(top=0.6)])
def test_nothing_is_ruled_out_by_a_leader_that_can_be_beaten(landscape):
    plan = Run(BestRateSearch(), landscape).finish()
    assert all(plan.used[rate, FIRST] is None for rate in BestRateSearch().coarse)


@BOTH
def test_the_grid_grows_where_the_best_is_at_its_end(search):
    landscape = Landscape(centre=-0.6, width=0.0, slope=1.0)
    assert Run(search, landscape).choose() in (0.178, 0.316)


def test_the_grid_grows_by_a_decade_at_most():
    plan = Run(BestRateSearch(), Landscape(centre=-8.0, slope=0.1)).finish()
    assert plan.rates == (1e-5, 1e-1)
    narrow = BestRateSearch(low=1e-3, high=1e-2)
    plan = Run(narrow, Landscape(centre=-8.0, slope=0.1)).finish()
    assert plan.rates == (1e-5, 1e-2), "beyond the full range, not only beyond the grid"


def test_a_tie_at_the_end_counts_wherever_the_others_are():
    """1e-4 ties with a range of rates elsewhere, and beyond it there is better."""

    def curve(rate: float, _: int) -> tuple[float, float]:
        if rate < 1e-4:
            return 0.1, 0.97
        return 0.1, 0.9 if rate == 1e-4 or 1e-3 <= rate <= 1e-2 else 0.5

    assert Run(BestRateSearch(), Curves(curve=curve)).choose() < 1e-4


def test_nothing_is_looked_for_beside_a_solution():
    """At the end of the grid it is good enough, and a tenth of a decade beyond it even better."""
    landscape = Landscape(centre=-1.4, width=0.0, slope=0.1)
    search = BestRateSearch(low=1e-3, high=3.16e-2)
    content, eager = (Run(search, landscape, solved=solved) for solved in (0.98, 1.0))
    assert content.choose() == 3.16e-2
    assert max(rate for rate, _ in content.trials) == 3.16e-2
    eager.finish()
    assert max(rate for rate, _ in eager.trials) > 3.16e-2
    assert content.steps < eager.steps


def test_a_lucky_leader_is_held_against_the_next():
    """1e-2 stays on the plateau on all seeds but the first."""

    def curve(rate: float, seed: int) -> tuple[float, float]:
        if rate > 8e-3 and seed != FIRST:
            return 0.1, 0.25
        return 0.1, 0.98 - 0.3 * abs(math.log10(rate) + 2)

    plan = Run(BestRateSearch(), Curves(curve=curve)).finish()
    assert plan.chosen is not None
    assert plan.chosen.learning_rate == 5.62e-3
    assert {o.learning_rate for o in plan.candidates if o.finished} >= {5.62e-3, 1e-2}
    assert sum(o.finished for o in plan.candidates) == FINALISTS


def test_where_a_solution_was_luck_the_stopped_rates_are_not_ruled_out():
    """1e-2 solves the task at once on the first seed alone, 1e-3 on every seed at the very end."""

    def curve(rate: float, seed: int) -> tuple[float, float]:
        if rate == 1e-2:
            return 0.1, 1.0 if seed == FIRST else 0.25
        return (0.9, 1.0) if rate == 1e-3 else (0.9, 0.3)

    run = Run(BestRateSearch(refine=0), Curves(curve=curve))
    assert run.choose() == 1e-3


def test_of_ties_by_noise_the_middle_is_chosen():
    def curve(rate: float, _: int) -> tuple[float, float]:
        return 0.1, {1e-3: 0.89, 3.16e-3: 0.888, 1e-2: 0.9}.get(rate, 0.5)

    search = FixedGrid(rates=BestRateSearch().coarse)
    assert Run(search, Curves(curve=curve, error=0.02)).choose() == 3.16e-3
    assert Run(search, Curves(curve=curve, error=0.001)).choose() == 1e-2


@BOTH
def test_a_rate_from_the_next_smaller_width_saves_most_of_the_race(search):
    landscape = Landscape(centre=-2.5, width=0.2, slope=3.0)
    guided, alone = Run(search, landscape, 3.16e-3), Run(search, landscape)
    rates = {request.learning_rate for request in guided.plan().requests}
    assert rates == {1e-3, 3.16e-3, 1e-2}
    assert guided.choose() == alone.choose()
    assert guided.steps < alone.steps
    between = Run(search, landscape, 2e-3).plan().requests
    assert {request.learning_rate for request in between} == {1e-3, 3.16e-3}


@pytest.mark.parametrize("top", [1.0, 0.9])
def test_a_rate_that_is_of_no_use_misleads_nobody(top):
    landscape = Landscape(centre=-1.5, width=0.2, slope=3.0, top=top)
    guided, alone = Run(BestRateSearch(), landscape, 1e-4), Run(BestRateSearch(), landscape)
    assert guided.choose() == alone.choose()


def test_both_searches_choose_alike():
    landscape = Landscape(top=0.9, slope=0.3, jitter=0.3)
    best, window = Run(BestRateSearch(), landscape), Run(LearningRateSearch(), landscape)
    assert best.finish().chosen == window.finish().chosen
    assert best.steps < window.steps


def test_a_window_is_walked_to_a_rate_that_fails_on_every_seed():
    """The first rate beyond the window still works on one seed of three."""

    def curve(rate: float, seed: int) -> tuple[float, float]:
        if rate == 1e-2:
            return 0.1, 1.0 if seed == SEEDS[0] else 0.3
        return 0.1, 1.0 if 1e-3 <= rate <= 3.16e-3 else 0.3

    plan = Run(LearningRateSearch(refine=0), Curves(curve=curve)).finish()
    walked = {o.learning_rate: o for o in plan.outcomes}
    assert [*walked] == [3.16e-4, 1e-3, 3.16e-3, 1e-2, 3.16e-2]
    assert all(o.finished for o in walked.values())
    window = working_window(plan.outcomes, 0.25)
    assert window is not None
    assert (window.low, window.high) == (1e-3, 3.16e-3)
    assert window.low_is_edge
    assert window.high_is_edge


def test_a_window_holds_the_chosen_rate_where_other_seeds_prefer_another():
    """The seeds that choose favour 1e-2, those that report 1e-4."""

    def curve(rate: float, seed: int) -> tuple[float, float]:
        if seed > 9000:
            return 0.1, 0.9 - 0.2 * abs(math.log10(rate) + 2)
        return 0.1, 0.95 if rate < 3e-4 else 0.7 if 3e-3 < rate < 3e-2 else 0.3

    plan = Run(LearningRateSearch(), Curves(curve=curve)).finish()
    assert plan.chosen is not None
    assert plan.chosen.learning_rate == 1e-2
    window = working_window(plan.outcomes, 0.25, 1e-2)
    assert window is not None
    assert window.low <= 1e-2 <= window.high
    assert window.low_is_edge
    assert window.high_is_edge
    tried = [o.learning_rate for o in plan.outcomes]
    below = max(rate for rate in tried if rate < window.low)
    assert window.low / below < 2, "the edge is refined"


def test_a_late_bloomer_at_the_edge_joins_the_window():
    def curve(rate: float, _: int) -> tuple[float, float]:
        return {3.16e-3: (0.2, 1.0), 1e-2: (0.9, 1.0)}.get(rate, (0.2, 0.3))

    plan = Run(LearningRateSearch(refine=0), Curves(curve=curve)).finish()
    window = working_window(plan.outcomes, 0.25)
    assert window is not None
    assert (window.low, window.high) == (3.16e-3, 1e-2)


def test_edges_of_a_window_are_refined():
    landscape = Landscape(centre=-2.5, width=0.7, slope=4.0, top=0.9)
    coarse, fine = (
        working_window(Run(LearningRateSearch(refine=n), landscape).finish().outcomes, 0.25)
        for n in (0, 2)
    )
    assert coarse is not None
    assert fine is not None
    true = 2 * (0.7 + 0.09 / 4)  # where accuracy has fallen by a tenth
    assert abs(fine.decades - true) < 0.1 < abs(coarse.decades - true)


def test_a_model_too_poor_for_a_window_is_not_walked():
    plan = Run(LearningRateSearch(), Landscape(top=0.45, slope=0.1)).finish()
    assert len(plan.outcomes) == 1
