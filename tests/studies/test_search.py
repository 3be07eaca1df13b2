"""What every search promises."""

import math

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from searching import EVERY, SEEDS, STEPS, Landscape, Run, landscapes, nears, searches

from recollect.analysis.learning_rate import SOLVED
from recollect.analysis.rate_window import working_window
from recollect.errors import UserError
from recollect.studies.replay import Progress, Replay
from recollect.studies.search import BestRateSearch, FixedGrid, LearningRateSearch


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
    assert {*run.trials} == {*plan.used}
    chosen = plan.chosen
    assert chosen is not None
    assert chosen.finished
    assert chosen in plan.candidates
    best = max((o for o in plan.candidates if o.finished), key=lambda o: o.mean)
    noise = math.hypot(best.error, chosen.error)
    assert chosen.mean >= best.mean - noise or chosen.has_solved(SOLVED)
    reported = {o.learning_rate: o for o in plan.outcomes}
    assert reported[chosen.learning_rate].finished
    window = working_window(plan.outcomes, landscape.chance)
    if isinstance(search, LearningRateSearch) and search.search_seeds and window is not None:
        lowest, highest = (search.rate(i) for i in search.limits)
        assert window.low_is_edge or window.low <= lowest, "the walk goes on to an edge"
        assert window.high_is_edge or window.high >= highest


@given(searches, landscapes, nears)
def test_the_study_reports_on_seeds_that_chose_nothing(search, landscape, near):
    plan = Run(search, landscape, near).finish()
    choosing = search.own_seeds or SEEDS
    assert {o.n_seeds for o in plan.candidates} == {len(choosing)}
    on_study = {rate for rate, seed in plan.used if seed in SEEDS}
    assert {o.learning_rate for o in plan.outcomes} == on_study
    if isinstance(search, BestRateSearch) and search.search_seeds:
        assert plan.chosen is not None
        assert on_study == {plan.chosen.learning_rate}


@hypothesis_settings(max_examples=60)
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
def test_searches_find_what_the_whole_grid_finds_at_less_cost(landscape, near):
    """The whole grid: coarse rates and middles, a decade further on both sides, on every seed."""
    rates = [float(f"{10 ** (-5 + i / 4):.3g}") for i in range(21)]
    whole = Run(FixedGrid(rates=rates), landscape)
    everything = whole.finish()
    best = max(o.mean for o in everything.outcomes)
    window = working_window(everything.outcomes, landscape.chance)
    coarse_best = max(landscape.end(rate, 42) for rate in LearningRateSearch().coarse)
    for search in (BestRateSearch(), LearningRateSearch()):
        run = Run(search, landscape, near)
        plan = run.finish()
        assert run.steps < whole.steps
        if coarse_best < 0.4:  # on the plateau, where nothing says in which direction to look
            continue
        assert plan.chosen is not None
        assert plan.chosen.mean >= best - (1 - SOLVED)
        if isinstance(search, LearningRateSearch):
            found = working_window(plan.outcomes, landscape.chance)
            assert (found is None) == (window is None)
            if found is not None and window is not None and "=" not in str(window):
                edges = (found.low_edge, window.low_edge), (found.high_edge, window.high_edge)
                assert all(abs(math.log10(one / other)) < 0.3 for one, other in edges)


def test_a_rung_reads_the_accuracy_at_its_step_and_no_later_one():
    late = Progress("complete", STEPS, {250: 0.25, 500: 0.3, 1000: 1.0})
    assert late.score(250) == 0.25
    assert late.score(None) == 1.0
    assert Progress("complete", 100, {50: 0.5, 100: 1.0}).score(250) == 1.0
    assert Progress("diverged", 300, {250: 0.4}).score(250) == 0.4
    assert Progress("diverged", 220, {200: 0.4}).score(250) == 0.0


def test_what_was_looked_at_to_its_end_stays_so():
    """A second race begins at the rungs again, with rates of the first among its own."""
    trial = (1e-3, 42)
    known = {trial: Progress("complete", STEPS, {250: 0.3, 500: 0.4, 1000: 0.9})}
    replay = Replay(known, SEEDS, SEEDS, STEPS, EVERY, chance=0.25, solved=SOLVED)
    for until, used in ((500, 500), (250, 500), (None, None), (250, None)):
        replay.ask([trial], until)
        assert replay.used[trial] == used
    (outcome,) = replay.outcomes(SEEDS[:1])
    assert outcome.accuracies == (0.9,)


def test_rungs_fall_on_validations():
    plan = LearningRateSearch(rungs=(0.21, 0.22, 0.99)).plan(
        {}, seeds=SEEDS, steps=1000, eval_every=50, chance=0.25
    )
    assert {request.until for request in plan.requests} == {250}
    assert {request.seed for request in plan.requests} == {9001}


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
        (lambda: BestRateSearch(low=1e-2, high=1e-3), "must lie below"),
        (lambda: LearningRateSearch(rungs=(1.5,)), "between 0 and 1"),
        (lambda: LearningRateSearch(refin=2), "did you mean 'refine'"),
        (lambda: LearningRateSearch(window=False), "BestRateSearch finds only the best"),
        (lambda: BestRateSearch(window=True), "LearningRateSearch measures the window"),
        (lambda: BestRateSearch(search_seeds=11), "less than or equal to 10"),
    ],
)
def test_wrong_searches_are_user_errors(build, message):
    with pytest.raises(UserError, match=message):
        build()
