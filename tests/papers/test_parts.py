"""Parts of claims on made-up cells: what the seeds establish, and what they do not."""

import pandas as pd
import pytest
from made_cells import TASK, made, results

from recollect.errors import UserError
from recollect.mixers.catalogue import mixer
from recollect.papers.claims import Claim
from recollect.papers.bounds import Of
from recollect.papers.margins import SOLVED
from recollect.papers.measured import NotMeasured
from recollect.papers.measures import ACCURACY, FALL, STEEPNESS, gain_along
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

    def test_a_seed_on_the_line_is_on_neither_side(self):
        found = [made(accuracies=[value] * 4 + [SOLVED]) for value in (0.95, 0.3)]
        for cell in found:
            assert state(solves(MAMBA), cell, SOLVER) == "undecided"

    def test_fewer_than_five_establish_nothing(self):
        found = judged(solves(MAMBA), made(accuracies=[1.0] * 3))
        assert found.state == "undecided"
        assert found.decides == "7 more seeds of 1 model (--decide), about 7 min of training"
        assert len(found.more_seeds) == 1

    def test_ten_seeds_may_lack_one(self):
        seeds = [1.0] * 4 + [0.0] + [1.0] * 5
        assert state(solves(MAMBA), made(accuracies=seeds)) == "established"
        seeds[0] = 0.0
        found = judged(solves(MAMBA), made(accuracies=seeds), SOLVER)
        assert found.state == "undecided"
        assert "both sides of the margin" in found.decides
        assert not found.more_seeds

    def test_what_no_more_seeds_could_decide_is_not_given_more(self):
        found = judged(solves(MAMBA), made(accuracies=[1.0, 1.0, 1.0, 0.0, 0.0]), SOLVER)
        assert found.state == "undecided"
        assert not found.more_seeds

    def test_every_cell_counts_on_its_worst_seed(self):
        """Each cell misses another seed."""
        one, other = ([0.95] * 10 for _ in range(2))
        one[5] = other[6] = 0.2
        cells = made(accuracies=one), made(accuracies=other, d_model=32)
        for cell in cells:
            assert state(solves(MAMBA), cell) == "established"
        assert state(solves(MAMBA), *cells) == "established", "the first five decide"
        one[0] = other[1] = 0.2
        cells = made(accuracies=one), made(accuracies=other, d_model=32)
        assert state(solves(MAMBA), *cells) == "undecided"


class TestChoices:
    def test_the_best_is_chosen_by_validation(self):
        """Not by what is reported."""
        chosen = made(accuracies=[0.8] * 5, d_model=32, choice_merit=0.99)
        better = made(accuracies=[0.99] * 5, choice_merit=0.5)
        found = judged(solves(MAMBA, of="best"), chosen, better)
        assert found.state == "contradicted"
        assert "d_model 32" in found.evidence

    def test_rates_that_competed_on_the_reported_seeds_cost_level(self):
        four = made(accuracies=[0.95] * 5, choices=4)
        assert state(solves(MAMBA), four) == "undecided"
        assert state(solves(MAMBA), made(accuracies=[0.95] * 10, choices=4)) == "established"
        failing = made(accuracies=[0.2] * 5, choices=4)
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
        failing = made(accuracies=[0.2] * 5)
        assert state(fails(MAMBA), failing, SOLVER) == "established"
        assert state(solves(MAMBA), failing, SOLVER) == "contradicted"

    @pytest.mark.parametrize(
        "other",
        [
            made("attention", [0.6] * 5),
            made("attention", [0.99] * 5, steps=200),
            made("attention", [0.99] * 5, task=TASK.replace(num_kv_pairs=2)),
        ],
    )
    def test_other_models_are_no_siblings(self, other):
        for part in (fails(MAMBA), solves(MAMBA)):
            found = judged(part, made(accuracies=[0.2] * 5), other)
            assert found.state == "undecided"
            assert "a longer budget" in found.decides
            assert not found.more_seeds

    def test_an_unfinished_sibling_is_waited_for(self):
        waiting = made("attention", [0.99] * 5, finished=False)
        with pytest.raises(NotMeasured, match=r"not finished: attention.*may solve"):
            judged(fails(MAMBA), made(accuracies=[0.2] * 5), waiting)

    def test_it_needs_the_full_range_of_rates(self):
        for column, value in (("lowest_rate", 1e-3), ("highest_rate", 3e-2)):
            narrow = made(accuracies=[0.2] * 5, **{column: value})
            found = judged(fails(MAMBA), narrow, SOLVER)
            assert found.state == "undecided"
            assert found.decides.startswith("a wider range of rates, 1e-4 to 1e-1 (mamba, 1 layer")

    def test_twice_the_budget_without_gain_is_enough(self):
        failing, longer = made(accuracies=[0.2] * 5), made(accuracies=[0.25] * 5, steps=200)
        assert state(fails({**MAMBA, "train.steps": 100}), failing, longer) == "established"
        gaining = made(accuracies=[0.35] * 5, steps=200)
        assert state(fails({**MAMBA, "train.steps": 100}), failing, gaining) == "undecided"

    def test_about_one_pair_is_a_failure_to_recall_more(self):
        found = made(accuracies=[0.25] * 5)
        assert state(recalls_one_pair(MAMBA), found) == "undecided"
        assert state(recalls_one_pair(MAMBA), found, SOLVER) == "established"
        assert state(recalls_one_pair(MAMBA), made(accuracies=[0.7] * 5)) == "contradicted"

    def test_what_has_not_learnt_is_told_in_words(self):
        stuck = made(accuracies=[0.21] * 5, learnt=False)
        found = judged(fails(MAMBA), stuck, SOLVER)
        assert "not learnt in 100 steps at rates 1e-4 to 1e-1 [accuracy 0.210]" in found.evidence


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
        assert state(is_as_wide(ATTENTION, as_of=MAMBA), narrow, wide) == "established"

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

    def test_all_places_with_windows_count(self):
        places = [
            windowed("mamba", *[CLOSED] * 5),
            windowed("attention", *[WIDE] * 5),
            windowed("mamba", *[WIDE] * 5, d_model=32),
            windowed("attention", *[WIDE] * 5, d_model=32),
        ]
        assert state(is_narrower(MAMBA, than=ATTENTION), *places) == "contradicted"
        places[2] = windowed("mamba", *[FLAT] * 5, d_model=32)
        assert state(is_narrower(MAMBA, than=ATTENTION), *places) == "established"

    def test_what_it_is_compared_with_must_be_there(self):
        with pytest.raises(NotMeasured, match="no cell with attention"):
            judged(is_narrower(MAMBA, than=ATTENTION), windowed("mamba", *[CLOSED] * 5))


