"""Jobs that a worker runs one after the other or as one program, wherever the worker is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from recollect.errors import UserError
from recollect.execution.failure import WorkerLost
from recollect.execution.job import Job, Outcome
from recollect.execution.run_jobs import OnRecord, run_jobs
from recollect.training.result import Record, TrialResult


@dataclass(frozen=True)
class Told:
    """What a worker says of one job of its bundle."""

    key: str
    told: Record | TrialResult | Exception


@dataclass(frozen=True, eq=False)
class Bundle:
    """Jobs that a worker runs, those of one shape as one program.

    Attributes:
        jobs: those that have not ended, by key.
        device: of the worker.
    """

    jobs: dict[str, Job]
    device: str

    @property
    def title(self) -> str:
        """The first, and how many more."""
        first = next(iter(self.jobs.values())).title
        return first if len(self.jobs) == 1 else f"{first} and {len(self.jobs) - 1} more"

    def run(self, tell: Callable[[Told], None]) -> Told | None:
        """Run them in this process, and tell of records and outcomes; returns the last outcome."""
        if self.device.startswith("cuda"):
            torch.cuda.set_device(self.device)
        going = dict(self.jobs)
        outcomes = run_jobs(
            list(going.values()),
            self.device,
            lambda job, record: tell(Told(job.key, record)),
        )
        for job, outcome in outcomes:
            del going[job.key]
            last = Told(job.key, outcome)
            if going:
                tell(last)
        return last


class Bundles:
    """Jobs that wait for a worker, and what comes of those that have one.

    Args:
        population: how many jobs of one shape a worker runs as one program at most.
        on_record: called with each validation.
    """

    def __init__(self, population: int, on_record: OnRecord) -> None:
        self._population = population
        self._on_record = on_record
        self._waiting: list[Job] = []
        self._ended: list[Outcome] = []
        self._lost: set[str] = set()

    def room(self, idle: int) -> int:
        """How many more jobs there is room for: a population for each idle worker."""
        return max(0, idle * self._population - len(self._waiting))

    def add(self, job: Job) -> None:
        """A job waits.

        Raises:
            UserError: where its artifacts lie in the memory of this process alone.
        """
        if job.artifacts.startswith("memory:"):
            raise UserError(
                f"{job.artifacts} lies in the memory of one process, and workers are others: take a"
                " folder or another URL, or workers=0"
            )
        self._waiting.append(job)

    def take(self, devices: list[str]) -> list[Bundle]:
        """What idle workers, each with a device, are to run: what waits, in equal shares."""
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
        """What waits, in programs of at most so many; one whose worker died is on its own."""
        groups: dict[str, list[Job]] = {}
        for job in self._waiting:
            alone = share == 1 or job.key in self._lost
            groups.setdefault(job.key if alone else job.shape, []).append(job)
        return [
            group[i : i + share] for group in groups.values() for i in range(0, len(group), share)
        ]

    def hear(self, bundle: Bundle, told: Told) -> None:
        """What a worker says: a record, or the outcome of a job."""
        if isinstance(told.told, Record):
            self._on_record(bundle.jobs[told.key], told.told)
        else:
            self._ended.append((bundle.jobs.pop(told.key), told.told))

    def fail(self, bundle: Bundle, error: Exception) -> None:
        """What has not ended has failed."""
        if isinstance(error, WorkerLost):
            self._lost |= bundle.jobs.keys()
        self._ended += [(job, error) for job in bundle.jobs.values()]
        bundle.jobs.clear()

    def ended(self) -> list[Outcome]:
        """The jobs that have ended since this was last asked."""
        ended, self._ended = self._ended, []
        return ended
