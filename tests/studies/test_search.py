import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recollect.analysis.learning_rate import TIE, choose_rate, working_window
from recollect.errors import UserError
from recollect.studies.replay import Plan, Progress, Replay, Request
from recollect.studies.search import FINALISTS, FixedGrid, LearningRateSearch, Search

STEPS, EVERY, SEEDS = 1000, 50, (42, 123, 777)


@dataclass(frozen=True)
class Landscape:
    """How accuracy depends on the learning rate: a plateau at chance, a drop to its end.

    Attributes:
        centre: log10 of the best rate.
        width: decades on both sides of it that are as good.
        top: accuracy there.
        slope: accuracy lost for each decade beyond.
        drop: share of the budget at which trials leave the plateau.
        diverges: log10 of the rate from which on trials diverge.
        jitter: how far a seed shifts the centre, in decades.
    """

    centre: float = -2.5
    width: float = 0.2
    top: float = 1.0
    slope: float = 2.0
    drop: float = 0.2
    diverges: float = 0.0
    jitter: float = 0.0
    chance: float = 0.25

    def end(self, rate: float, seed: int) -> float:
        shift = self.jitter * (SEEDS.index(seed) - 1)
        beyond = max(0.0, abs(math.log10(rate) - self.centre - shift) - self.width)
        return max(self.chance, self.top - self.slope * beyond)

    def trial(self, rate: float, seed: int, until: int | None) -> Progress:
        """What training would give."""
        accuracies: dict[int, float] = {}
        for step in range(EVERY, STEPS + 1, EVERY):
            if math.log10(rate) >= self.diverges and step > STEPS / 10:
                return Progress("diverged", step - EVERY // 2, accuracies)
            end = self.end(rate, seed)
            accuracies[step] = end if step >= self.drop * STEPS else self.chance
            if accuracies[step] >= 0.999:
                return Progress("complete", step, accuracies)
            if step == until:
                return Progress("stopped", step, accuracies)
        return Progress("complete", STEPS, accuracies)


@dataclass
class Run:
    """A study of one cell, and what it cost."""

    search: Search
    landscape: Landscape
    near: float | None = None
    solved: float = 1 - TIE
    trials: dict[tuple[float, int], Progress] = field(default_factory=dict)
    requested: list[Request] = field(default_factory=list)

    def plan(self) -> Plan:
        return self.search.plan(
            self.trials,
            seeds=SEEDS,
            steps=STEPS,
            eval_every=EVERY,
            chance=self.landscape.chance,
            solved=self.solved,
            near=self.near,
        )

    def work(self, request: Request) -> None:
        trial = (request.learning_rate, request.seed)
        assert trial not in self.trials or not self.trials[trial].reached(request.until)
        self.trials[trial] = self.landscape.trial(*trial, request.until)
        self.requested.append(request)

    def finish(self, pick=lambda requests: requests) -> Plan:
        """Work until nothing is asked for; `pick` says which requests end before the next plan."""
        for _ in range(1000):
            plan = self.plan()
            if plan.done:
                return plan
            for request in pick(list(plan.requests)):
                self.work(request)
        raise AssertionError("the search does not end")

    @property
    def steps(self) -> int:
        return sum(progress.step for progress in self.trials.values())


landscapes = st.builds(
    Landscape,
    centre=st.floats(-4.5, -0.5),
    width=st.floats(0, 1.5),
    top=st.floats(0.25, 1),
    slope=st.floats(0.1, 10),
    drop=st.floats(0, 1.2),
    diverges=st.floats(-3, 0.5),
    jitter=st.floats(-0.5, 0.5),
    chance=st.sampled_from([0.0, 0.25, 0.5]),
)
searches = st.builds(
    LearningRateSearch,
    per_decade=st.integers(1, 3),
    refine=st.integers(0, 2),
    window=st.booleans(),
    rungs=st.sampled_from([(), (0.5,), (0.25, 0.5), (0.01, 0.99)]),
) | st.builds(FixedGrid, rates=st.just((1e-4, 1e-3, 1e-2)))


nears = st.none() | st.floats(-6, 0).map(lambda exponent: 10**exponent)


@given(searches, landscapes, nears, st.randoms(use_true_random=False))
def test_the_order_in_which_trials_end_does_not_matter(search, landscape, near, random):
    plan = Run(search, landscape, near).finish()
    other = Run(search, landscape, near).finish(
        lambda requests: random.sample(requests, random.randint(1, len(requests)))
    )
    assert other == plan


@given(searches, landscapes, nears, st.randoms(use_true_random=False))
def test_what_other_studies_left_in_the_store_does_not_matter(search, landscape, near, random):
    plan = Run(search, landscape, near).finish()
    shared = Run(search, landscape, near)
    for rate, seed in plan.used:
        if random.random() < 0.5:
            shared.trials[rate, seed] = landscape.trial(rate, seed, random.choice([None, 900]))
    assert shared.finish() == plan


@given(searches, landscapes, nears)
def test_a_finished_search_has_a_fully_known_choice(search, landscape, near):
    run = Run(search, landscape, near)
    plan = run.finish()
    chosen = choose_rate(plan.outcomes)
    assert chosen is not None
    assert chosen.finished
    best = max(o.mean for o in plan.outcomes if o.finished)
    assert chosen.mean >= best - TIE
    assert {*run.trials} == {*plan.used}
    window = working_window(plan.outcomes, landscape.chance)
    if search.measures_window and window is not None:
        tried = [o.learning_rate for o in plan.outcomes]
        assert window.low_is_edge or window.low == min(tried), "undecided edges were decided"
        assert window.high_is_edge or window.high == max(tried)


@settings(max_examples=60)
@given(
    st.builds(
        Landscape,
        centre=st.floats(-3.5, -1.5),
        width=st.floats(0, 0.7),
        top=st.floats(0.3, 1),
        slope=st.floats(0.3, 10),
        drop=st.floats(0, 0.9),
    ),
    nears,
)
def test_the_search_finds_what_the_whole_grid_finds_at_less_cost(landscape, near):
    """The whole grid: coarse rates and middles, a decade further on both sides, on every seed."""
    run, whole = Run(LearningRateSearch(), landscape, near), None
    plan = run.finish()
    rates = [float(f"{10 ** (-5 + i / 4):.3g}") for i in range(21)]
    whole = Run(FixedGrid(rates=rates), landscape)
    everything = whole.finish()
    assert {o.learning_rate for o in plan.outcomes} <= set(rates)
    assert run.steps < whole.steps
    best = max(o.mean for o in everything.outcomes)
    chosen = choose_rate(plan.outcomes)
    assert chosen is not None
    coarse_best = max(landscape.end(rate, 42) for rate in LearningRateSearch().coarse)
    if coarse_best > 0.4:  # above the plateau, so that there is something to follow
        assert chosen.mean >= best - TIE
        found = working_window(plan.outcomes, landscape.chance)
        window = working_window(everything.outcomes, landscape.chance)
        assert (found is None) == (window is None)
        if found is not None and window is not None:
            assert found.high <= window.high
            assert found.low >= window.low


def test_hopeless_rates_stop_at_the_first_rung():
    run = Run(LearningRateSearch(), Landscape(centre=-2.5, width=0.2, slope=3.0))
    plan = run.finish()
    assert plan.used[1e-4, 42] == 250
    assert run.trials[1e-4, 42].status == "stopped"
    assert (1e-4, 123) not in plan.used


def test_nothing_stops_while_all_are_on_the_plateau():
    run = Run(LearningRateSearch(), Landscape(drop=0.9, top=0.99))
    plan = run.finish()
    assert all(plan.used[rate, 42] is None for rate in LearningRateSearch().coarse)


def test_nothing_stops_behind_a_poor_leader():
    plan = Run(LearningRateSearch(), Landscape(top=0.6)).finish()
    assert all(plan.used[rate, 42] is None for rate in LearningRateSearch().coarse)


def test_the_grid_grows_where_the_best_is_at_its_end():
    plan = Run(LearningRateSearch(), Landscape(centre=-0.6, width=0.0, slope=1.0)).finish()
    chosen = choose_rate(plan.outcomes)
    assert chosen is not None
    assert chosen.learning_rate in (0.178, 0.316)
    rates = [o.learning_rate for o in plan.outcomes]
    assert max(rates) == 1.0
    assert min(rates) == 1e-4


def test_the_grid_grows_by_a_decade_at_most():
    plan = Run(LearningRateSearch(), Landscape(centre=-8.0, slope=0.1)).finish()
    assert min(o.learning_rate for o in plan.outcomes) == 1e-5


def test_failing_rates_cost_one_seed():
    plan = Run(LearningRateSearch(), Landscape(slope=0.8)).finish()
    for outcome in plan.outcomes:
        if outcome.accuracies and outcome.accuracies[0] < 0.65:
            assert len(outcome.accuracies) == 1


def test_poor_models_get_their_seeds_for_a_few_rates_only():
    plan = Run(LearningRateSearch(), Landscape(top=0.45, slope=0.1)).finish()
    assert sum(o.finished for o in plan.outcomes) == FINALISTS


def test_a_stopped_rate_next_to_the_window_is_run_to_its_end():
    """Without refinement the neighbours of the window are coarse rates that were stopped."""
    search = LearningRateSearch(refine=0)
    plan = Run(search, Landscape(centre=-2.5, width=0.2, slope=3.0)).finish()
    window = working_window(plan.outcomes, 0.25)
    assert window is not None
    assert (window.low, window.high, str(window)) == (3.16e-3, 3.16e-3, "0.1")
    assert plan.used[1e-3, 42] is None
    assert plan.used[3.16e-4, 42] == 250


def test_without_a_window_the_leader_alone_gets_all_seeds():
    plan = Run(LearningRateSearch(window=False), Landscape(top=0.9, slope=0.3)).finish()
    chosen = choose_rate(plan.outcomes)
    assert chosen is not None
    assert [o.learning_rate for o in plan.outcomes if o.finished] == [chosen.learning_rate]
    assert all(len(o.accuracies) <= 1 for o in plan.outcomes if o != chosen)
    both = Run(LearningRateSearch(), Landscape(top=0.9, slope=0.3)).finish()
    assert choose_rate(both.outcomes) == chosen


@dataclass(frozen=True)
class LuckyFirstSeed(Landscape):
    """From some rate on the other seeds stay on the plateau."""

    luck: float = -4.0

    def end(self, rate: float, seed: int) -> float:
        lucky = math.log10(rate) > self.luck
        return self.chance if lucky and seed != SEEDS[0] else super().end(rate, seed)


def test_without_a_window_a_lucky_leader_is_held_against_the_next():
    search = LearningRateSearch(window=False)
    landscape = LuckyFirstSeed(centre=-2.0, width=0.0, top=0.99, slope=0.3, luck=-2.1)
    plan = Run(search, landscape).finish()
    first = {o.learning_rate: o.accuracies[0] for o in plan.outcomes if o.accuracies}
    assert max(first, key=lambda rate: first[rate]) == 1e-2
    chosen = choose_rate(plan.outcomes)
    assert chosen is not None
    assert chosen.learning_rate == 5.62e-3
    assert {o.learning_rate for o in plan.outcomes if o.finished} == {5.62e-3, 1e-2}


def test_without_a_window_luck_everywhere_costs_the_seeds_of_a_few_rates():
    landscape = LuckyFirstSeed(centre=-2.0, width=1.0, top=0.9, slope=0.3)
    plan = Run(LearningRateSearch(window=False), landscape).finish()
    assert sum(o.finished for o in plan.outcomes) == FINALISTS


def test_without_a_window_the_race_ends_where_none_can_be_better():
    """3.16e-3 has solved the task at the first rung; 1e-3 and 1e-2 would do well later."""
    landscape = Landscape(centre=-2.5, width=0.2, slope=0.3)
    plan = Run(LearningRateSearch(window=False, refine=0), landscape).finish()
    assert {trial for trial, until in plan.used.items() if until is None} == {
        (3.16e-3, seed) for seed in SEEDS
    }


def test_without_a_window_nothing_is_looked_for_beside_a_solution():
    """At the end of the grid it is good enough, and a tenth of a decade beyond it even better."""
    landscape = Landscape(centre=-1.4, width=0.0, slope=0.1)
    search = LearningRateSearch(low=1e-3, high=3.16e-2, window=False)
    content, eager = (Run(search, landscape, solved=solved) for solved in (0.98, 1.0))
    assert max(o.learning_rate for o in content.finish().outcomes) == 3.16e-2
    assert max(o.learning_rate for o in eager.finish().outcomes) > 3.16e-2
    chosen = choose_rate(content.plan().outcomes)
    assert chosen is not None
    assert chosen.learning_rate == 3.16e-2
    assert content.steps < eager.steps


def test_without_a_window_the_grid_still_grows_towards_the_best():
    landscape = Landscape(centre=-0.6, width=0.0, slope=1.0)
    chosen = choose_rate(Run(LearningRateSearch(window=False), landscape).finish().outcomes)
    assert chosen is not None
    assert chosen.learning_rate in (0.178, 0.316)


def test_a_rate_from_the_next_smaller_width_saves_most_of_the_race():
    landscape = Landscape(centre=-2.5, width=0.2, slope=3.0)
    told, alone = (
        Run(LearningRateSearch(), landscape, 3.16e-3),
        Run(LearningRateSearch(), landscape),
    )
    rates = {request.learning_rate for request in told.plan().requests}
    assert rates == {1e-3, 3.16e-3, 1e-2}
    assert choose_rate(told.finish().outcomes) == choose_rate(alone.finish().outcomes)
    assert told.steps < alone.steps
    between = Run(LearningRateSearch(), landscape, 2e-3).plan().requests
    assert {request.learning_rate for request in between} == {1e-3, 3.16e-3}


def test_a_rate_that_is_of_no_use_costs_its_own_race_and_no_more():
    landscape = Landscape(centre=-1.5, width=0.2, slope=3.0)
    misled = Run(LearningRateSearch(), landscape, 1e-4)
    plan = misled.finish()
    assert choose_rate(plan.outcomes) == choose_rate(
        Run(LearningRateSearch(), landscape).finish().outcomes
    )


def test_a_window_is_followed_to_its_edges_within_the_grid():
    landscape = Landscape(centre=-2.5, width=1.1, slope=3.0)
    told = Run(LearningRateSearch(), landscape, 3.16e-3).finish()
    window = working_window(told.outcomes, landscape.chance)
    assert window == working_window(Run(LearningRateSearch(), landscape).finish().outcomes, 0.25)


def test_a_late_bloomer_at_the_edge_joins_the_window():
    class Late(Landscape):
        def trial(self, rate, seed, until):
            late = Landscape(width=1.0, drop=0.7) if rate == 1e-2 else Landscape(slope=3.0)
            return late.trial(rate, seed, until)

    plan = Run(LearningRateSearch(refine=0), Late()).finish()
    window = working_window(plan.outcomes, 0.25)
    assert window is not None
    assert (window.low, window.high, str(window)) == (3.16e-3, 1e-2, "0.6")
    assert plan.used[3.16e-2, 42] is None, "the next one beyond is run to its end too"


def test_a_rung_reads_the_accuracy_at_its_step_and_no_later_one():
    late = Progress("complete", STEPS, {250: 0.25, 500: 0.3, 1000: 1.0})
    assert late.merit(250) == 0.25
    assert late.merit(None) == 1.0
    assert Progress("complete", 100, {50: 0.5, 100: 1.0}).merit(250) == 1.0
    assert Progress("diverged", 300, {250: 0.4}).merit(250) == 0.4
    assert Progress("diverged", 220, {200: 0.4}).merit(250) == 0.0


def test_what_was_looked_at_to_its_end_stays_so():
    """A second race begins at the rungs again, with rates of the first among its own."""
    trial = (1e-3, 42)
    known = {trial: Progress("complete", STEPS, {250: 0.3, 500: 0.4, 1000: 0.9})}
    replay = Replay(known, SEEDS, STEPS, EVERY, chance=0.25, solved=1 - TIE)
    for until, used in ((500, 500), (250, 500), (None, None), (250, None)):
        replay.ask([trial], until)
        assert replay.used[trial] == used
    (outcome,) = replay.outcomes(1)
    assert outcome.accuracies == (0.9,)


def test_rungs_fall_on_validations():
    plan = LearningRateSearch(rungs=(0.21, 0.22, 0.99)).plan(
        {}, seeds=SEEDS, steps=1000, eval_every=50, chance=0.25
    )
    assert {request.until for request in plan.requests} == {250}


def test_fixed_grid_asks_for_every_rate_on_every_seed():
    plan = FixedGrid(rates=(1e-2, 1e-4)).plan(
        {}, seeds=(1, 2), steps=1000, eval_every=50, chance=0.25
    )
    assert {(r.learning_rate, r.seed, r.until) for r in plan.requests} == {
        (rate, seed, None) for rate in (1e-4, 1e-2) for seed in (1, 2)
    }


def test_coarse_grid_prints_cleanly():
    assert LearningRateSearch().coarse == (1e-4, 3.16e-4, 1e-3, 3.16e-3, 1e-2, 3.16e-2, 1e-1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FixedGrid(rates=()), "rates"),
        (lambda: FixedGrid(rates=(1e-3, 1e-3)), "at least 1 %"),
        (lambda: FixedGrid(rates=(0.0, 1e-3)), "positive numbers"),
        (lambda: LearningRateSearch(low=1e-2, high=1e-3), "must lie below"),
        (lambda: LearningRateSearch(rungs=(1.5,)), "between 0 and 1"),
        (lambda: LearningRateSearch(refin=2), "did you mean 'refine'"),
    ],
)
def test_wrong_searches_are_user_errors(build, message):
    with pytest.raises(UserError, match=message):
        build()
