"""What a trial leaves: its outcome, its metrics over time, its test results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from recollect.models.language_model import LanguageModel

Status = Literal["complete", "stopped", "diverged"]
"""complete: its budget is spent or the task solved. stopped: ended at a step by a search,
resumable.
diverged: loss or weights became NaN or infinite."""


@dataclass(frozen=True)
class Metrics:
    """Measured on one set of examples.

    Attributes:
        loss: mean cross-entropy over the supervised positions, in nats.
        accuracy: share of the supervised positions answered right.
        example_accuracy: share of the examples with every position right (whole strings, in
            copying).
        loss_error: standard error of the loss over the examples; None where it is not known.
        accuracy_error: likewise of the accuracy.
    """

    loss: float
    accuracy: float
    example_accuracy: float
    loss_error: float | None = None
    accuracy_error: float | None = None


@dataclass(frozen=True)
class Record:
    """A moment of training, at each validation.

    Attributes:
        step: optimiser steps done.
        learning_rate: of the last of them.
        train_loss: mean over the steps since the record before.
        valid: on the validation examples.
        seconds: training time so far, over all sessions that worked on the trial.
    """

    step: int
    learning_rate: float
    train_loss: float
    valid: Metrics
    seconds: float


@dataclass(frozen=True)
class TrialResult:
    """The outcome of a trial.

    Attributes:
        key: `TrialConfig.key`; None where it uses a class that was typed in a notebook, whose
            source cannot be read: such a trial can be run, but not stored.
        status: how it ended.
        step: optimiser steps done.
        history: a record at each validation.
        test: metrics by the label of the test task; empty unless complete.
        parameters: number of trained numbers.
        device: where it ran, in words.
        seconds: training time.
        model: the trained model, where it ran in this process; it is not stored with the result.
    """

    key: str | None
    status: Status
    step: int
    history: tuple[Record, ...]
    test: dict[str, Metrics]
    parameters: int
    device: str
    seconds: float
    model: LanguageModel | None = field(default=None, compare=False, repr=False)

    @property
    def valid(self) -> Metrics | None:
        """The last validation."""
        return self.history[-1].valid if self.history else None
