"""A job: a trial to run, as plain data that can be sent anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from recollect.errors import FatalError, UserError
from recollect.identity import know
from recollect.training.config import TrialConfig
from recollect.training.result import Record, TrialResult

Keep = Literal["weights", "observations"]


@dataclass(frozen=True)
class Job:
    """A trial to run.

    Attributes:
        key: of the trial.
        title: what it is called in messages.
        trial: its canonical config, which the key is the hash of.
        classes: where this machine finds the user's classes and functions in it: references by
            `name#digest` (`identity.references`).
        until: the step to stop at; None: the end.
        keep: what is kept of a complete trial: its weights, what was observed of it in training.
        artifacts: the address of the artifact store, which has its checkpoint and what is kept.
    """

    key: str
    title: str
    trial: Mapping[str, Any]
    classes: Mapping[str, str]
    until: int | None
    keep: frozenset[Keep]
    artifacts: str


Outcome = tuple[Job, TrialResult | Exception]
"""What came of a job, without the model; or why nothing did: a `TrialFailed` where the trial raised
or its process died, a `FatalError` where those that follow would fare no better."""

OnRecord = Callable[[Job, Record], None]
"""Called at each validation of a job."""


def config_of(job: Job) -> TrialConfig:
    """The trial of a job.

    Raises:
        FatalError: where this process cannot have it: a class of the user's is not here, or was
            edited after the job was made.
    """
    try:
        know(job.classes)
        config = TrialConfig(**job.trial)
    except UserError as error:
        raise FatalError(
            f"{error}; if its mixer or task was edited meanwhile, start the study again"
        ) from error
    if config.key != job.key:
        raise FatalError("its mixer or task was edited meanwhile: start the study again")
    return config
