"""Progress of a running study: a live display in a terminal or notebook, lines in a log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from recollect.reports.tables import accuracy, duration, plural, rate
from recollect.studies.events import (
    CellDone,
    Event,
    StudyStarted,
    TrialEnded,
    TrialRaised,
    TrialRecorded,
    TrialStarted,
)
from recollect.studies.learnt import not_learnt

if TYPE_CHECKING:
    from rich.console import Console

    from recollect.studies.cell import Cell
    from recollect.studies.replay import Request
    from recollect.training.result import Record

BAR_WIDTH = 24
BETWEEN_UPDATES = 0.25
"""Seconds between updates of running trials in a notebook."""
Trial = tuple[str, float, int]
"""A trial: label of the cell, learning rate and seed."""


class Display(Protocol):
    """A context manager that shows events."""

    def __enter__(self) -> Display: ...

    def __exit__(self, *error: object) -> None: ...

    def show(self, event: Event) -> None:
        """Show an event."""


def display(console: Console) -> Display:
    """The display that suits a console."""
    if console.is_jupyter:
        return NotebookDisplay()
    is_live = console.is_terminal and not console.is_dumb_terminal
    return LiveDisplay(console) if is_live else LogDisplay(console)


class Tally:
    """Counts the finished cells and trials of a study, from its events."""

    def __init__(self) -> None:
        self.cells = self.done = 0
        self._trials: set[Trial] = set()
        self._end: float | None = None

    def note(self, event: Event) -> None:
        """Count an event."""
        if isinstance(event, StudyStarted):
            self.cells, self.done = event.cells, event.done
        elif isinstance(event, CellDone):
            self.done = event.done
        elif isinstance(event, TrialRaised):
            if not event.again:
                self._trials.add(trial_of(event))
        elif isinstance(event, TrialEnded):
            self._trials.add(trial_of(event))
            if event.seconds_left is not None:
                self._end = time.monotonic() + event.seconds_left

    @property
    def counts(self) -> str:
        """The counts in words, without the remaining time."""
        return f"{self.done} of {self.cells} cells, {plural(len(self._trials), 'trial')}"

    def __str__(self) -> str:
        if self._end is None:
            return self.counts
        return f"{self.counts}, about {duration(max(0.0, self._end - time.monotonic()))} left"


class LogDisplay:
    """Prints a line for each trial that ends or fails, and for each finished cell."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tally = Tally()

    def __enter__(self) -> LogDisplay:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def show(self, event: Event) -> None:
        """Print a line for an event that ends something."""
        self._tally.note(event)
        if isinstance(event, StudyStarted):
            self._print(f"{self._tally}: {workers_text(event.workers)}")
        elif isinstance(event, TrialEnded):
            self._print(f"{ended_text(event)} ({self._tally})")
        elif isinstance(event, TrialRaised):
            self._print(f"{raised_text(event)} ({self._tally})")
        elif isinstance(event, CellDone):
            self._print(f"{done_text(event)} ({self._tally})")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


