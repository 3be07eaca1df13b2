"""Parts of claims on made-up cells: what the seeds establish, and what they do not."""

import pandas as pd
import pytest
from made_cells import ALL_RATES, TASK, failed, made, results

from recollect.errors import UserError
from recollect.mixers.catalogue import mixer
from recollect.papers.bounds import Of
from recollect.papers.claims import Claim
from recollect.papers.margins import SOLVED
from recollect.papers.measured import NotMeasured
from recollect.papers.measures import (
    ACCURACY,
    FALL,
    GROWTH_OF_WIDTH,
    STEEPNESS,
    gain_along,
)
from recollect.papers.parts import Part
from recollect.papers.predicates import fails, is_as_wide, is_narrower, recalls_one_pair, solves
from recollect.papers.selectors import D_MODEL, LEAST, MIXER, MOST, N_LAYERS, RELATIVE_WIDTH, Limit

MAMBA, HYENA, ATTENTION = ({MIXER: name} for name in ("mamba", "hyena", "attention"))
SOLVER = made("attention", [0.99] * 5)
"""Another model that solves the task in the same budget."""
LEVEL = 0.05


def judged(part: Part, *cells, level: float = LEVEL, converse: float = LEVEL):
    return part.judge(results(*cells), level, converse)


def state(part: Part, *cells, **levels: float) -> str:
    return judged(part, *cells, **levels).state


class TestSeeds:
    def test_five_of_five_establish_and_four_do_not(self):
        assert state(solves(MAMBA), made(accuracies=[0.95] * 5)) == "established"
        assert state(solves(MAMBA), made(accuracies=[0.95] * 4 + [0.89])) == "undecided"

    def test_one_mean_seed_does_not_carry_the_others(self):
        """The mean is above the line, the median seed is not."""
        found = made(accuracies=[1.0, 1.0, 0.89, 0.89, 0.89])
        assert found.accuracy().value > SOLVED
        assert state(solves(MAMBA), found) == "undecided"

    def test_a_task_is_solved_from_the_line_on(self):
        on_it = made(accuracies=[0.95] * 4 + [SOLVED])
        assert state(solves(MAMBA), on_it) == "established"
        below = Part(cells=MAMBA, measure=ACCURACY, below=SOLVED, why="")
        assert state(below, on_it) == "contradicted"

    def test_fewer_than_five_establish_nothing(self):
        found = judged(solves(MAMBA), made(accuracies=[1.0] * 3))
        assert found.state == "undecided"
        assert found.decides == "7 more seeds of 1 model (--decide), about 7 min of training"
        assert len(found.more_seeds) == 1

    def test_ten_seeds_may_lack_one(self):
        seeds = [1.0] * 4 + [0.0] + [1.0] * 5
        assert state(solves(MAMBA), made(accuracies=seeds)) == "established"
        seeds[0] = 0.0
        found = judged(solves(MAMBA), failed("mamba", seeds), SOLVER)
        assert found.state == "undecided"
        assert "they lie on both sides" in found.decides
        assert not found.more_seeds
        assert not found.more_rates

    def test_what_no_more_seeds_could_decide_is_not_given_more(self):
        found = judged(solves(MAMBA), made(accuracies=[1.0, 1.0, 1.0, 0.0, 0.0]), SOLVER)
        assert found.state == "undecided"
        assert not found.more_seeds

    def test_each_cell_has_a_test_of_its_own(self):
        """Each of four models misses another one of ten seeds: all of them solve the task."""
        cells = [
            failed(name, [0.2 if seed == missed else 0.95 for seed in range(10)])
            for missed, name in enumerate(("mamba", "hyena", "h3", "rwkv4"))
        ]
        every = {MIXER: ("mamba", "hyena", "h3", "rwkv4")}
        assert state(solves(every), *cells) == "established"
        first = [failed(cell.cell.mixer, [*cell.by_seed().values()][:5]) for cell in cells]
        assert state(solves(every), *first, SOLVER) == "undecided"

    def test_one_cell_on_the_other_side_contradicts_at_a_share_of_the_level(self):
        failing = failed("mamba", [0.2] * 5)
        assert state(solves(MAMBA), failing, SOLVER) == "contradicted"
        both = failing, made(accuracies=[0.95] * 5, d_model=32)
        found = judged(solves(MAMBA), *both, SOLVER)
        assert found.state == "undecided", "5 of 5 is not enough at 2.5 %"
        failing = failed("mamba", [0.2] * 10)
        assert state(solves(MAMBA), failing, *both[1:], SOLVER) == "contradicted"

    def test_the_look_that_decided_is_told(self):
        later = made(accuracies=[0.95] * 5 + [0.2] * 5)
        found = judged(solves(MAMBA), later)
        assert found.state == "established"
        assert "5 of the first 5 seeds" in found.evidence
        assert "10 of 10 seeds" not in found.evidence


