"""The result of a trial: status, metrics during training, test metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from recollect.models.language_model import LanguageModel

Status = Literal["complete", "stopped", "diverged"]
"""complete: all steps are done or the task is solved. stopped: a search ended it at a step; it can
be resumed. diverged: loss or weights became NaN or infinite."""


class Measure(NamedTuple):
    """A metric on one set of examples.

    Attributes:
        value: the mean.
        error: its standard error over the examples; None if unknown.
        lower_is_better: whether lower values are better, as for a loss.
    """

    value: float
    error: float | None = None
    lower_is_better: bool = False


@dataclass(frozen=True)
class Metrics:
    """All metrics on one set of examples.

    Attributes:
        loss: mean cross-entropy over the supervised positions, in nats.
        accuracy: fraction of the supervised positions answered correctly.
        example_accuracy: fraction of the examples with every position correct (in copying: whole
            strings).
        loss_error: standard error of the loss over the examples; None if unknown.
        accuracy_error: standard error of the accuracy.
        example_accuracy_error: standard error of the example accuracy.
        further: metrics of the task and of the config, by name.
        loss_groups: loss of each group of the examples (`evaluate.GROUPS`); empty if they are too
            few, or unknown.
    """

    loss: float
    accuracy: float
    example_accuracy: float
    loss_error: float | None = None
    accuracy_error: float | None = None
    example_accuracy_error: float | None = None
    further: Mapping[str, Measure] = field(default_factory=dict)
    loss_groups: tuple[float, ...] = ()

    def items(self) -> Iterator[tuple[str, Measure]]:
        """Every metric with its name."""
        yield "loss", Measure(self.loss, self.loss_error, lower_is_better=True)
        yield "accuracy", Measure(self.accuracy, self.accuracy_error)
        yield "example_accuracy", Measure(self.example_accuracy, self.example_accuracy_error)
        yield from self.further.items()

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Metrics:
        """Metrics from the output of `dataclasses.asdict` after JSON."""
        further = {name: Measure(*each) for name, each in plain.get("further", {}).items()}
        groups = tuple(plain.get("loss_groups", ()))
        return cls(**{**plain, "further": further, "loss_groups": groups})


@dataclass(frozen=True)
class Record:
    """The state of training at a validation.

    Attributes:
        step: optimiser steps done.
        learning_rate: of the last step.
        train_loss: mean over the steps since the previous record.
        valid: metrics on the validation examples.
        seconds: training time so far, interrupted runs included.
    """

    step: int
    learning_rate: float
    train_loss: float
    valid: Metrics
    seconds: float


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial.

    Attributes:
        key: `TrialConfig.key`; None if the source of a class cannot be read, as in some notebooks.
            Such a trial can be run but not stored.
        status: how it ended.
        step: optimiser steps done.
        history: a record at each validation.
        test: test metrics by the label of the task; empty unless complete.
        parameters: number of trained parameters.
        device: description of the device.
        seconds: training time in seconds.
        model: the trained model, if it was trained in this process; not stored with the result.
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
        """Metrics of the last validation; None if there was none."""
        return self.history[-1].valid if self.history else None
