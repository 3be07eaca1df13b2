"""Status of a cell, from its plan and stored trials."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from recollect.analysis.learning_rate import on_plateau
from recollect.studies.cell import Cell
from recollect.studies.events import CellDone
from recollect.studies.replay import Plan, Trial, Trials
from recollect.studies.stored_trial import StoredTrial


def cell_done(
    cell: Cell, plan: Plan, trials: Mapping[Trial, StoredTrial], *, done: int, cells: int
) -> CellDone:
    """Event for a cell that needs no more trials, when `done` of all `cells` are finished."""
    diverged, rate, accuracy = has_diverged(plan, trials), None, None
    if plan.chosen is not None and not diverged:
        rate = plan.chosen.learning_rate
        accuracy = fmean(trials[rate, seed].valid_accuracy for seed in cell.seeds)
    return CellDone(
        cell,
        learning_rate=rate,
        accuracy=accuracy,
        learnt=has_learnt(plan, cell.floor),
        learnt_searching=learnt_searching(cell, plan, trials),
        rates=plan.rates,
        done=done,
        cells=cells,
        failed=len(plan.failed),
        diverged=diverged,
    )


def has_learnt(plan: Plan, chance: float) -> bool | None:
    """Whether a reported trial left the initial plateau by its end; None if unknown yet.

    Reported trials are those at the chosen rate on the study's seeds.
    """
    if plan.chosen is None:
        return None
    rate = plan.chosen.learning_rate
    ends = [end for o in plan.outcomes if o.learning_rate == rate for end in o.accuracies]
    if any(not on_plateau(end, chance) for end in ends):
        return True
    return False if plan.done else None


def learnt_searching(cell: Cell, plan: Plan, trials: Trials) -> int:
    """Number of search seeds on which a trial at any rate left the plateau by its end."""
    return len(
        {
            seed
            for (rate, seed), until in plan.used.items()
            if seed in cell.choosing_seeds and until is None and (rate, seed) not in plan.failed
            if (rate, seed) in trials and trials[rate, seed].reached(None)
            if not on_plateau(trials[rate, seed].score(None), cell.floor)
        }
    )


def has_diverged(plan: Plan, trials: Trials) -> bool:
    """Whether all trials of all rates that were trained on every seed diverged."""
    rates = {outcome.learning_rate for outcome in plan.outcomes if outcome.finished}
    ended = [
        trials[trial].until(until).status
        for trial, until in plan.used.items()
        if trial in trials and trial[0] in rates
    ]
    return {*ended} == {"diverged"}


def steps_used(plan: Plan, trials: Trials) -> int:
    """Optimiser steps of the trials that a search used."""
    return sum(
        trials[trial].step if until is None else min(until, trials[trial].step)
        for trial, until in plan.used.items()
        if trial in trials
    )