class TestChoices:
    def test_the_best_is_chosen_by_validation(self):
        """Not by what is reported."""
        chosen = failed("mamba", [0.8] * 5, d_model=32, choice_merit=0.99)
        better = made(accuracies=[0.99] * 5, choice_merit=0.5)
        found = judged(solves(MAMBA, of="best"), chosen, better, SOLVER)
        assert found.state == "contradicted"
        assert "d_model 32" in found.evidence

    def test_rates_that_competed_on_the_reported_seeds_cost_level(self):
        four = made(accuracies=[0.95] * 5, choices=4)
        assert state(solves(MAMBA), four) == "undecided"
        assert state(solves(MAMBA), made(accuracies=[0.95] * 10, choices=4)) == "established"
        failing = failed("mamba", [0.2] * 5, choices=4)
        assert state(fails(MAMBA), failing, SOLVER) == "established", "the best of four failed"

    def test_so_do_the_cells_that_competed(self):
        cells = [made(accuracies=[0.95] * 10, d_model=width, choices=3) for width in (16, 32, 64)]
        assert state(solves(MAMBA, of="best"), *cells[:1]) == "established"
        found = judged(solves(MAMBA, of="best"), *cells, level=0.02)
        assert found.state == "established", "10 of 10 at 0.02 / 9"
        cells[0] = made(accuracies=[0.95] * 9 + [0.2], choices=3, choice_merit=1.0)
        assert state(solves(MAMBA, of="best"), *cells, level=0.01) == "undecided"

    def test_of_a_model_that_diverged_nothing_was_chosen(self):
        diverged = made(accuracies=[0.0] * 5, d_model=32, choice_merit=float("nan"))
        assert state(solves(MAMBA, of="best"), diverged, made()) == "established"


