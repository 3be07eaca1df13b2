"""Searches some trials of which fail: what failed is unknown, and nothing else is lost."""

import math
import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import EVERY, SEEDS, STEPS, Landscape, Run, nears, searches, shapes

from recollect.analysis.rate_window import around, working_window
from recollect.studies.replay import Progress
from recollect.studies.search import BestRateSearch, FixedGrid, LearningRateSearch


@dataclass(frozen=True)
class Breaking(Landscape):
    """Trials fail by chance.

    Attributes:
        share: of the trials.
        salt: another value, other trials.
    """

    share: float = 0.3
    salt: int = 0

    def breaks_at(self, rate: float, seed: int) -> float:
        """The step."""
        chance = random.Random(f"{rate} {seed} {self.salt}")
        return chance.randint(1, STEPS) if chance.random() < self.share else float("inf")

    def trial(self, rate: float, seed: int, until: int | None) -> Progress:
        end = super().trial(rate, seed, until)
        step = self.breaks_at(rate, seed)
        if end.step < step:
            return end
        last = int(step - 1) // EVERY * EVERY
        scores = {at: score for at, score in end.scores.items() if at <= last}
        return Progress("failed", last, scores, errors=end.errors)


breaking = st.builds(
    Breaking,
    **shapes,
    share=st.sampled_from([0.05, 0.3, 0.7, 1.0]),
    salt=st.integers(0, 1000),
)


@settings(max_examples=60)
@given(searches, breaking, nears, st.randoms(use_true_random=False))
def test_a_search_ends_whatever_fails_and_chooses_what_is_known(search, landscape, near, random):
    """`Run.work` asserts that nothing is asked for twice."""
    run = Run(search, landscape, near)
    plan = run.finish(lambda requests: random.sample(requests, random.randint(1, len(requests))))
    assert plan == Run(search, landscape, near).finish(), "the order does not matter"
    unknown = {rate for rate, _ in plan.failed}
    assert all(run.trials[trial].status == "failed" for trial in plan.failed)
    chosen = plan.chosen
    if chosen is None:
        assert not [o for o in plan.candidates if o.accuracies], "a rate that ended is a candidate"
    else:
        assert chosen.finished
        assert chosen.learning_rate not in unknown
        assert all((chosen.learning_rate, seed) in run.trials for seed in SEEDS)
    around_chosen = working_window(
        plan.outcomes, landscape.chance, None if chosen is None else chosen.learning_rate
    )
    if around_chosen is not None and chosen is not None:
        assert around_chosen.low <= chosen.learning_rate <= around_chosen.high
    window = working_window(plan.outcomes, landscape.chance)
    if window is not None:
        below, above = around(plan.outcomes, window.low, window.high)
        for neighbour, is_edge in ((below, window.low_is_edge), (above, window.high_is_edge)):
            if neighbour is not None and not neighbour.accuracies:
                assert not is_edge, "what failed does not bound the window"


@pytest.mark.parametrize(
    "search", [BestRateSearch(), LearningRateSearch(), FixedGrid(rates=(1e-3, 1e-2))]
)
def test_where_everything_fails_nothing_is_chosen(search):
    run = Run(search, Breaking(share=1.0, top=0.9))
    plan = run.finish()
    assert plan.chosen is None
    assert len(plan.failed) == len(run.trials)


@pytest.mark.parametrize("breaks", [9002, SEEDS[1]])
def test_where_the_leader_fails_on_another_seed_the_next_is_chosen(breaks):
    @dataclass(frozen=True)
    class OneBreaks(Landscape):
        def trial(self, rate: float, seed: int, until: int | None) -> Progress:
            if (rate, seed) == (3.16e-3, breaks):
                return Progress("failed", 0, {})
            return super().trial(rate, seed, until)

    peak = {"centre": -2.5, "width": 0.0, "slope": 0.4, "top": 0.9}
    assert Run(BestRateSearch(), Landscape(**peak)).choose() == 3.16e-3
    assert Run(BestRateSearch(), OneBreaks(**peak)).choose() in (1.78e-3, 5.62e-3)


def test_where_the_leader_of_a_race_fails_those_that_were_stopped_go_on():
    @dataclass(frozen=True)
    class LeaderBreaks(Landscape):
        def trial(self, rate: float, seed: int, until: int | None) -> Progress:
            past = super().trial(rate, seed, until)
            if rate == 1e-2 and until is None:
                return Progress("failed", STEPS // 2, past.scores)
            return past

    search = BestRateSearch(per_decade=1, refine=0)
    landscape = LeaderBreaks(centre=-2.0, width=0.0, slope=0.7, top=0.9)
    assert Run(search, landscape).choose() != 1e-2


@pytest.mark.parametrize("centre", [-4.7, -0.3])
def test_an_end_that_fails_is_stepped_over(centre):
    """1e-4 and 1e-1 fail, and the best lies beyond."""

    @dataclass(frozen=True)
    class EndsBreak(Landscape):
        def trial(self, rate: float, seed: int, until: int | None) -> Progress:
            if rate in (1e-4, 1e-1):
                return Progress("failed", 0, {})
            return super().trial(rate, seed, until)

    run = Run(BestRateSearch(), EndsBreak(centre=centre, width=0.2, slope=0.3, top=0.9))
    assert abs(math.log10(run.choose()) - centre) < 0.25
