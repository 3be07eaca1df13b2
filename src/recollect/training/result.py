"""What a trial leaves: its outcome, its metrics over time, its test results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from recollect.models.language_model import LanguageModel

Status = Literal["complete", "stopped", "diverged"]
"""complete: its budget is spent or the task solved. stopped: ended at a step by a search,
resumable.
diverged: loss or weights became NaN or infinite."""


class Measure(NamedTuple):
    """A metric on one set of examples.

    Attributes:
        value: the mean.
        error: its standard error over the examples; None where it is not known.
        lower_is_better: whether it is a kind of loss.
    """

    value: float
    error: float | None = None
    lower_is_better: bool = False


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
        example_accuracy_error: likewise of the share of examples.
        further: other metrics by name, those of the task and of the config.
    """

    loss: float
    accuracy: float
    example_accuracy: float
    loss_error: float | None = None
    accuracy_error: float | None = None
    example_accuracy_error: float | None = None
    further: Mapping[str, Measure] = field(default_factory=dict)

    def items(self) -> Iterator[tuple[str, Measure]]:
        """Every metric by its name."""
        yield "loss", Measure(self.loss, self.loss_error, lower_is_better=True)
        yield "accuracy", Measure(self.accuracy, self.accuracy_error)
        yield "example_accuracy", Measure(self.example_accuracy, self.example_accuracy_error)
        yield from self.further.items()

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Metrics:
        """From what `dataclasses.asdict` makes of them, after a way through JSON."""
        further = {name: Measure(*each) for name, each in plain.get("further", {}).items()}
        return cls(**{**plain, "further": further})


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