class TestFailure:
    """That something fails is a statement about rates and a budget."""

    def test_it_counts_where_a_sibling_solves_the_task(self):
        failing = failed("mamba", [0.2] * 5)
        assert state(fails(MAMBA), failing, SOLVER) == "established"
        assert state(solves(MAMBA), failing, SOLVER) == "contradicted"

    @pytest.mark.parametrize(
        "other",
        [
            made("attention", [0.6] * 5),
            made("attention", [0.99] * 5, steps=200),
            made("attention", [0.99] * 5, batch_size=128),
            made("attention", [0.99] * 5, task=TASK.replace(num_kv_pairs=2)),
        ],
    )
    def test_other_models_are_no_siblings(self, other):
        for part in (fails(MAMBA), solves(MAMBA)):
            found = judged(part, failed("mamba", [0.2] * 5), other)
            assert found.state == "undecided"
            assert found.decides.startswith("a longer budget")
            assert not found.more_seeds
            assert not found.more_rates

    def test_an_unfinished_sibling_is_waited_for(self):
        waiting = made("attention", [0.99] * 5, finished=False)
        with pytest.raises(NotMeasured, match=r"not finished: attention.*may solve"):
            judged(fails(MAMBA), failed("mamba", [0.2] * 5), waiting)

    def test_more_seeds_of_a_sibling_take_nothing_back(self):
        unlucky = made("attention", [0.99] * 5 + [0.2] * 5)
        assert state(fails(MAMBA), failed("mamba", [0.2] * 5), unlucky) == "established"

    def test_it_needs_all_rates_on_every_seed(self):
        """At the chosen rate alone it says nothing."""
        found = judged(fails(MAMBA), made(accuracies=[0.2] * 5), SOLVER)
        assert found.state == "undecided"
        assert found.decides.startswith("the rates 1e-4 to 1e-1 on 5 seeds of 1 model (--decide)")
        assert [(cell.cell.mixer, seeds) for cell, seeds in found.more_rates] == [("mamba", 5)]
        some = {rate: [0.2] * 5 for rate in ALL_RATES if rate != 1e-3}
        assert state(fails(MAMBA), made(accuracies=[0.2] * 5, tried=some), SOLVER) == "undecided"
        few = dict.fromkeys(ALL_RATES, [0.2] * 4)
        assert state(fails(MAMBA), made(accuracies=[0.2] * 5, tried=few), SOLVER) == "undecided"

    def test_a_seed_that_another_rate_solves_has_not_failed(self):
        """Each seed leaves the plateau at another rate."""
        lucky = {
            rate: [0.95 if i == seed else 0.2 for seed in range(5)]
            for i, rate in enumerate(ALL_RATES)
        }
        found = judged(fails(MAMBA), made(accuracies=[0.2] * 5, tried=lucky), SOLVER)
        assert found.state == "undecided"
        assert "at the best rate of each seed 0.950" in found.evidence
        assert not found.more_rates

    def test_rates_of_a_full_grid_count(self):
        whole = {rate: [0.2] * 5 for rate in ALL_RATES if rate != 1e-2}
        assert state(fails(MAMBA), made(accuracies=[0.2] * 5, rates=whole), SOLVER) == "established"

    def test_ten_seeds_need_the_rates_on_ten(self):
        """Where five are not enough."""
        failing = made(accuracies=[0.2] * 10)
        found = judged(solves(MAMBA), failing, SOLVER, converse=0.025)
        assert [seeds for _, seeds in found.more_rates] == [10]
        few = judged(solves(MAMBA), made(accuracies=[0.2] * 5), SOLVER, converse=0.025)
        assert not few.more_rates
        assert len(few.more_seeds) == 1

    def test_twice_the_budget_without_gain_is_enough(self):
        failing = failed("mamba", [0.2] * 5)
        part = fails({**MAMBA, "train.steps": 100})
        assert state(part, failing, made(accuracies=[0.25] * 5, steps=200)) == "established"
        for other in (
            made(accuracies=[0.25] * 4 + [0.35], steps=200),
            made(accuracies=[0.25], steps=200),
            made(accuracies=[0.25] * 5, steps=200, batch_size=128),
        ):
            assert state(part, failing, other) == "undecided"

    def test_about_one_pair_is_a_failure_to_recall_more(self):
        found = failed("mamba", [0.25] * 5)
        assert state(recalls_one_pair(MAMBA), found) == "undecided"
        assert state(recalls_one_pair(MAMBA), found, SOLVER) == "established"
        assert state(recalls_one_pair(MAMBA), made(accuracies=[0.7] * 10)) == "contradicted"

    def test_what_has_not_learnt_is_told_in_words(self):
        stuck = failed("mamba", [0.21] * 5, learnt=False)
        found = judged(fails(MAMBA), stuck, SOLVER)
        assert "not learnt in 100 steps at rates 1e-4 to 1e-1 [accuracy 0.210]" in found.evidence

    def test_of_compared_models_a_low_one_must_have_failed(self):
        part = Part(cells=MAMBA, measure=ACCURACY, at_least=Of(cells=HYENA, plus=0.1), why="")
        better = made(accuracies=[0.7] * 5)
        found = judged(part, better, made("hyena", [0.3] * 5), SOLVER)
        assert found.state == "undecided"
        assert [cell.cell.mixer for cell, _ in found.more_rates] == ["hyena"]
        assert state(part, better, failed("hyena", [0.3] * 5), SOLVER) == "established"

    def test_of_compared_rates_the_best_counts(self):
        """What is claimed of them no other rate can change."""
        bound = Of(cells=HYENA, plus=0.1, own_rates=True)
        part = Part(cells=MAMBA, measure=ACCURACY, at_least=bound, why="")
        better, rates = made(accuracies=[0.7] * 5), {1e-3: [0.5] * 5}
        assert state(part, better, made("hyena", [0.3] * 5, rates=rates)) == "established"
        rates = {1e-3: [0.65] * 5}
        assert state(part, better, made("hyena", [0.3] * 5, rates=rates)) == "undecided"
        assert state(part, better, made("hyena", [0.7] * 5, rates=rates)) == "contradicted"


