"""A trial as a tracker's run: a config, curves and a final status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from recollect.studies.cell import CELL_NAMES, Cell
from recollect.studies.learnt import rate_text
from recollect.studies.replay import Request
from recollect.training.result import Metrics, Record, TrialResult

Value = str | int | float | bool
EndStatus = Literal["complete", "diverged", "failed"]


@dataclass(frozen=True)
class TrialRun:
    """What is known of a run at its start.

    Attributes:
        study: the study, which groups runs.
        key: the trial's key, the same on every machine and in every process.
        name: the trial in one line; not unique if trials differ only in training settings.
        config: all settings of the trial by dotted names such as `train.learning_rate`.
    """

    study: str
    key: str
    name: str
    config: Mapping[str, Value]


class TrackerRun(Protocol):
    """A run of a tracker."""

    @property
    def last_step(self) -> int:
        """The last step that the tracker already has of this run; 0 if it has none."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append a point to each curve."""

    def pause(self) -> None:
        """Note that the trial was stopped and may or may not be resumed."""

    def end(self, status: EndStatus, step: int, values: Mapping[str, float]) -> None:
        """Log the final values and finish the run."""

    def close(self) -> None:
        """Finish a run whose trial was stopped."""


def trial_run(study: str, cell: Cell, request: Request) -> TrialRun:
    """Describe the run of a trial."""
    key = cell.key(request.learning_rate, request.seed)
    return TrialRun(
        study=study,
        key=key,
        name=f"{cell.label} lr={rate_text(request.learning_rate)} seed={request.seed}",
        config={
            "study": study,
            "key": key,
            **{f"cell.{name}": getattr(cell, name) for name in CELL_NAMES},
            **flat(cell.trial(request.learning_rate, request.seed)),
        },
    )


def flat(value: Any, name: str = "") -> dict[str, Value]:
    """Flatten nested mappings and sequences: `{"model.mixer.0.mixer": "attention"}`.

    None becomes the text `none`, because trackers can filter only by text and numbers.
    """
    if isinstance(value, Mapping):
        items = [(str(key), each) for key, each in value.items()]
    elif isinstance(value, list | tuple):
        items = [(str(index), each) for index, each in enumerate(value)]
    else:
        return {name: "none" if value is None else value}
    return {
        key: leaf
        for part, each in items
        for key, leaf in flat(each, f"{name}.{part}" if name else part).items()
    }


def curves(record: Record) -> dict[str, float]:
    """The values of each curve at one step."""
    return {
        "train/loss": record.train_loss,
        "train/learning_rate": record.learning_rate,
        **_named("valid", record.valid),
    }


def final_values(result: TrialResult) -> dict[str, float]:
    """The final values: test metrics, number of parameters, and seconds of training."""
    tests = (_named(f"test/{task}", metrics) for task, metrics in result.test.items())
    return {
        **{name: value for test in tests for name, value in test.items()},
        "parameters": float(result.parameters),
        "seconds": result.seconds,
    }


def _named(prefix: str, metrics: Metrics) -> dict[str, float]:
    return {f"{prefix}/{name}": measure.value for name, measure in metrics.items()}