class Picture:
    """The live display: finished cells, remaining time, and running trials with their accuracy."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._running: dict[Trial, tuple[Cell, Request, Record | None]] = {}

    def note(self, event: Event) -> str | None:
        """Update the display; returns a line to print, if the event needs one."""
        self.tally.note(event)
        if isinstance(event, CellDone):
            return done_text(event)
        if isinstance(event, TrialEnded | TrialRaised):
            self._running.pop(trial_of(event), None)
        elif isinstance(event, TrialStarted | TrialRecorded):
            record = event.record if isinstance(event, TrialRecorded) else None
            self._running[trial_of(event)] = (event.cell, event.request, record)
        return raised_text(event) if isinstance(event, TrialRaised) else None

    def drawn(self) -> Table:
        """The present state of the display."""
        share = ProgressBar(
            total=max(self.tally.cells, 1), completed=self.tally.done, width=BAR_WIDTH
        )
        head, running = Table.grid(padding=(0, 2)), Table.grid(padding=(0, 2))
        head.add_row(share, str(self.tally))
        for cell, request, record in list(self._running.values()):
            running.add_row(*map(Text, running_texts(cell, request, record)))
        picture = Table.grid()
        picture.add_row(head)
        picture.add_row(running)
        return picture


class LiveDisplay:
    """Shows the display at the bottom of a terminal, and prints finished cells and failed trials
    above it."""

    def __init__(self, console: Console) -> None:
        self._picture = Picture()
        self._live = Live(
            console=console,
            get_renderable=self._picture.drawn,
            refresh_per_second=4,
            transient=True,
        )

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def show(self, event: Event) -> None:
        """Update the display, and print a line if the event needs one."""
        line = self._picture.note(event)
        if line is not None:
            self._live.console.print(Text(line))


class NotebookDisplay:
    """Shows the display as one output of a notebook cell, with the latest finished cell or failed
    trial below it; at the end one line replaces it, which stays in the notebook's file."""

    def __init__(self) -> None:
        self._picture, self._line = Picture(), ""
        self._began = self._shown = time.monotonic()
        self._output: Any = None

    def __enter__(self) -> NotebookDisplay:
        return self

    def __exit__(self, *error: object) -> None:
        if self._output is not None:
            taken = duration(time.monotonic() - self._began)
            self._output.update(Text(f"{self._picture.tally.counts} in {taken}"))

    def show(self, event: Event) -> None:
        """Update the display."""
        from IPython.display import display as in_notebook

        self._line = self._picture.note(event) or self._line
        seconds = time.monotonic() - self._shown
        if isinstance(event, TrialRecorded) and seconds < BETWEEN_UPDATES:
            return
        self._shown += seconds
        picture = self._picture.drawn()
        picture.add_row(Text(self._line, overflow="fold"))
        if self._output is None:
            self._output = in_notebook(picture, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._output.update(picture)


def trial_of(event: TrialStarted | TrialRecorded | TrialEnded | TrialRaised) -> Trial:
    """Identify the trial of an event within its study; a resumed trial is the same trial."""
    return event.cell.label, event.request.learning_rate, event.request.seed


def running_texts(cell: Cell, request: Request, record: Record | None) -> list[str]:
    """The columns of a running trial."""
    step = 0 if record is None else record.step
    seen = "" if record is None else f"accuracy {accuracy(record.valid.accuracy)}"
    trial = f"{rate(request.learning_rate)}, seed {request.seed}"
    return [cell.label, trial, f"step {step} of {request.until or cell.steps}", seen]


def ended_text(event: TrialEnded) -> str:
    """The end of a trial in one line."""
    seen = "" if event.accuracy is None else f", accuracy {accuracy(event.accuracy)}"
    request = event.request
    return (
        f"{event.cell.label} at {rate(request.learning_rate)}, seed {request.seed}:"
        f" {event.status} at step {event.step}{seen}"
    )


def raised_text(event: TrialRaised) -> str:
    """The failure of a trial in one line."""
    request, message = event.request, event.message.partition("\n")[0]
    again = "; it will be run once more" if event.again else ""
    return (
        f"{event.cell.label} at {rate(request.learning_rate)}, seed {request.seed}:"
        f" failed: {message}{again}"
    )


def done_text(event: CellDone) -> str:
    """The result of a cell in one line."""
    failed = f", {plural(event.failed, 'trial')} failed" if event.failed else ""
    if event.diverged:
        return f"{event.cell.label}: every rate diverged{failed}"
    if event.learning_rate is None or event.accuracy is None:
        return f"{event.cell.label}: no rate was trained on every seed{failed}"
    reached = f"validation accuracy {accuracy(event.accuracy)}"
    if event.learnt is False and event.rates is not None:
        seeds = event.learnt_searching, len(event.cell.choosing_seeds)
        outcome = not_learnt(event.cell.steps, *event.rates, *seeds)
        return f"{event.cell.label}: {outcome} ({reached}){failed}"
    return f"{event.cell.label}: tuned to {rate(event.learning_rate)}, {reached}{failed}"


def workers_text(workers: int | None) -> str:
    """Where trials run, in one line."""
    if workers is None:
        return "training on a cluster"
    if workers == 0:
        return "training in this process"
    return f"training in {workers} process{'es' if workers > 1 else ''}"