def windowed(name: str, *by_seed: dict[float, float], d_model: int = 16):
    """Cells with an accuracy for each seed and rate; 1e-2 is the chosen one."""
    rates = {rate: [seed[rate] for seed in by_seed] for rate in by_seed[0]}
    return made(name, rates.pop(1e-2), rates=rates, d_model=d_model)


CLOSED = {1e-4: 0.1, 1e-3: 0.1, 1e-2: 1.0, 1e-1: 0.1}
WIDE = {1e-4: 0.1, 1e-3: 1.0, 1e-2: 1.0, 1e-1: 0.1}
OPEN = {1e-4: 1.0, 1e-3: 1.0, 1e-2: 1.0, 1e-1: 1.0}
FLAT = dict.fromkeys(CLOSED, 0.2)


class TestWindows:
    def test_narrower_by_a_fifth_on_every_seed(self):
        narrow, wide = windowed("mamba", *[CLOSED] * 5), windowed("attention", *[WIDE] * 5)
        assert state(is_narrower(MAMBA, than=ATTENTION), narrow, wide) == "established"
        assert state(is_narrower(ATTENTION, than=MAMBA), narrow, wide) == "contradicted"
        equal = windowed("attention", *[CLOSED] * 5)
        assert state(is_narrower(MAMBA, than=ATTENTION), narrow, equal) == "contradicted"
        assert state(is_as_wide(ATTENTION, as_of=MAMBA), narrow, wide) == "established"

    def test_narrower_by_less_than_the_margin_is_undecided(self):
        almost = {1e-4: 0.1, 1.2e-3: 1.0, 1e-2: 1.0, 1e-1: 0.1}
        rates = windowed("mamba", *[almost] * 5), windowed("attention", *[WIDE] * 5)
        found = judged(is_narrower(MAMBA, than=ATTENTION), *rates)
        assert found.state == "undecided"
        assert found.decides == "nothing: it is in the right direction, and smaller than the margin"

    def test_a_seed_without_a_window_counts_for_neither_side(self):
        narrow = windowed("mamba", *[CLOSED] * 8, *[FLAT] * 2)
        found = judged(
            is_narrower(MAMBA, than=ATTENTION), narrow, windowed("attention", *[WIDE] * 10)
        )
        assert found.state == "established", "the first five decide"
        narrow = windowed("mamba", FLAT, *[CLOSED] * 8, FLAT)
        found = judged(
            is_narrower(MAMBA, than=ATTENTION), narrow, windowed("attention", *[WIDE] * 10)
        )
        assert found.state == "undecided"
        assert "on 8 of 10 seeds" in found.evidence
        assert "both sides" not in found.decides
        assert "some have no number" in found.decides

    def test_each_seed_has_its_own_window(self):
        mixed = windowed("mamba", *[CLOSED] * 4, WIDE)
        wide = windowed("attention", *[WIDE] * 5)
        assert state(is_narrower(MAMBA, than=ATTENTION), mixed, wide) == "undecided"

    def test_an_open_window_is_a_lower_bound(self):
        opened, wide = windowed("mamba", *[OPEN] * 5), windowed("attention", *[WIDE] * 5)
        assert state(is_narrower(MAMBA, than=ATTENTION), opened, wide) == "contradicted"
        assert state(is_narrower(ATTENTION, than=MAMBA), opened, wide) == "established"
        both = windowed("mamba", *[OPEN] * 5), windowed("attention", *[OPEN] * 5)
        found = judged(is_narrower(MAMBA, than=ATTENTION), *both)
        assert found.state == "undecided"
        assert "no window is open" in found.decides
        assert "at least 3.000" in found.evidence

    def test_without_a_window_nothing_is_said(self):
        flat, wide = windowed("mamba", *[FLAT] * 5), windowed("attention", *[WIDE] * 5)
        for part in (is_narrower(MAMBA, than=ATTENTION), is_narrower(ATTENTION, than=MAMBA)):
            found = judged(part, flat, wide)
            assert found.state == "undecided"
            assert "a longer budget" in found.decides

    def test_all_places_count(self):
        places = [
            windowed("mamba", *[CLOSED] * 5),
            windowed("attention", *[WIDE] * 5),
            windowed("mamba", *[WIDE] * 5, d_model=32),
            windowed("attention", *[WIDE] * 5, d_model=32),
        ]
        part = is_narrower(MAMBA, than=ATTENTION)
        assert state(part, *places, converse=0.1) == "contradicted"
        places[2] = windowed("mamba", *[FLAT] * 5, d_model=32)
        assert state(part, *places) == "undecided", "nothing is known of the second"

    def test_what_it_is_compared_with_must_be_there(self):
        with pytest.raises(NotMeasured, match="no cell with attention"):
            judged(is_narrower(MAMBA, than=ATTENTION), windowed("mamba", *[CLOSED] * 5))


