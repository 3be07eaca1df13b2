"""What happens in a running study, for whoever shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean

from recollect.analysis.learning_rate import on_plateau
from recollect.studies.cell import Cell
from recollect.studies.replay import Plan, Request, Trial, Trials
from recollect.studies.stored_trial import StoredTrial
from recollect.training.result import Record, Status


@dataclass(frozen=True)
class StudyStarted:
    """The study begins, or goes on.

    Attributes:
        cells: how many it has.
        done: how many are finished already.
        workers: processes that train; 0: this one.
    """

    cells: int
    done: int
    workers: int


@dataclass(frozen=True)
class TrialStarted:
    """A trial begins, or goes on."""

    cell: Cell
    request: Request


@dataclass(frozen=True)
class TrialRecorded:
    """A running trial has been validated."""

    cell: Cell
    request: Request
    record: Record


@dataclass(frozen=True)
class TrialEnded:
    """A trial has ended, or stopped where it was told to.

    Attributes:
        cell: what it belongs to.
        request: what was asked.
        status: how it ended.
        step: optimiser steps done.
        accuracy: last validation accuracy; None if it diverged before the first.
        seconds_left: estimate for the whole study; None while there is nothing to go by.
    """

    cell: Cell
    request: Request
    status: Status
    step: int
    accuracy: float | None
    seconds_left: float | None


@dataclass(frozen=True)
class TrialRaised:
    """A trial has failed, or lost its worker process.

    Attributes:
        cell: what it belongs to.
        request: what was asked.
        message: why.
        again: whether it is tried once more.
    """

    cell: Cell
    request: Request
    message: str
    again: bool


@dataclass(frozen=True)
class CellDone:
    """A cell needs no more trials.

    Attributes:
        cell: the cell.
        learning_rate: the chosen one; None if no rate was trained on every seed, as some trials of
            each have failed, or every rate diverged.
        accuracy: its mean validation accuracy on the study's seeds.
        learnt: as in `has_learnt`.
        learnt_searching: as in `learnt_searching`.
        rates: the lowest and the highest rate tried; None where every rate has failed.
        done: how many cells are finished.
        cells: how many there are.
        failed: how many of its trials have failed.
        diverged: whether every rate that was trained on every seed diverged.
    """

    cell: Cell
    learning_rate: float | None
    accuracy: float | None
    learnt: bool | None
    learnt_searching: int
    rates: tuple[float, float] | None
    done: int
    cells: int
    failed: int = 0
    diverged: bool = False


Event = StudyStarted | TrialStarted | TrialRecorded | TrialEnded | TrialRaised | CellDone
OnEvent = Callable[[Event], None]


class Estimate:
    """How long a study will still take, from the share of its work that is done.

    The work of a cell is the steps that its search is expected to need, weighted by the size of its
    model and batch: rough, but of the right order before the first cell is done.
    """

    def __init__(self) -> None:
        self._shares: dict[str, tuple[float, float]] = {}
        self._begin: tuple[float, float] | None = None

    def update(self, cell: Cell, plan: Plan, trials: Trials) -> None:
        """Note how far a cell has come."""
        done = steps_used(plan, trials)
        asked = len(plan.requests) * cell.steps
        expected = cell.search.expected_trials(len(cell.seeds)) * cell.steps
        share = 1.0 if plan.done else done / max(expected, done + asked)
        train = cell.template["train"]
        weight = expected * train["batch_size"] * cell.d_model * cell.n_layers
        self._shares[cell.label] = (weight, share)

    def begin(self) -> None:
        """Time runs from here; what is done already took none of it."""
        self._begin = (time.monotonic(), self._done())

    def seconds_left(self) -> float | None:
        """None while there is nothing to go by."""
        assert self._begin is not None
        since, before = self._begin
        done = self._done()
        if done <= before:
            return None
        return (time.monotonic() - since) * (1 - done) / (done - before)

    def _done(self) -> float:
        total = sum(weight for weight, _ in self._shares.values())
        return sum(weight * share for weight, share in self._shares.values()) / total


def cell_done(
    cell: Cell, plan: Plan, trials: Mapping[Trial, StoredTrial], *, done: int, cells: int
) -> CellDone:
    """What is told of a cell that needs no more trials, the last of `done` among all `cells`."""
    diverged, rate, accuracy = has_diverged(plan, trials), None, None
    if plan.chosen is not None and not diverged:
        rate = plan.chosen.learning_rate
        accuracy = fmean(trials[rate, seed].valid_accuracy for seed in cell.seeds)
    return CellDone(
        cell,
        learning_rate=rate,
        accuracy=accuracy,
        learnt=has_learnt(plan, cell.chance),
        learnt_searching=learnt_searching(cell, plan, trials),
        rates=plan.rates,
        done=done,
        cells=cells,
        failed=len(plan.failed),
        diverged=diverged,
    )


def has_learnt(plan: Plan, chance: float) -> bool | None:
    """Whether a trial that is reported, one of the study's seeds at the chosen rate, has left the
    initial plateau by its end; None while that is not known."""
    if plan.chosen is None:
        return None
    rate = plan.chosen.learning_rate
    ends = [end for o in plan.outcomes if o.learning_rate == rate for end in o.accuracies]
    if any(not on_plateau(end, chance) for end in ends):
        return True
    return False if plan.done else None


def learnt_searching(cell: Cell, plan: Plan, trials: Trials) -> int:
    """On how many of the seeds that choose the rate a trial at any rate has left the plateau by its
    end."""
    return len(
        {
            seed
            for (rate, seed), until in plan.used.items()
            if seed in cell.choosing_seeds and until is None and (rate, seed) not in plan.failed
            if (rate, seed) in trials and trials[rate, seed].reached(None)
            if not on_plateau(trials[rate, seed].merit(None), cell.chance)
        }
    )


def has_diverged(plan: Plan, trials: Trials) -> bool:
    """Whether some rates were trained on every seed, and all of their trials diverged: then there
    is nothing to choose from."""
    rates = {outcome.learning_rate for outcome in plan.outcomes if outcome.finished}
    ended = [
        trials[trial].until(until).status
        for trial, until in plan.used.items()
        if trial in trials and trial[0] in rates
    ]
    return {*ended} == {"diverged"}


def steps_used(plan: Plan, trials: Trials) -> int:
    """Optimiser steps that a search has looked at."""
    return sum(
        trials[trial].step if until is None else min(until, trials[trial].step)
        for trial, until in plan.used.items()
        if trial in trials
    )
