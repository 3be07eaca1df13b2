"""Running jobs in this process: one as it is, several of one shape as one program."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

from recollect.analysis.dynamics import Dynamics
from recollect.errors import FatalError
from recollect.execution.artifacts import CHECKPOINT, OBSERVATIONS, WEIGHTS, open_artifacts
from recollect.execution.failure import Failure, TrialFailed
from recollect.execution.job import Job, OnRecord, Outcome, config_of
from recollect.execution.observation_file import save_observations
from recollect.training.population import run_population
from recollect.training.result import TrialResult
from recollect.training.slot import Slot
from recollect.training.trial import keep_weights, run_trial

GPU_IS_LOST = "CUDA error"
"""In the message of errors after which a process can use its GPU no more."""


def run_jobs(jobs: Sequence[Job], device: str, on_record: OnRecord) -> Iterator[Outcome]:
    """Run jobs: those that stop at the same step as one program. Where that raises, those that have
    not ended are run one at a time: so only those fail that fail alone.

    Args:
        jobs: what to run.
        device: "cpu", "cuda" or "cuda:1".
        on_record: called at each validation.

    Yields:
        The outcome of each job, as soon as it is there.

    Raises:
        FatalError: where those that follow would fare no better.
    """
    for until in dict.fromkeys(job.until for job in jobs):
        yield from _together([job for job in jobs if job.until == until], device, on_record)


def _together(jobs: list[Job], device: str, on_record: OnRecord) -> Iterator[Outcome]:
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
    told = f"{going[0].title}{more}: {failure.message}"
    if len(jobs) == 1:
        yield jobs[0], TrialFailed(told, failure)
    if GPU_IS_LOST in failure.message:
        alone = "" if len(jobs) == 1 else ", with a population of 1 to find which trial it is"
        raise FatalError(f"{told}; a new process can go on: give the same command again{alone}")
    if len(jobs) > 1:
        warnings.warn(f"one at a time: {told}", stacklevel=2)
        for job in going:  # here, where the error holds on to no memory any more
            yield from _together([job], device, on_record)


def _run(jobs: list[Job], device: str, on_record: OnRecord) -> Iterator[Outcome]:
    """Jobs that stop at the same step; a single one as `run_trial` has it."""
    configs = [config_of(job) for job in jobs]
    observers = [
        Dynamics(config) if "observations" in job.keep else None
        for job, config in zip(jobs, configs, strict=True)
    ]
    slots = [_slot(job, CHECKPOINT) for job in jobs]
    if len(jobs) == 1:
        result = run_trial(
            configs[0],
            device=device,
            until=jobs[0].until,
            checkpoint=slots[0],
            on_record=lambda record: on_record(jobs[0], record),
            observer=observers[0],
        )
        yield jobs[0], _kept(jobs[0], result, observers[0])
        return
    for place, result in run_population(
        configs,
        device=device,
        until=jobs[0].until,
        checkpoints=slots,
        on_record=lambda place, record: on_record(jobs[place], record),
        observers=observers,
    ):
        yield jobs[place], _kept(jobs[place], result, observers[place])


def _kept(job: Job, result: TrialResult, observer: Dynamics | None) -> TrialResult:
    """The result without its model; weights and observations are where the job wants them."""
    if result.status == "complete":
        assert result.model is not None
        if "weights" in job.keep:
            keep_weights(config_of(job), result.model, _slot(job, WEIGHTS))
        if observer is not None:
            save_observations(observer, result.model, _slot(job, OBSERVATIONS))
    return replace(result, model=None)


def _slot(job: Job, name: str) -> Slot:
    return open_artifacts(job.artifacts).slot(job.key, name)
