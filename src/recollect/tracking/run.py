"""A trial as trackers see it: a run with a config, curves and an end."""

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
    """What is known of a run from its beginning.

    Attributes:
        study: the group that the run belongs to.
        key: of the trial: the same whenever and wherever it runs.
        name: the trial in one line; those of one study that differ in a setting of its training
            have the same.
        config: everything that its outcome depends on, flat: `train.learning_rate`.
    """

    study: str
    key: str
    name: str
    config: Mapping[str, Value]


class Run(Protocol):
    """A run of a tracker."""

    @property
    def last_step(self) -> int:
        """Up to where the tracker has the curves of the run from before; 0: it has none."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the next point of each curve."""

    def pause(self) -> None:
        """The trial is stopped; it may go on, or never. What costs nothing to keep may be kept."""

    def end(self, status: EndStatus, step: int, values: Mapping[str, float]) -> None:
        """Take the final values and finish."""

    def close(self) -> None:
        """Finish a run whose trial is stopped."""


def trial_run(study: str, cell: Cell, request: Request) -> TrialRun:
    """The run of a trial."""
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
    """Nested mappings and sequences as one level: `{"model.mixer.0.mixer": "attention"}`; what is
    None becomes the text `none`, as trackers filter by texts and numbers alone."""
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
    """A point of each curve."""
    return {
        "train/loss": record.train_loss,
        "train/learning_rate": record.learning_rate,
        **_named("valid", record.valid),
    }


def final_values(result: TrialResult) -> dict[str, float]:
    """What is known at the end: test metrics, the size of the model, the time it took."""
    tests = (_named(f"test/{task}", metrics) for task, metrics in result.test.items())
    return {
        **{name: value for test in tests for name, value in test.items()},
        "parameters": float(result.parameters),
        "seconds": result.seconds,
    }


def _named(prefix: str, metrics: Metrics) -> dict[str, float]:
    return {f"{prefix}/{name}": measure.value for name, measure in metrics.items()}
