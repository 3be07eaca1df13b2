"""What happens in a running study, for `rc.run(study, on_event=...)` and all who show it.

    def listen(event: rc.events.Event) -> None:
        if isinstance(event, rc.events.TrialEnded):
            print(event.cell.label, event.request.learning_rate, event.accuracy)

Events come one after the other in the thread that runs the study, whichever processes train, and
the study waits while one is handled: what takes long belongs in a thread of the listener's own.
`StudyStarted` is the first. Of each trial come `TrialStarted`, a `TrialRecorded` for each
validation, and then `TrialEnded` or `TrialRaised`; those of several trials mix. A trial that a
search has stopped may start once more, and goes on from where it was. Where the study was killed it
goes on from a checkpoint: some of its records come again then, and those before do not, but
`TrialEnded.result.history` is always whole. `CellDone` comes after the last trial of its cell. Of
what an earlier run of the study has finished there are no events, but for its count in
`StudyStarted`; of a trial that another process has taken over no end is told.

A result is stored before its event comes.
"""

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
        workers: processes that train; 0: this one; None: as many as a cluster has room for.
    """

    cells: int
    done: int
    workers: int | None


@dataclass(frozen=True)
class TrialStarted:
    """A trial begins, or goes on.

    Attributes:
        cell: the cell that the trial belongs to.
        request: its learning rate and seed, and how far it is to be trained.
    """

    cell: Cell
    request: Request


@dataclass(frozen=True)
class TrialRecorded:
    """A running trial has been validated.

    Attributes:
        cell: the cell that the trial belongs to.
        request: its learning rate and seed, and how far it is to be trained.
        record: the losses and metrics of this validation.
    """

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
"""What a listener may be given."""
OnEvent = Callable[[Event], None]
"""A listener; what it returns is ignored."""
