"""Bundles: jobs that one worker runs one after the other or as one program."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from recollect.errors import FatalError, UserError
from recollect.execution.failure import WorkerLost
from recollect.execution.job import Job, Outcome
from recollect.execution.run_jobs import OnRecord, run_jobs
from recollect.training.result import Record, TrialResult


@dataclass(frozen=True)
class Report:
    """A worker's report on one job of its bundle: a record, a result or an error.

    `ends_worker`: the process can no longer use its GPU, so the next job needs another one.
    """

    key: str
    content: Record | TrialResult | Exception
    ends_worker: bool = False


@dataclass(frozen=True, eq=False)
class Bundle:
    """Jobs for one worker; those of one shape are run as one program.

    Attributes:
        jobs: the unfinished jobs, by key.
        device: device of the worker.
    """

    jobs: dict[str, Job]
    device: str

    @property
    def title(self) -> str:
        """Title of the first job, and the number of the others."""
        first = next(iter(self.jobs.values())).title
        return first if len(self.jobs) == 1 else f"{first} and {len(self.jobs) - 1} more"

    def run(self, send: Callable[[Report], None]) -> Report | None:
        """Run the jobs in this process. Passes records and results to `send`, except the last
        result, which is returned."""
        if self.device.startswith("cuda"):
            torch.cuda.set_device(self.device)
        going = dict(self.jobs)
        outcomes = run_jobs(
            list(going.values()),
            self.device,
            lambda job, record: send(Report(job.key, record)),
        )
        try:
            for job, outcome in outcomes:
                del going[job.key]
                last = Report(job.key, outcome)
                if going:
                    send(last)
        except FatalError:
            if going:
                raise
            return replace(last, ends_worker=True)
        return last


class Bundles:
    """Waiting jobs, and the results of running ones.

    Args:
        population: largest number of jobs of one shape that a worker runs as one program.
        on_record: called at each validation.
    """

    def __init__(self, population: int, on_record: OnRecord) -> None:
        self._population = population
        self._on_record = on_record
        self._waiting: list[Job] = []
        self._ended: list[Outcome] = []
        self._lost: set[str] = set()

    def room(self, idle: int) -> int:
        """Number of jobs that can be added: a population for each idle worker, minus the waiting
        ones."""
        return max(0, idle * self._population - len(self._waiting))

    def add(self, job: Job) -> None:
        """Add a waiting job.

        Raises:
            UserError: if its artifacts lie in the memory of this process.
        """
        if job.artifacts.startswith("memory:"):
            raise UserError(
                f"{job.artifacts} lies in the memory of this process, which worker processes cannot"
                " read: use a folder or another URL, or workers=0"
            )
        self._waiting.append(job)

    def take(self, devices: list[str]) -> list[Bundle]:
        """Distribute the waiting jobs evenly as bundles to idle workers, given by their devices."""
        if not devices or not self._waiting:
            return []
        share = min(self._population, math.ceil(len(self._waiting) / len(devices)))
        taken = self._programs(share)[: len(devices)]
        keys = {job.key for jobs in taken for job in jobs}
        self._waiting = [job for job in self._waiting if job.key not in keys]
        return [
            Bundle({job.key: job for job in jobs}, device)
            for jobs, device in zip(taken, devices, strict=False)
        ]

    def _programs(self, share: int) -> list[list[Job]]:
        """Waiting jobs in programs of at most `share` jobs; a job whose worker died is alone."""
        groups: dict[str, list[Job]] = {}
        for job in self._waiting:
            alone = share == 1 or job.key in self._lost
            groups.setdefault(job.key if alone else job.shape, []).append(job)
        return [
            group[i : i + share] for group in groups.values() for i in range(0, len(group), share)
        ]

    def receive(self, bundle: Bundle, report: Report) -> None:
        """Process a worker's report."""
        if isinstance(report.content, Record):
            self._on_record(bundle.jobs[report.key], report.content)
        else:
            self._ended.append((bundle.jobs.pop(report.key), report.content))

    def fail(self, bundle: Bundle, error: Exception) -> None:
        """Mark all unfinished jobs of a bundle as failed."""
        if isinstance(error, WorkerLost):
            self._lost |= bundle.jobs.keys()
        self._ended += [(job, error) for job in bundle.jobs.values()]
        bundle.jobs.clear()

    def ended(self) -> list[Outcome]:
        """Outcomes since the last call."""
        ended, self._ended = self._ended, []
        return ended
