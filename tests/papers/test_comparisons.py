"""What is measured of made-up cells beside others: windows, differences, gains, widths, losses."""

import pandas as pd
import pytest
from made_cells import (
    ATTENTION,
    HYENA,
    MAMBA,
    SOLVER,
    TASK,
    failed,
    judged,
    made,
    state,
)

from recollect.papers.bounds import Of
from recollect.papers.measured import NotMeasured
from recollect.papers.measures import (
    ACCURACY,
    FALL,
    GROWTH_OF_WIDTH,
    STEEPNESS,
    gain_along,
)
from recollect.papers.parts import Part, score
from recollect.papers.predicates import is_as_wide, is_narrower
from recollect.papers.selectors import MIXER


def windowed(name: str, *by_seed: dict[float, float], d_model: int = 16):
    """Cells with an accuracy for each seed and rate; 1e-2 is the chosen one."""
    rates = {rate: [seed[rate] for seed in by_seed] for rate in by_seed[0]}
    return made(name, rates.pop(1e-2), rates=rates, d_model=d_model)


def window(low: float, high: float) -> dict[float, float]:
    """Accuracies at 16 rates a decade: high from one rate to another."""
    rates = [10 ** (-5 + i / 16) for i in range(81)] + [1e-2]
    return {rate: 1.0 if low <= rate * 1.01 and rate <= high * 1.01 else 0.1 for rate in rates}


CLOSED, WIDE = window(1e-2, 1e-2), window(1e-3, 1e-2)
OPEN = window(1e-5, 1.0)
FLAT = dict.fromkeys(CLOSED, 0.2)


class TestWindows:
    def test_narrower_by_a_fifth_on_every_seed(self):
        narrow, wide = windowed("mamba", *[CLOSED] * 5), windowed("attention", *[WIDE] * 5)
        assert state(is_narrower(MAMBA, than=ATTENTION), narrow, wide) == "established"
        assert state(is_narrower(ATTENTION, than=MAMBA), narrow, wide) == "contradicted"
        assert state(is_as_wide(ATTENTION, as_of=MAMBA), narrow, wide) == "established"

    def test_edges_lie_anywhere_between_a_working_and_a_failing_rate(self):
        """A cliff just beyond a working rate, and a slope that crosses 0.9 near the next one: the
        windows may be equal, wherever interpolation puts their edges."""
        cliff = {1e-3: 0.1, 3.16e-3: 1.0, 1e-2: 1.0, 3.16e-2: 1.0, 1e-1: 0.1}
        slope = cliff | {1e-3: 0.89, 1e-1: 0.89}
        rates = windowed("mamba", *[cliff] * 5), windowed("attention", *[slope] * 5)
        found = judged(is_narrower(MAMBA, than=ATTENTION), *rates)
        assert found.state == "undecided"
        assert "decades 1.500 (1.000–2.000)" in found.evidence
        assert found.decides == (
            "more learning rates around and beyond the edges of each seed's window"
        )
        equal = windowed("attention", *[CLOSED] * 5)
        assert state(is_narrower(ATTENTION, than=ATTENTION), equal) == "undecided"

    def test_narrower_by_less_than_the_margin_is_undecided(self):
        wide, almost = window(1e-4, 1e-1), window(10**-3.75, 1e-1)
        rates = windowed("mamba", *[almost] * 5), windowed("attention", *[wide] * 5)
        found = judged(is_narrower(MAMBA, than=ATTENTION), *rates)
        assert found.state == "undecided"
        assert (
            found.decides
            == "nothing: the difference has the right sign, but is smaller than the margin"
        )

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
        assert "beyond the edges" in found.decides
        assert "at least 5.000" in found.evidence

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
            windowed("attention", *[CLOSED] * 5, d_model=32),
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


def test_the_window_of_a_figure_lies_around_the_chosen_rate():
    strings = {1e-3: 0.5, 3.16e-3: 0.95, 3.16e-2: 0.8, 1e-1: 0.5, 0.316: 0.99, 1.0: 0.2}
    rates = {rate: [accuracy] * 5 for rate, accuracy in strings.items()}
    cell = made(accuracies=[0.95] * 5, rates=rates, learning_rate=1e-2)
    found = cell.window("test_example_accuracy")
    assert found.low_edge < 1e-2 < found.high_edge < 3.16e-2
    assert made(learning_rate=None).window() is None


def test_a_model_that_diverged_at_every_rate_is_not_the_best():
    diverged, other = made(choice_merit=None), made(choice_merit=0.2)
    assert max([(diverged,), (other,)], key=score) == (other,)


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

    def test_a_model_is_left_out_if_its_median_seed_has_nothing_to_gain(self):
        part = Part(
            cells={MIXER: ("mamba", "hyena")}, measure=gain_along("d_model"), at_least=0.1, why=""
        )
        other = [made("hyena", [a] * 5, d_model=d) for a, d in ((0.5, 16), (0.7, 64))]
        mostly = made(accuracies=[0.95] * 4 + [0.6]), made(accuracies=[0.99] * 5, d_model=64)
        found = judged(part, *mostly, *other)
        assert found.state == "established"
        assert "left out" in found.evidence

    def test_seeds_that_were_added_leave_no_model_out(self):
        """Added for another part, they would withdraw a verdict of the first five."""
        narrow = made(accuracies=[0.85] * 5 + [0.96] * 5)
        wide = made(accuracies=[0.97] * 10, d_model=64)
        found = judged(self.BY_WIDTH, narrow, wide)
        assert found.state == "established", found.evidence
        assert "5 of the first 5 seeds" in found.evidence

    def test_twice_a_negative_gain_is_not_less_than_the_gain(self):
        of = Of(cells=HYENA, times=2.0)
        part = Part(cells=MAMBA, measure=gain_along("d_model"), at_least=of, why="")
        assert (of.value(-0.2), of.value(0.2)) == (-0.2, 0.4)
        assert part.sides[0].place((-0.25, -0.25), (of.value(-0.2),) * 2, (-0.2,) * 2) == "wrong"

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
        assert "twice the steps" in found.decides, "they could show that it needs more width"
        solver = made("attention", [0.99] * 5, task=self.LONG)
        found = judged(self.GROWS, *cells, solver)
        assert found.state == "established"
        assert "at least 8.000" in found.evidence, "128 is the next width, 16 the needed one"

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