class TestDifferences:
    def test_seeds_are_paired(self):
        """Seeds differ by more than the models do."""
        seeds = [0.5, 0.55, 0.6, 0.7, 0.8]
        better = made(accuracies=[seed + 0.12 for seed in seeds])
        part = Part(cells=MAMBA, measure=ACCURACY, at_least=Of(cells=HYENA, plus=0.1), why="")
        assert state(part, better, made("hyena", seeds)) == "established"
        assert state(part, made("hyena", seeds), made(accuracies=seeds)) == "contradicted"

    def test_little_is_within_a_margin(self):
        part = Part(
            cells=MAMBA,
            measure=ACCURACY,
            at_least=Of(cells=HYENA, plus=-0.05),
            below=Of(cells=HYENA, plus=0.05),
            why="",
        )
        assert part.sentence.endswith(
            "accuracy within 0.05 of that of hyena on the same task at the same width"
        )
        for value, expected in ((0.93, "established"), (0.97, "contradicted")):
            found = judged(part, made(accuracies=[value] * 10), made("hyena", [0.9] * 10))
            assert found.state == expected
        few = judged(part, made(accuracies=[0.97] * 5), made("hyena", [0.9] * 5))
        assert few.state == "undecided", "either side is tested at half of the level"

    def test_equal_models_that_differ_from_seed_to_seed_are_not_contradicted(self):
        """One seed apart upwards, another downwards, of ten."""
        part = Part(
            cells=MAMBA,
            measure=ACCURACY,
            at_least=Of(cells=HYENA, plus=-0.05),
            below=Of(cells=HYENA, plus=0.05),
            why="",
        )
        up, down = [0.9] * 5 + [0.6] * 5, [0.6] * 5 + [0.9] * 5
        assert state(part, made(accuracies=up), made("hyena", down), level=0.5) == "undecided"

    def test_beside_several_their_mean_counts(self):
        part = Part(
            cells=MAMBA,
            measure=ACCURACY,
            below=Of(cells={MIXER: ("hyena", "attention")}),
            why="",
        )
        beside = made("hyena", [0.5] * 5), made("attention", [0.7] * 5)
        assert state(part, made(accuracies=[0.65] * 5), *beside) == "contradicted"
        assert state(part, made(accuracies=[0.55] * 5), *beside) == "established"


