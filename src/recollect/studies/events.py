"""What happens in a running study, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recollect.studies.cell import Cell
from recollect.studies.replay import Request
from recollect.training.result import Record, Status, TrialResult


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
        result: what it left, without the model.
        seconds_left: estimate for the whole study; None while there is nothing to go by.
    """

    cell: Cell
    request: Request
    result: TrialResult
    seconds_left: float | None

    @property
    def status(self) -> Status:
        """How it ended."""
        return self.result.status

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return self.result.step

    @property
    def accuracy(self) -> float | None:
        """Last validation accuracy; None if it diverged before the first."""
        return None if self.result.valid is None else self.result.valid.accuracy


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
        learnt: as in `standing.has_learnt`.
        learnt_searching: as in `standing.learnt_searching`.
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
