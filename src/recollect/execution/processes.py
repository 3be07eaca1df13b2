"""The executor "processes": worker processes of this machine, each with a device.

On a CPU each trains one trial at a time, with one thread: two such processes are faster than one of
two threads. On GPUs each has one, and trains as many trials of one shape as one program as it may.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from recollect.errors import UserError
from recollect.execution.executor import Placement, register_executor
from recollect.execution.failure import WorkerLost
from recollect.execution.job import Job, Outcome
from recollect.execution.run_jobs import OnRecord, run_jobs
from recollect.execution.workers import Workers, usable_cores
from recollect.training.result import Record, TrialResult


@dataclass(frozen=True)
class _Told:
    """What a worker says of one job of its bundle."""

    key: str
    told: Record | TrialResult | Exception


@dataclass(frozen=True, eq=False)
class _Bundle:
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

    def run(self, tell: Callable[[_Told], None]) -> _Told | None:
        """Run them in this process, and tell of records and outcomes; returns the last outcome."""
        if self.device.startswith("cuda"):
            torch.cuda.set_device(self.device)
        going = dict(self.jobs)
        outcomes = run_jobs(
            list(going.values()),
            self.device,
            lambda job, record: tell(_Told(job.key, record)),
        )
        for job, outcome in outcomes:
            del going[job.key]
            last = _Told(job.key, outcome)
            if going:
                tell(last)
        return last


@register_executor("processes")
class Processes:
    """Runs jobs in worker processes.

    Args:
        placement: the workers, their devices and the size of a population.
        on_record: called with each validation.
    """

    def __init__(self, placement: Placement, on_record: OnRecord) -> None:
        self._devices = [
            placement.devices[i % len(placement.devices)] for i in range(placement.workers)
        ]
        self._population = placement.population
        self._on_record = on_record
        # on a CPU one thread, as in any number of workers: results are then the same to the bit
        on_cpu = self._devices[0] == "cpu"
        threads = 1 if on_cpu else max(1, usable_cores() // placement.workers)
        self._workers = Workers[_Bundle](placement.workers, self._hear, threads)
        self._waiting: list[Job] = []
        self._ended: list[Outcome] = []
        self._lost: set[str] = set()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        self._workers.__exit__(*error)
        self._waiting = []

    @property
    def free(self) -> int:
        """A population for each idle worker."""
        return max(0, len(self._workers.idle) * self._population - len(self._waiting))

    def submit(self, job: Job) -> None:
        """Take a job.

        Raises:
            UserError: where its artifacts lie in the memory of this process alone.
        """
        if job.artifacts.startswith("memory:"):
            raise UserError(
                f"{job.artifacts} lies in the memory of one process, and worker processes have"
                " others: take a folder or another URL, or workers=0"
            )
        self._waiting.append(job)

    def wait(self, seconds: float) -> Iterator[Outcome]:
        """The jobs that have ended; waits for news at most so long."""
        self._dispatch()
        for bundle, end in self._workers.wait(seconds):
            self._end(bundle, end)
        ended, self._ended = self._ended, []
        yield from ended

    def _dispatch(self) -> None:
        """Give what waits to idle workers, in equal shares."""
        idle = self._workers.idle
        if not idle or not self._waiting:
            return
        share = min(self._population, math.ceil(len(self._waiting) / len(idle)))
        for number, jobs in zip(idle, self._bundles(share), strict=False):
            self._waiting = [job for job in self._waiting if job not in jobs]
            bundle = _Bundle({job.key: job for job in jobs}, self._devices[number])
            self._workers.submit(bundle, number)

    def _bundles(self, share: int) -> list[list[Job]]:
        """What waits, in programs of at most so many; one whose worker died is on its own."""
        groups: dict[str, list[Job]] = {}
        for job in self._waiting:
            alone = share == 1 or job.key in self._lost
            groups.setdefault(job.key if alone else job.shape, []).append(job)
        return [
            group[i : i + share] for group in groups.values() for i in range(0, len(group), share)
        ]

    def _hear(self, bundle: _Bundle, told: _Told) -> None:
        """What a worker says while it works: a record, or the outcome of a job."""
        if isinstance(told.told, Record):
            self._on_record(bundle.jobs[told.key], told.told)
        else:
            self._ended.append((bundle.jobs.pop(told.key), told.told))

    def _end(self, bundle: _Bundle, end: _Told | Exception) -> None:
        if isinstance(end, _Told):
            self._hear(bundle, end)
            return
        if isinstance(end, WorkerLost):
            self._lost |= bundle.jobs.keys()
        self._ended += [(job, end) for job in bundle.jobs.values()]
