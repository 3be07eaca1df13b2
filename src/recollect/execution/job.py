"""A trial to run, as plain data: it can be sent to any process of any machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from recollect.config import digest
from recollect.errors import FatalError, UserError
from recollect.execution.artifacts import CHECKPOINT, open_artifacts
from recollect.identity import learn, own_references
from recollect.training.config import TrialConfig
from recollect.training.result import TrialResult
from recollect.training.slot import Slot

Keep = Literal["weights", "observations"]
OWN = ("learning_rate", "weight_decay")
"""What trials of one program may have different in their training."""
CHANGED = "its mixer or task was edited meanwhile: start the study again"


@dataclass(frozen=True)
class Job:
    """A trial to run.

    Attributes:
        key: its identity.
        title: what it is called in messages.
        trial: its canonical config, whose hash the key is.
        until: the step to stop at; None: at the end.
        keep: what is kept of it when it is complete: the trained model, what was seen of it in
            training.
        artifacts: the address of what it goes on from and leaves (`artifacts.open_artifacts`).
        classes: where a process of this machine finds the user's classes and functions in the
            trial, by name and digest.
    """

    key: str
    title: str
    trial: Mapping[str, Any]
    until: int | None
    keep: frozenset[Keep]
    artifacts: str
    classes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        key: str,
        title: str,
        trial: Mapping[str, Any],
        *,
        until: int | None,
        keep: frozenset[Keep],
        artifacts: str,
    ) -> Job:
        """A job of a trial whose classes this process knows."""
        return cls(key, title, trial, until, keep, artifacts, own_references(trial))

    def config(self) -> TrialConfig:
        """The trial.

        Raises:
            FatalError: where the source of a class is not that of the trial: it was edited before
                this process loaded it.
        """
        try:
            learn(self.classes)
            config = TrialConfig(**self.trial)
        except UserError as error:
            raise FatalError(f"{self.title}: {error}") from error
        if config.key != self.key:
            raise FatalError(CHANGED)
        return config

    @property
    def shape(self) -> str:
        """What the jobs of one program have in common, and perhaps more do: `shape_of` tells."""
        train = {name: value for name, value in self.trial["train"].items() if name not in OWN}
        return digest({**self.trial, "train": train, "seeds": None, "until": self.until})

    def slot(self, name: str) -> Slot:
        """The place of one of its files."""
        return open_artifacts(self.artifacts).slot(self.key, name)

    @property
    def checkpoint(self) -> Slot:
        """What it goes on from, and leaves when it stops."""
        return self.slot(CHECKPOINT)


Outcome = tuple[Job, TrialResult | Exception]
"""What came of a job, or why nothing did: a `TrialFailed` where the trial raised or its process
died, a `FatalError` where those that follow would fare no better. The result is without the
model."""
