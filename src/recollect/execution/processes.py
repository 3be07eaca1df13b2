"""The executor "processes": worker processes on this machine, each with its own device.

On a CPU each process trains one trial at a time with one thread; two such processes are faster than
one process with two threads. With GPUs each process has one GPU and trains populations.
"""

from __future__ import annotations

from collections.abc import Iterator

from recollect.execution.bundle import Bundle, Bundles, Report
from recollect.execution.executor import Placement, register_executor
from recollect.execution.job import Job, Outcome
from recollect.execution.run_jobs import OnRecord
from recollect.execution.workers import Workers, usable_cores


@register_executor("processes")
class Processes:
    """Runs jobs in worker processes.

    Args:
        placement: the number of workers, their devices and the size of a population.
        on_record: called at each validation.
    """

    def __init__(self, placement: Placement, on_record: OnRecord) -> None:
        self._devices = [
            placement.devices[i % len(placement.devices)] for i in range(placement.workers)
        ]
        # always one thread on a CPU, so that results are bit-identical for any number of workers
        on_cpu = self._devices[0] == "cpu"
        threads = 1 if on_cpu else max(1, usable_cores() // placement.workers)
        self._bundles = Bundles(placement.population, on_record)
        self._workers = Workers[Bundle](placement.workers, self._bundles.receive, threads)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        self._workers.__exit__(*error)

    @property
    def free(self) -> int:
        """Number of jobs that can be submitted: a population for each idle worker."""
        return self._bundles.room(len(self._workers.idle))

    def submit(self, job: Job) -> None:
        """Add a job.

        Raises:
            UserError: as in `Bundles.add`.
        """
        self._bundles.add(job)

    def wait(self, seconds: float) -> Iterator[Outcome]:
        """As `Executor.wait`."""
        idle = self._workers.idle
        bundles = self._bundles.take([self._devices[number] for number in idle])
        for number, bundle in zip(idle, bundles, strict=False):
            self._workers.submit(bundle, number)
        for bundle, end in self._workers.wait(seconds):
            if isinstance(end, Report):
                self._bundles.receive(bundle, end)
            else:
                self._bundles.fail(bundle, end)
        yield from self._bundles.ended()