class TestDifferences:
    def test_seeds_are_paired(self):
        """Seeds differ by more than the models do."""
        seeds = [0.3, 0.5, 0.6, 0.7, 0.8]
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
        other = made("hyena", [0.9] * 5)
        for value, expected in ((0.93, "established"), (0.97, "contradicted")):
            assert state(part, made(accuracies=[value] * 5), other) == expected

    def test_beside_several_their_mean_counts(self):
        part = Part(
            cells=MAMBA,
            measure=ACCURACY,
            below=Of(cells={MIXER: ("hyena", "attention")}),
            why="",
        )
        beside = made("hyena", [0.4] * 5), made("attention", [0.8] * 5)
        assert state(part, made(accuracies=[0.65] * 5, choices=1), *beside) == "contradicted"
        assert state(part, made(accuracies=[0.55] * 5, learnt=True), *beside, SOLVER_2) == (
            "established"
        )


SOLVER_2 = made("attention", [0.99] * 5, d_model=32)


class TestGains:
    BY_WIDTH = Part(cells=MAMBA, measure=gain_along("d_model"), at_least=0.1, why="")

    def widths(self, narrow: float, wide: float, **row):
        return made(accuracies=[narrow] * 5), made(accuracies=[wide] * 5, d_model=64, **row)

    def test_from_the_narrowest_to_the_widest(self):
        assert state(self.BY_WIDTH, *self.widths(0.3, 0.5)) == "established"
        assert state(self.BY_WIDTH, *self.widths(0.3, 0.35)) == "contradicted"

    def test_what_is_solved_already_has_nothing_to_gain(self):
        found = judged(self.BY_WIDTH, *self.widths(0.95, 0.96))
        assert found.state == "undecided"
        assert "nothing to gain" in found.evidence

    def test_a_widest_model_that_has_not_learnt_may_gain_yet(self):
        stuck = self.widths(0.3, 0.3, learnt=False)
        assert state(self.BY_WIDTH, *stuck) == "undecided"
        assert state(self.BY_WIDTH, *stuck, SOLVER) == "contradicted"

    def test_of_every_mixer(self):
        part = Part(
            cells={MIXER: ("mamba", "hyena")}, measure=gain_along("d_model"), at_least=0.1, why=""
        )
        flat = [made("hyena", [0.3] * 5, d_model=width) for width in (16, 64)]
        assert state(part, *self.widths(0.3, 0.5), *flat) == "contradicted"

    def test_one_axis_against_the_other(self):
        by_depth = gain_along("n_layers")
        part = Part(
            cells=MAMBA, measure=gain_along("d_model"), at_least=Of(measure=by_depth, times=2), why=""
        )
        cells = [
            made(accuracies=[0.1 + 0.4 * (d > 16) + 0.1 * (n > 1)] * 5, d_model=d, n_layers=n)
            for d in (16, 64)
            for n in (1, 2)
        ]
        assert state(part, *cells) == "established"
        other = Part(cells=MAMBA, measure=by_depth, at_least=Of(measure=gain_along("d_model")), why="")
        assert state(other, *cells) == "contradicted"


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
