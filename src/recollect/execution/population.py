"""The executor "population": jobs in this process, those of one shape as one program."""

from __future__ import annotations

import time
from collections.abc import Iterator

from recollect.execution.executor import Placement, register_executor
from recollect.execution.job import Job, Outcome
from recollect.execution.run_jobs import OnRecord, run_jobs


@register_executor("population")
class InProcess:
    """Runs jobs in this process, during `wait`.

    Args:
        placement: gives the device (the first one) and the size of a population.
        on_record: called at each validation.
    """

    in_turn = True

    def __init__(self, placement: Placement, on_record: OnRecord) -> None:
        assert placement.population > 0
        self._device, self._count = placement.devices[0], placement.population
        self._on_record = on_record
        self._jobs: list[Job] = []

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self._jobs = []

    @property
    def free(self) -> int:
        """Number of jobs that can be submitted before they are run."""
        return self._count - len(self._jobs)

    def submit(self, job: Job) -> None:
        """Add a job."""
        assert self.free
        self._jobs.append(job)

    def wait(self, seconds: float) -> Iterator[Outcome]:
        """Run the submitted jobs to their ends; without jobs, sleep for `seconds`.

        Raises:
            FatalError: as in `Executor.wait`.
        """
        jobs, self._jobs = self._jobs, []
        if not jobs:
            time.sleep(seconds)
        yield from run_jobs(jobs, self._device, self._on_record)
