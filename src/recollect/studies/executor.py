"""Where trials run: each in a worker process, or as a program of many in this process.

On a CPU the worker processes of `workers.py` train them. Small models leave a GPU idle: there one
process trains those of one shape as one program. Both take jobs, and give outcomes when asked to
wait.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from recollect.analysis.dynamics import Dynamics
from recollect.errors import FatalError
from recollect.studies.failure import Failure, TrialFailed
from recollect.studies.observations import save_observations
from recollect.training.config import TrialConfig
from recollect.training.population import run_population
from recollect.training.result import Record, TrialResult
from recollect.training.trial import keep_weights, run_trial


@dataclass(frozen=True)
class Job:
    """A trial to run.

    Attributes:
        key: its identity.
        title: what it is called in messages.
        config: what is run.
        until: the step to stop at; None: at the end.
        checkpoint: what it goes on from, and leaves when it stops.
        weights: where the trained model is kept; None: nowhere.
        observations: where what was seen of the model is kept; None: it is not observed.
        device: "cpu", "cuda" or "cuda:1".
    """

    key: str
    title: str
    config: TrialConfig
    until: int | None
    checkpoint: Path
    weights: Path | None
    observations: Path | None
    device: str

    def run(self, tell: Callable[[Record], None]) -> TrialResult:
        """Run the trial in this process; `tell` is called with each validation.

        Raises:
            FatalError: where the source of the mixer or task is not that of the trial: it was
                edited before this process loaded it.
        """
        if self.config.key != self.key:
            raise FatalError("its mixer or task was edited meanwhile: start the study again")
        observer = _observer(self)
        result = run_trial(
            self.config,
            device=self.device,
            until=self.until,
            checkpoint=self.checkpoint,
            on_record=tell,
            observer=observer,
        )
        return _without_model(self, result, observer)


GPU_IS_LOST = "CUDA error"
"""In the message of errors after which a process can use its GPU no more."""

OnRecord = Callable[[Job, Record], None]
Outcome = tuple[Job, TrialResult | Exception]
"""What came of a job, or why nothing did: a `TrialFailed` where the trial raised or its process
died, a `FatalError` where those that follow would fare no better."""


class Executor(Protocol):
    """What runs jobs. Leaving its context ends those that run."""

    @property
    def free(self) -> int:
        """How many more jobs it takes at the moment."""

    def submit(self, job: Job) -> None:
        """Take a job; there must be room for it."""

    def wait(self, seconds: float) -> Iterator[Outcome]:
        """The jobs that have ended since the last call; waits for news at most so long.

        Raises:
            FatalError: where those that follow would fare no better.
        """

    def __enter__(self) -> Executor: ...

    def __exit__(self, *error: object) -> None: ...


def _observer(job: Job) -> Dynamics | None:
    return None if job.observations is None else Dynamics(job.config)


def _without_model(job: Job, result: TrialResult, observer: Dynamics | None) -> TrialResult:
    """The result to be stored; weights and observations lie where the job wants them."""
    if result.status == "complete":
        assert result.model is not None
        if job.weights is not None:
            keep_weights(job.config, result.model, job.weights)
        if observer is not None and job.observations is not None:
            save_observations(observer, result.model, job.observations)
    return replace(result, model=None)


class InProcess:
    """Runs jobs in this process while it is waited for: those of one shape as one program.

    Args:
        count: how many at most.
        on_record: called with each validation.
    """

    def __init__(self, count: int, on_record: OnRecord) -> None:
        assert count > 0
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
        for until in dict.fromkeys(job.until for job in jobs):
            yield from self._outcomes([job for job in jobs if job.until == until])

    def _outcomes(self, jobs: list[Job]) -> Iterator[Outcome]:
        """What came of jobs that stop at the same step. Where a program of several raises, those
        that have not ended are run one at a time: so only those fail that fail alone.

        Raises:
            FatalError: where those that follow would fare no better.
        """
        going = list(jobs)
        try:
            for job, result in self._run(jobs):
                going.remove(job)
                yield job, result
            return
        except FatalError as error:
            raise FatalError(f"{going[0].title}: {error}") from error
        except Exception as error:
            failure = Failure.of(error)
        more = f" and {len(going) - 1} more" if len(going) > 1 else ""
        told = f"{going[0].title}{more}: {failure.message}"
        if len(jobs) == 1:
            yield jobs[0], TrialFailed(told, failure)
        if GPU_IS_LOST in failure.message:
            alone = "" if len(jobs) == 1 else ", with a population of 1 to find which trial it is"
            raise FatalError(f"{told}; a new process can go on: give the same command again{alone}")
        if len(jobs) > 1:
            warnings.warn(f"one at a time: {told}", stacklevel=2)
            for job in going:  # here, where the error holds on to no memory any more
                yield from self._outcomes([job])

    def _run(self, jobs: list[Job]) -> Iterator[Outcome]:
        """Jobs that stop at the same step; a single one as `run_trial` has it."""
        if len(jobs) == 1:
            yield jobs[0], jobs[0].run(lambda record: self._on_record(jobs[0], record))
            return
        observers = [_observer(job) for job in jobs]
        for place, result in run_population(
            [job.config for job in jobs],
            device=jobs[0].device,
            until=jobs[0].until,
            checkpoints=[job.checkpoint for job in jobs],
            on_record=lambda place, record: self._on_record(jobs[place], record),
            observers=observers,
        ):
            yield jobs[place], _without_model(jobs[place], result, observers[place])
