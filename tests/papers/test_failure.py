"""When it counts that a model fails, on made-up cells."""

from dataclasses import replace

import pytest
from made_cells import (
    ALL_RATES,
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
from recollect.papers.cell_results import CellResults
from recollect.papers.claims import PartFinding
from recollect.papers.measured import NotMeasured
from recollect.papers.measures import ACCURACY
from recollect.papers.parts import Part
from recollect.papers.predicates import fails, recalls_one_pair, solves


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
        for part, decides, more in (
            (fails(MAMBA), "a search with twice the steps of 1 model (--decide)", ["mamba"]),
            (solves(MAMBA), "a longer budget", []),
        ):
            found = judged(part, failed("mamba", [0.2] * 5), other)
            assert found.state == "undecided"
            assert found.decides.startswith(decides)
            assert [cell.cell.mixer for cell in found.more_steps] == more
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
        assert "0.950 at the best rate of each seed" in found.evidence

    def test_the_best_rate_of_a_seed_that_is_above_a_half_is_named_too(self):
        """In a comparison such a seed needs no ceiling, but another rate may be better."""
        other = [0.9] + [0.35] * 4
        tried = dict.fromkeys(ALL_RATES, other)
        low = made(accuracies=[0.55] + [0.3] * 4, tried=tried)
        part = Part(cells=MAMBA, measure=ACCURACY, below=Of(cells=ATTENTION), why="")
        found = judged(part, low, made("attention", [0.99] * 5))
        assert "0.350 (0.350–0.900) at the best rate of each seed" in found.evidence
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
        def judged_with(longer: CellResults) -> PartFinding:
            failing = failed("mamba", [0.2] * 5)
            return judged(fails(MAMBA), replace(failing, longer=longer))

        assert judged_with(made(accuracies=[0.25] * 5, steps=200)).state == "established"
        for gains in ([0.25] * 4 + [0.35], [0.25]):
            found = judged_with(made(accuracies=gains, steps=200))
            assert found.state == "undecided"
            assert found.decides.startswith("a longer budget"), "still more steps may help"
            assert not found.more_steps
        failing = replace(failed("mamba", [0.2] * 5), longer=made(accuracies=[0.2] * 5, steps=200))
        found = judged(solves(MAMBA), failing)
        assert found.state == "undecided", "a plateau may end later, so it contradicts nothing"
        assert found.decides.startswith("a longer budget")
        unfinished = judged_with(made(accuracies=[0.25] * 5, steps=200, finished=False))
        assert unfinished.more_steps, "they go on"

    def test_about_one_pair_is_a_failure_to_recall_more(self):
        found = failed("mamba", [0.25] * 5)
        assert state(recalls_one_pair(MAMBA), found) == "undecided"
        assert state(recalls_one_pair(MAMBA), found, SOLVER) == "established"
        assert state(recalls_one_pair(MAMBA), made(accuracies=[0.7] * 10)) == "contradicted"

    def test_what_has_not_learnt_is_reported_in_words(self):
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

    def test_a_rate_that_diverges_is_no_better(self):
        cell = failed("mamba", [0.2] * 5)
        highest = cell.further["learning_rate"] == ALL_RATES[-1]
        cell.further.loc[highest, ["status", "test_accuracy"]] = ["diverged", float("nan")]
        assert state(fails(MAMBA), cell, SOLVER) == "established"