class TestGains:
    BY_WIDTH = Part(cells=MAMBA, measure=gain_along("d_model"), at_least=0.1, converse=0.0, why="")

    def widths(self, narrow: float, wide: float, **row):
        return made(accuracies=[narrow] * 5), made(accuracies=[wide] * 5, d_model=64, **row)

    def test_from_the_narrowest_to_the_widest(self):
        assert state(self.BY_WIDTH, *self.widths(0.5, 0.7)) == "established"
        assert state(self.BY_WIDTH, *self.widths(0.5, 0.5)) == "contradicted"
        small = judged(self.BY_WIDTH, *self.widths(0.5, 0.595))
        assert small.state == "undecided"
        assert "smaller than the margin" in small.decides

    def test_the_narrow_models_must_have_failed(self):
        low, high = self.widths(0.3, 0.7)
        found = judged(self.BY_WIDTH, low, high, SOLVER)
        assert found.state == "undecided"
        assert [cell.cell.d_model for cell, _ in found.more_rates] == [16]
        assert state(self.BY_WIDTH, failed("mamba", [0.3] * 5), high, SOLVER) == "established"

    def test_what_is_solved_already_is_left_out(self):
        solved = self.widths(0.95, 0.96)
        found = judged(self.BY_WIDTH, *solved)
        assert found.state == "undecided"
        assert "nothing to gain, left out" in found.evidence
        part = Part(
            cells={MIXER: ("mamba", "hyena")}, measure=gain_along("d_model"), at_least=0.1, why=""
        )
        other = [made("hyena", [a] * 5, d_model=d) for a, d in ((0.5, 16), (0.7, 64))]
        assert state(part, *solved, *other) == "established"

    def test_of_a_gain_that_some_seeds_do_not_need_little_is_known(self):
        mixed = made(accuracies=[0.5] * 3 + [0.95] * 2), made(accuracies=[0.99] * 5, d_model=64)
        found = judged(self.BY_WIDTH, *mixed)
        assert found.state == "undecided"
        assert "on 3 of 5 seeds" in found.evidence

    def test_a_widest_model_that_has_not_learnt_may_gain_yet(self):
        stuck = self.widths(0.3, 0.3, learnt=False)
        assert state(self.BY_WIDTH, *stuck) == "undecided"
        flat = [failed("mamba", [0.3] * 5, d_model=width) for width in (16, 64)]
        assert state(self.BY_WIDTH, *flat) == "undecided", "nothing solves the task"
        assert state(self.BY_WIDTH, *flat, SOLVER) == "contradicted"

    def test_of_every_mixer(self):
        part = Part(
            cells={MIXER: ("mamba", "hyena")}, measure=gain_along("d_model"), at_least=0.1, why=""
        )
        flat = [made("hyena", [0.5] * 5, d_model=width) for width in (16, 64)]
        assert state(part, *self.widths(0.5, 0.7), *flat, converse=0.1) == "contradicted"

    def test_one_axis_against_the_other(self):
        by_depth = gain_along("n_layers")
        part = Part(
            cells=MAMBA,
            measure=gain_along("d_model"),
            at_least=Of(measure=by_depth, times=2),
            why="",
        )
        cells = [
            made(accuracies=[0.5 + 0.3 * (d > 16) + 0.05 * (n > 1)] * 5, d_model=d, n_layers=n)
            for d in (16, 64)
            for n in (1, 2)
        ]
        assert state(part, *cells) == "established"
        by_width = Of(measure=gain_along("d_model"))
        other = Part(cells=MAMBA, measure=by_depth, at_least=by_width, why="")
        assert state(other, *cells) == "contradicted"


