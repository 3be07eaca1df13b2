"""A trial to run, as plain data that can be sent to any process on any machine."""

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
"""Training settings in which trials of one program may differ."""
CHANGED = "its mixer or task was edited after the study began: start the study again"


@dataclass(frozen=True)
class Job:
    """A trial to run.

    Attributes:
        key: its identity.
        title: its name in messages.
        trial: its canonical config; the key is its hash.
        until: the step to stop at; None: train to the end.
        keep: what to store when it is complete: the trained model, the observations.
        artifacts: address of its files (`artifacts.open_artifacts`).
        classes: references to the user's classes and functions on this machine, by name and
            digest.
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
        """Job of a trial whose classes this process has loaded."""
        return cls(key, title, trial, until, keep, artifacts, own_references(trial))

    def config(self) -> TrialConfig:
        """Config of the trial.

        Raises:
            FatalError: if a class was edited before this process loaded it, so that its source
                differs from that of the trial.
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
        """Digest that the jobs of one program share. Jobs that share it may still differ in
        `shape_of`, which decides."""
        train = {name: value for name, value in self.trial["train"].items() if name not in OWN}
        return digest({**self.trial, "train": train, "seeds": None, "until": self.until})

    def slot(self, name: str) -> Slot:
        """Slot of one of its files."""
        return open_artifacts(self.artifacts).slot(self.key, name)

    @property
    def checkpoint(self) -> Slot:
        """Slot of its checkpoint."""
        return self.slot(CHECKPOINT)


Outcome = tuple[Job, TrialResult | Exception]
"""A job and its result without the model, or an exception: a `TrialFailed` if the trial raised or
its process died, a `FatalError` if the following jobs would fail too."""
