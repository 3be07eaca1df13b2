"""The loop that runs a study: plan, submit jobs, store results, until no cell needs more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from recollect.errors import FatalError, UserError
from recollect.execution.artifacts import KEPT, fetch
from recollect.execution.executor import Executor
from recollect.execution.failure import Failure, NodeLost, WorkerLost
from recollect.execution.job import Job, Keep
from recollect.studies.board import Asked, Board
from recollect.studies.cell import Cell
from recollect.studies.estimate import Estimate
from recollect.studies.events import (
    CellDone,
    OnEvent,
    StudyStarted,
    TrialEnded,
    TrialRaised,
    TrialRecorded,
    TrialStarted,
)
from recollect.studies.leases import Leases
from recollect.studies.standing import cell_done
from recollect.training.result import Record, TrialResult

POLL_SECONDS = 0.5
"""Seconds between checks of the store for results of other processes."""


class StudyRun:
    """A run of a study: requested trials become jobs, and their results are stored.

    Attributes:
        board: the plans of the cells.
    """

    def __init__(
        self,
        leases: Leases,
        cells: tuple[Cell, ...],
        keep: frozenset[Keep],
        on_event: OnEvent,
        narrow: Mapping[str, Cell],
        devices: str,
    ) -> None:
        store = leases.store
        self._store, self._leases, self._artifacts = store, leases, leases.artifacts
        self._devices = devices
        self._keep, self._tell = keep, on_event
        self._observe = "observations" in keep
        self._estimate = Estimate()
        self._lost: set[str] = set()
        self._version, self._stands = store.file.version(), store.stands()
        self.board = Board(
            cells,
            narrow,
            lambda cell: store.trials(cell, observed=self._observe),
            self._estimate.update,
        )

    def begin(self, workers: int | None) -> None:
        """Plan every cell and send `StudyStarted`."""
        self._tidy(self.board.replan())
        self._tell(StudyStarted(cells=len(self.board), done=self.board.done, workers=workers))
        self._estimate.begin()

    def go(self, executor: Executor) -> None:
        """Run trials until no cell needs more.

        Raises:
            FatalError: for an error that ends the run; results that arrived with it are stored.
        """
        while self.board.done < len(self.board):
            self._submit(executor)
            errors: list[UserError] = []
            for job, outcome in executor.wait(POLL_SECONDS):
                if isinstance(outcome, FatalError):
                    errors.append(outcome)
                elif isinstance(outcome, Exception):
                    self._failed(job, outcome)
                else:
                    try:
                        self._ended(job, outcome)
                    except UserError as error:  # the other results are stored first
                        errors.append(error)
            if errors:
                raise errors[0]
            self._notice_others()
            self._tell_done(self._replan())

    def recorded(self, job: Job, record: Record) -> None:
        """A running trial has been validated."""
        asked = self.board.running[job.key]
        self._tell(TrialRecorded(asked.cell, asked.request, record))

    def _submit(self, executor: Executor) -> None:
        """Fill the executor with requested trials."""
        if not executor.free:
            return
        taken = self._leases.elsewhere()
        in_turn, first = getattr(executor, "in_turn", False), None
        for asked in self.board.asked():
            if in_turn and first not in (None, asked.cell.label):
                return
            if asked.key in taken or not self._claim(asked):
                continue
            first = asked.cell.label
            self.board.start(asked)
            self._tell(TrialStarted(asked.cell, asked.request))
            executor.submit(self._job(asked))
            if not executor.free:
                return

    def _claim(self, asked: Asked) -> bool:
        return self._leases.claim(asked.cell, asked.request, observe=self._observe)

    def _job(self, asked: Asked) -> Job:
        return Job.of(
            asked.key,
            asked.title,
            asked.cell.trial(asked.request.learning_rate, asked.request.seed),
            until=asked.request.until,
            keep=self._keep,
            artifacts=self._artifacts.address,
        )

    def _failed(self, job: Job, error: Exception) -> None:
        """Store a failure. A trial whose worker died is run once more, because the machine or other
        processes may be the cause. A trial whose machine was lost is always run again."""
        asked = self.board.end(job.key)
        if not self._leases.holds(job.key):
            return
        failure, again = Failure.of(error), isinstance(error, NodeLost)
        if isinstance(error, WorkerLost) and not again:
            again = job.key not in self._lost
            self._lost.add(job.key)
        if not again:
            self._store.save_failure(
                asked.cell,
                asked.request.learning_rate,
                asked.request.seed,
                failure,
                self._devices,
            )
        self._leases.give_up(job.key)
        self._tell(TrialRaised(asked.cell, asked.request, failure.message, again))

    def _ended(self, job: Job, result: TrialResult) -> None:
        """Store a result and its files."""
        asked = self.board.end(job.key)
        if not self._leases.holds(job.key):
            return
        if self._artifacts.address != self._store.artifacts.address:
            for name in KEPT:
                fetch(job.key, name, self._artifacts, self._store.artifacts)
        self._store.save(asked.cell, asked.request.learning_rate, asked.request.seed, result)
        self._leases.give_up(job.key)
        if result.status != "stopped":
            self._artifacts.sweep(job.key)
        done = self._replan()  # before the time left is estimated
        self._tell(
            TrialEnded(
                asked.cell,
                asked.request,
                result=replace(result, model=None),
                seconds_left=self._estimate.seconds_left(),
            )
        )
        self._tell_done(done)

    def _replan(self) -> list[Cell]:
        done = self.board.replan()
        self._tidy(done)
        return done

    def _tidy(self, cells: list[Cell]) -> None:
        """Remove the checkpoints of stopped trials of finished cells."""
        taken = self._leases.elsewhere() | self.board.running.keys() if cells else set()
        for cell in cells:
            for trial in self.board.plans[cell.label].used:
                key = cell.key(*trial)
                if key not in taken:
                    self._artifacts.sweep(key)

    def _notice_others(self) -> None:
        """Mark cells with new results of other processes as outdated."""
        version = self._store.file.version()
        if version == self._version:
            return
        before, self._stands = self._stands, self._store.stands()
        self._version = version
        self.board.outdate(
            each
            for each in before.keys() | self._stands.keys()
            if before.get(each) != self._stands.get(each)
        )

    def _tell_done(self, cells: list[Cell]) -> None:
        for cell in cells:
            self._tell(self._choice(cell))

    def _choice(self, cell: Cell) -> CellDone:
        return cell_done(
            cell,
            self.board.plans[cell.label],
            self._store.trials(cell),
            done=self.board.done,
            cells=len(self.board),
        )