class TestNeededWidth:
    """From examples of 16 tokens to those of 48."""

    GROWS = Part(cells=MAMBA, measure=GROWTH_OF_WIDTH, at_least=1.5, converse=1.0, why="")
    LONG = TASK.replace(seq_len=48)

    def cells(self, make, solved: dict[int, tuple[int, ...]]):
        """Cells of widths 16 to 64, made so where the task is not solved."""
        return [
            made("mamba", [0.95] * 5, d_model=width, task=task)
            if width in solved[task.seq_len]
            else make("mamba", [0.3] * 5, d_model=width, task=task)
            for task in (TASK, self.LONG)
            for width in (16, 32, 64)
        ]

    def test_it_grows_where_the_narrow_ones_have_failed(self):
        solver = made("attention", [0.99] * 5, task=self.LONG)
        solved = {16: (32, 64), 48: (64,)}
        assert state(self.GROWS, *self.cells(failed, solved), SOLVER, solver) == "established"
        found = judged(self.GROWS, *self.cells(made, solved), SOLVER, solver)
        assert found.state == "undecided"
        asked = {(c.settings["task.seq_len"], c.cell.d_model) for c, _ in found.more_rates}
        assert asked == {(48, 16), (48, 32)}, "those that would show that it does not grow"

    def test_that_none_solves_the_longest_must_be_beyond_doubt(self):
        cells = self.cells(failed, {16: (16, 32, 64), 48: ()})
        found = judged(self.GROWS, *cells)
        assert found.state == "undecided"
        assert "a longer budget" in found.decides
        solver = made("attention", [0.99] * 5, task=self.LONG)
        found = judged(self.GROWS, *cells, solver)
        assert found.state == "established"
        assert "at least 4.000" in found.evidence

    def test_equal_widths_contradict_it(self):
        cells = self.cells(failed, {16: (32, 64), 48: (32, 64)})
        assert state(self.GROWS, *cells, SOLVER) == "contradicted"

    def test_a_mixer_that_never_solves_the_shortest_leaves_it_open(self):
        found = judged(self.GROWS, *self.cells(failed, {16: (), 48: ()}), SOLVER)
        assert found.state == "undecided"
        assert "no width solves the shortest examples" in found.evidence


def course(*losses: float) -> pd.DataFrame:
    """The same for each of five seeds."""
    return pd.DataFrame(
        {"seed": seed, "step": 10 * i, "valid_loss": loss, "chosen": True}
        for seed in range(1, 6)
        for i, loss in enumerate(losses)
    )


class TestLosses:
    SUDDEN = course(*[4.0] * 10, *[1.0] * 10)
    STEADY = course(*[4.0 - 0.15 * i for i in range(20)])
    TREMBLING = course(*[4.0] * 10, *[3.9] * 10)

    @pytest.mark.parametrize(
        ("history", "falls", "is_sudden"),
        [
            (SUDDEN, "established", "established"),
            (STEADY, "established", "contradicted"),
            (TREMBLING, "contradicted", "undecided"),
        ],
    )
    def test_drops(self, history, falls, is_sudden):
        cell = made(history=history)
        assert state(Part(cells=MAMBA, measure=FALL, at_least=1, why=""), cell) == falls
        assert state(Part(cells=MAMBA, measure=STEEPNESS, at_least=2, why=""), cell) == is_sudden

    def test_without_a_history_nothing_is_judged(self):
        with pytest.raises(NotMeasured, match="no history of mamba"):
            judged(Part(cells=MAMBA, measure=FALL, at_least=1, why=""), made())


