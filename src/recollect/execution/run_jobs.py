"""Run jobs in this process; every executor uses this in its worker processes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from recollect.errors import FatalError
from recollect.execution.artifacts import OBSERVATIONS, WEIGHTS
from recollect.execution.failure import Failure, TrialFailed
from recollect.execution.job import Job, Outcome
from recollect.mixers.process_settings import refuse_default_dtype
from recollect.training.checkpoint import DamagedFileError, read_names
from recollect.training.config import TrialConfig
from recollect.training.population import run_population
from recollect.training.result import Record, TrialResult
from recollect.training.slot import Slot
from recollect.training.trial import keep_weights, run_trial

if TYPE_CHECKING:
    from recollect.analysis.dynamics import Dynamics

GPU_IS_LOST = "CUDA error"
"""Text in the message of errors after which a process can no longer use its GPU."""

OnRecord = Callable[[Job, Record], None]


def run_jobs(jobs: Sequence[Job], device: str, on_record: OnRecord) -> Iterator[Outcome]:
    """Run jobs to their ends or stopping steps; jobs of one shape run as one program.

    Args:
        jobs: the jobs.
        device: "cpu", "cuda" or "cuda:1".
        on_record: called at each validation.

    Yields:
        Each job with its outcome, as soon as it has ended. If a program of several jobs raises, the
        unfinished ones are run one at a time, so that only those fail that fail alone.

    Raises:
        FatalError: for an error that would also end the following jobs.
    """
    for until in dict.fromkeys(job.until for job in jobs):
        yield from _outcomes([job for job in jobs if job.until == until], device, on_record)


def _outcomes(jobs: list[Job], device: str, on_record: OnRecord) -> Iterator[Outcome]:
    """Outcomes of jobs that stop at the same step."""
    going = list(jobs)
    try:
        for job, result in _run(jobs, device, on_record):
            going.remove(job)
            yield job, result
        return
    except FatalError as error:
        raise FatalError(f"{going[0].title}: {error}") from error
    except Exception as error:
        failure = Failure.of(error)
    more = f" and {len(going) - 1} more" if len(going) > 1 else ""
    message = f"{going[0].title}{more}: {failure.message}"
    if len(jobs) == 1:
        yield jobs[0], TrialFailed(message, failure)
    if GPU_IS_LOST in failure.message:
        alone = "" if len(jobs) == 1 else ", with a population of 1 to find the trial that fails"
        raise FatalError(
            f"{message}; run the same command again to continue in a new process{alone}"
        )
    if len(jobs) > 1:
        warnings.warn(f"trials are run one at a time: {message}", stacklevel=2)
        for job in going:  # outside the except block, where the error no longer holds memory
            yield from _outcomes([job], device, on_record)


def _run(jobs: list[Job], device: str, on_record: OnRecord) -> Iterator[Outcome]:
    """Run jobs that stop at the same step; a single job by `run_trial`."""
    configs = [job.config() for job in jobs]
    refuse_default_dtype()  # after the import of the user's files, which may change it
    for job in jobs:
        _remove_damaged(job.checkpoint)
    observers = [_observer(job, config) for job, config in zip(jobs, configs, strict=True)]
    if len(jobs) == 1:
        result = run_trial(
            configs[0],
            device=device,
            until=jobs[0].until,
            checkpoint=jobs[0].checkpoint,
            on_record=lambda record: on_record(jobs[0], record),
            observer=observers[0],
        )
        yield jobs[0], _kept(jobs[0], configs[0], result, observers[0])
        return
    for place, result in run_population(
        configs,
        device=device,
        until=jobs[0].until,
        checkpoints=[job.checkpoint for job in jobs],
        on_record=lambda place, record: on_record(jobs[place], record),
        observers=observers,
    ):
        yield jobs[place], _kept(jobs[place], configs[place], result, observers[place])


def _remove_damaged(checkpoint: Slot) -> None:
    """Remove a checkpoint that cannot be read, as after a power failure: the trial starts again."""
    if checkpoint.exists():
        with checkpoint.reading() as path:
            try:
                read_names(path)
            except DamagedFileError as error:
                warnings.warn(f"{error}: the trial starts again from the beginning", stacklevel=2)
                checkpoint.remove()


def _observer(job: Job, config: TrialConfig) -> Dynamics | None:
    if "observations" not in job.keep:
        return None
    from recollect.analysis.dynamics import Dynamics  # imports pandas, which no other job needs

    return Dynamics(config)


def _kept(
    job: Job, config: TrialConfig, result: TrialResult, observer: Dynamics | None
) -> TrialResult:
    """Store what the job asks to keep; returns the result without the model."""
    if result.status == "complete":
        assert result.model is not None
        if "weights" in job.keep:
            keep_weights(config, result.model, job.slot(WEIGHTS))
        if observer is not None:
            from recollect.analysis.observed_file import save_observations

            with job.slot(OBSERVATIONS).writing() as path:
                save_observations(observer, result.model, path)
    return replace(result, model=None)
