"""The executor "population": this process trains, those of one shape as one program.

Small models leave a GPU idle, where this is the way; on a CPU one after the other is faster.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from recollect.execution.executor import Placement, register_executor
from recollect.execution.job import Job, OnRecord, Outcome
from recollect.execution.run_jobs import run_jobs


class InProcess:
    """Runs jobs in this process while it is waited for.

    Args:
        device: where.
        count: how many at most.
        on_record: called with each validation.
    """

    def __init__(self, device: str, count: int, on_record: OnRecord) -> None:
        assert count > 0
        self._device = device
        self._count = count
        self._on_record = on_record
        self._jobs: list[Job] = []

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self._jobs = []

    @property
    def free(self) -> int:
        """How many more it takes before it runs them."""
        return self._count - len(self._jobs)

    def submit(self, job: Job) -> None:
        """Take a job."""
        assert self.free
        self._jobs.append(job)

    def wait(self, seconds: float) -> Iterator[Outcome]:
        """Run the jobs, if there are any, however long it takes.

        Raises:
            FatalError: as in `Executor.wait`.
        """
        jobs, self._jobs = self._jobs, []
        if not jobs:
            time.sleep(seconds)
        yield from run_jobs(jobs, self._device, self._on_record)


@register_executor("population")
def population(placement: Placement, on_record: OnRecord) -> InProcess:
    """This process, on the first of the devices."""
    return InProcess(placement.devices[0], placement.population, on_record)
