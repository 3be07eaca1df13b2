"""Send the events of a study to a tracker.

A separate thread does the work, so that the study never waits for a disk or a network. Any failure
there ends the tracking with one warning, and the study goes on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

from recollect.errors import summary
from recollect.studies.events import Event, TrialEnded, TrialRaised, TrialRecorded, TrialStarted
from recollect.tracking.run import TrackerRun, TrialRun, curves, final_values, trial_run
from recollect.training.result import Record

PATIENCE = 60.0
"""Seconds to wait at the end of a study for unsent values."""

OpenRun = Callable[[TrialRun], TrackerRun]
OfTrial = TrialStarted | TrialRecorded | TrialEnded | TrialRaised


class Tracker:
    """Takes the events of a study while its context is open.

    Args:
        name: the tracker's name in warnings.
        study: the name of the study.
        open_run: starts or resumes a run.
        patience: seconds to wait at the end for unsent values.
    """

    def __init__(
        self, name: str, study: str, open_run: OpenRun, *, patience: float = PATIENCE
    ) -> None:
        self._name = name
        self._patience = patience
        self._runs = _Runs(study, open_run)
        self._events: SimpleQueue[OfTrial | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=f"tracking by {name}", daemon=True)
        self._error: BaseException | None = None
        self._has_warned = False

    def __enter__(self) -> Tracker:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._events.put(None)
        self._thread.join(self._patience)
        if self._thread.is_alive():
            self._warn(TimeoutError(f"some values were not sent within {self._patience:g} seconds"))
        self._check()

    def show(self, event: Event) -> None:
        """Queue an event for the tracker."""
        self._check()
        if not self._has_warned and isinstance(event, OfTrial):
            self._events.put(event)

    def _work(self) -> None:
        try:
            while (event := self._events.get()) is not None:
                self._runs.note(event)
            self._runs.close()
        except BaseException as error:  # `_check` reports it in the study's thread
            self._error = error

    def _check(self) -> None:
        if self._error is not None:
            self._warn(self._error)

    def _warn(self, error: BaseException) -> None:
        if not self._has_warned:
            self._has_warned = True
            warn_of(self._name, error)


def warn_of(tracker: str, error: BaseException) -> None:
    """Warn that a tracker has failed."""
    warnings.warn(
        f"{tracker} failed and will record no more of this study, which goes on:"
        f" {type(error).__name__}: {summary(error)}",
        stacklevel=3,
    )


class _Runs:
    """The runs of a study, each with the last step that was logged."""

    def __init__(self, study: str, open_run: OpenRun) -> None:
        self._study = study
        self._open_run = open_run
        self._open: dict[str, TrackerRun] = {}
        self._drawn: dict[str, int] = {}

    def note(self, event: OfTrial) -> None:
        """Send the values of an event."""
        trial = trial_run(self._study, event.cell, event.request)
        if trial.key not in self._open:
            run = self._open[trial.key] = self._open_run(trial)
            self._drawn[trial.key] = max(run.last_step, self._drawn.get(trial.key, 0))
        run = self._open[trial.key]
        if isinstance(event, TrialRecorded):
            every = int(event.cell.template["train"]["eval_every"])
            if event.record.step - every <= self._drawn[trial.key]:
                self._draw(trial.key, event.record)
            # else earlier steps may be missing: `TrialEnded` brings the whole history
        elif isinstance(event, TrialEnded):
            for record in event.result.history:
                self._draw(trial.key, record)
            if event.result.status == "stopped":
                run.pause()
            else:
                run.end(event.result.status, event.result.step, final_values(event.result))
                del self._open[trial.key]
        elif isinstance(event, TrialRaised) and not event.again:
            run.end("failed", self._drawn[trial.key], {})
            del self._open[trial.key]

    def close(self) -> None:
        """Finish the runs of stopped trials."""
        for run in self._open.values():
            run.close()

    def _draw(self, key: str, record: Record) -> None:
        """Log each step once: a trial resumed from a checkpoint repeats some steps."""
        if record.step > self._drawn[key]:
            self._open[key].log(record.step, curves(record))
            self._drawn[key] = record.step
