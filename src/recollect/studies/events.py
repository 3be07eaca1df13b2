"""Events of a running study, for `rc.run(study, on_event=...)`.

    def listen(event: rc.events.Event) -> None:
        if isinstance(event, rc.events.TrialEnded):
            print(event.cell.label, event.request.learning_rate, event.accuracy)

Events arrive one after the other in the thread that runs the study. The study waits while an event
is handled, so slow listeners should use a thread of their own.

- `StudyStarted` is the first event.
- Each trial gives `TrialStarted`, a `TrialRecorded` for each validation, and then `TrialEnded` or
  `TrialRaised`. Events of several trials are interleaved.
- A trial that a search has stopped may start again and then continues. If the study was killed, the
  trial resumes from a checkpoint and some records may come twice; `TrialEnded.result.history` is
  always complete.
- `CellDone` comes after the last trial of its cell.
- Results of earlier runs give no events; `StudyStarted` has their number. A trial that another
  process has taken over gives no end event.

A result is stored before its event is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recollect.studies.cell import Cell
from recollect.studies.replay import Request
from recollect.training.result import Record, Status, TrialResult


@dataclass(frozen=True)
class StudyStarted:
    """The study begins or resumes.

    Attributes:
        cells: number of cells.
        done: number of cells that are already finished.
        workers: number of training processes; 0: this process; None: as many as fit on the cluster.
    """

    cells: int
    done: int
    workers: int | None


@dataclass(frozen=True)
class TrialStarted:
    """A trial begins or resumes.

    Attributes:
        cell: the cell of the trial.
        request: learning rate, seed, and the step to train to.
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
    """A trial has ended or was stopped at the requested step.

    Attributes:
        cell: its cell.
        request: its rate, seed and step.
        result: its result without the model.
        seconds_left: estimated time left for the whole study; None if unknown.
    """

    cell: Cell
    request: Request
    result: TrialResult
    seconds_left: float | None

    @property
    def status(self) -> Status:
        """Status of the result."""
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
    """A trial has failed or lost its worker process.

    Attributes:
        cell: its cell.
        request: its rate, seed and step.
        message: the reason.
        again: whether it will be tried again.
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
        learning_rate: the chosen rate; None if every rate diverged, or if every rate has failed
            trials.
        accuracy: mean validation accuracy on the study's seeds.
        learnt: as in `standing.has_learnt`.
        learnt_searching: as in `standing.learnt_searching`.
        rates: the lowest and the highest rate tried; None if every rate has failed.
        done: number of finished cells.
        cells: number of cells.
        failed: number of failed trials of the cell.
        diverged: whether all rates that were trained on every seed diverged.
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
