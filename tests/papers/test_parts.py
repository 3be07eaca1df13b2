"""Parts of claims on made-up cells: what the seeds establish, and what they do not."""

from dataclasses import replace

import pytest
from made_cells import (
    ATTENTION,
    HYENA,
    MAMBA,
    SOLVER,
    failed,
    judged,
    made,
    results,
    state,
)

from recollect.errors import UserError
from recollect.mixers.catalogue import mixer
from recollect.papers.bounds import Of
from recollect.papers.claims import Claim
from recollect.papers.margins import SOLVED
from recollect.papers.measures import (
    ACCURACY,
)
from recollect.papers.parts import Part
from recollect.papers.predicates import fails, solves
from recollect.papers.selectors import D_MODEL, LEAST, MIXER, MOST, N_LAYERS, RELATIVE_WIDTH, Limit


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
        assert "there are seeds on both sides" in found.decides
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

    def test_the_look_that_decided_is_reported(self):
        later = made(accuracies=[0.95] * 5 + [0.2] * 5)
        found = judged(solves(MAMBA), later)
        assert found.state == "established"
        assert "5 of the first 5 seeds" in found.evidence
        assert "10 of 10 seeds" not in found.evidence

    def test_the_first_look_is_at_the_results_before_seeds_were_added(self):
        """More seeds may change what is known of the first ones, such as edges of windows."""
        right, wrong = [0.95] * 5, [0.2] * 5
        withdrawn = replace(made(accuracies=wrong + right), before=made(accuracies=right))
        found = judged(solves(MAMBA), withdrawn)
        assert found.state == "established"
        assert "5 of the first 5 seeds" in found.evidence
        late = replace(made(accuracies=right + wrong), before=made(accuracies=wrong))
        assert state(solves(MAMBA), late) == "undecided"
        every = replace(made(accuracies=right + right), before=made(accuracies=wrong))
        found = judged(solves(MAMBA), every)
        assert found.state == "established"
        assert "10 of 10 seeds" in found.evidence


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