class TestSelectors:
    def test_options_of_a_mixer_are_not_those_of_its_model(self):
        cell = made(mixer("attention", dropout=0.1))
        assert cell.fits({"mixer.dropout": 0.1, "model.dropout": 0.0})
        assert not cell.fits({"model.dropout": 0.1})
        other = made(mixer("input-dependent-conv", filler=None))
        assert other.fits({"mixer.filler": None, "task.filler": "zero"})
        assert not cell.fits({"mixer.filler": None}), "what is not there is not None"

    @pytest.mark.parametrize(
        ("where", "message"),
        [
            ({"dropout": 0.1}, "unknown space 'dropout'"),
            ({"mixr.name": "mamba"}, "unknown space 'mixr'"),
            ({"model.dmodel": 16}, "unknown key of model.*did you mean 'd_model'"),
            ({"mixer.name": "attention", "mixer.d_conv": 4}, "unknown option of attention"),
            ({"train.learning_rate": 1e-2}, "unknown key of train"),
        ],
    )
    def test_what_does_not_exist_is_refused(self, where, message):
        for use in (lambda: results(made()).select(where), lambda: solves(where)):
            with pytest.raises(UserError, match=message):
                use()

    def test_tuples_limits_and_extremes(self):
        cells = [made(n, d_model=d) for n in ("mamba", "hyena") for d in (8, 16, 32)]
        found = results(*cells, made(n_layers=2, d_model=64))

        def widths(**where):
            return [cell.cell.d_model for cell in found.select(where)]

        assert widths(**{MIXER: ("mamba", "rwkv4"), N_LAYERS: 1}) == [8, 16, 32]
        assert widths(**{MIXER: "hyena", RELATIVE_WIDTH: Limit("<", 1)}) == [8]
        assert widths(**{MIXER: "hyena", RELATIVE_WIDTH: Limit(">=", 1)}) == [16, 32]
        assert widths(**{N_LAYERS: 1, D_MODEL: LEAST}) == [8, 8]
        assert widths(**{D_MODEL: MOST}) == [64]
        assert widths(**{N_LAYERS: MOST, D_MODEL: LEAST}) == [64]


class TestClaims:
    def claim(self, *parts):
        return Claim("made", "Made up.", "table 1", parts).finding(results(made(), SOLVER))

    def test_every_part_must_hold(self):
        assert self.claim(solves(MAMBA)).verdict == "reproduced"
        both = self.claim(solves(MAMBA), solves(HYENA))
        assert both.verdict == "not run"
        assert "no cell with hyena" in both.evidence

    def test_a_converse_is_tested_at_a_share_of_the_level(self):
        assert self.claim(fails(MAMBA)).verdict == "contradicted"
        two = self.claim(fails(MAMBA), solves(MAMBA))
        assert two.verdict == "undecided", "5 of 5 is not enough at 2.5 %"
        assert [cell.cell.mixer for cell in two.more_seeds] == ["mamba"]
        assert "5 more seeds of 1 model" in two.decides

    def test_a_claim_has_something_to_test(self):
        with pytest.raises(ValueError, match="expected at least one"):
            Claim("made", "Made up.", "table 1", ())

    def test_how_it_will_be_judged_is_known_before(self):
        cells = [made(name, [0.5] * 5, choices=4) for name in ("mamba", "hyena")]
        rule = solves({MIXER: ("mamba", "hyena")}).rule(results(*cells), 0.05, 0.025)
        assert (rule.tests, rule.looks) == (2, (5, 10))
        assert rule.level == pytest.approx(0.05 / 4)
        assert rule.converse_level == pytest.approx(0.025 / 2)

    def test_a_converse_is_of_the_same_kind(self):
        for bad in (0.5, Of(cells=ATTENTION)):
            with pytest.raises(ValueError, match="converse"):
                Part(cells=MAMBA, measure=ACCURACY, below=Of(cells=HYENA), converse=bad, why="")
