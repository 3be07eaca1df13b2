"""Trials read from a store."""

from __future__ import annotations

import math
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from recollect.execution.failure import Failure
from recollect.studies.cell import Cell
from recollect.studies.measures import GROUP
from recollect.studies.replay import Progress, Trial

Query = Callable[..., list[sqlite3.Row]]
"""`Store.rows`."""


@dataclass(frozen=True)
class StoredTrial(Progress):
    """A stored trial.

    Attributes:
        key: its identity.
        learning_rate: its rate.
        seed: its seed.
        accuracies: validation accuracy by step.
        example_accuracies: share of validation examples with every answer right, by step.
        losses: validation loss by step, in nats; infinite for NaN.
        test: test metrics by task label and name; empty unless complete.
        lower_is_better: names of the metrics for which lower is better.
        parameters: number of trained parameters; None if the trial failed before it was stored.
        device: description of the device.
        seconds: training time in seconds.
        failure: the reason of a failure; None: it has not failed.
    """

    key: str
    learning_rate: float
    seed: int
    accuracies: Mapping[int, float]
    example_accuracies: Mapping[int, float]
    losses: Mapping[int, float]
    test: Mapping[str, Mapping[str, float]]
    lower_is_better: frozenset[str]
    parameters: int | None
    device: str
    seconds: float
    failure: Failure | None = None

    @property
    def valid_accuracy(self) -> float:
        """Accuracy of the last validation; 0 if the trial diverged, NaN if it failed."""
        return self._last(self.accuracies)

    @property
    def valid_example_accuracy(self) -> float:
        """Share of examples with every answer right, in the last validation; else likewise."""
        return self._last(self.example_accuracies)

    @property
    def valid_loss(self) -> float:
        """Loss of the last validation; NaN if the trial diverged or failed."""
        return math.nan if self.status in ("diverged", "failed") else self.losses[self._validated]

    def _last(self, accuracies: Mapping[int, float]) -> float:
        if self.status == "failed":
            return math.nan
        return 0.0 if self.status == "diverged" else accuracies[self._validated]

    @property
    def _validated(self) -> int:
        """The step of the last validation; a trial may have been stopped after it."""
        return max(step for step in self.accuracies if step <= self.step)

    def test_metric(self, task: str, metric: str) -> float:
        """A metric on a test task; NaN if the trial is not complete or the metric was not measured.
        For a diverged trial it is infinite if lower is better, otherwise 0."""
        if self.status == "diverged":
            return math.inf if metric in self.lower_is_better else 0.0
        return self.test[task].get(metric, math.nan) if self.status == "complete" else math.nan


def with_outcome(rows: Query, cell: Cell) -> dict[str, StoredTrial]:
    """Trials of a cell with a result, by key."""
    valid, errors = _validations(rows, cell), _validations(rows, cell, "error")
    test, groups = _tests(rows, cell), _groups(rows, cell)
    lower = rows("SELECT name FROM metrics WHERE lower_is_better")
    lower_is_better = frozenset(row["name"] for row in lower) | {"loss"}
    names = "status, step, key, learning_rate, seed, parameters, device, seconds"
    found = {}
    for row in map(dict, rows(f"SELECT {names} FROM trials WHERE cell = ?", cell.id)):
        values, own_errors = valid[row["key"]], errors[row["key"]]
        scores = {step: cell.score(values[step]) for step in sorted(values)}
        unknown = next((step for step, score in scores.items() if score is None), None)
        known = {step: score for step, score in scores.items() if score is not None}
        trial = StoredTrial(
            **row,
            accuracies={step: values[step]["accuracy"] for step in values},
            example_accuracies={
                step: values[step].get("example_accuracy", math.nan) for step in values
            },
            losses={step: _loss(values[step]["loss"]) for step in values},
            scores=known,
            errors={step: cell.score_error(values[step], own_errors[step]) for step in known},
            groups=groups[row["key"]],
            test=test[row["key"]],
            lower_is_better=lower_is_better,
        )
        found[trial.key] = trial if unknown is None else _unjudged(trial, unknown, cell.judged_by)
    return found


def _unjudged(trial: StoredTrial, step: int, metric: str) -> StoredTrial:
    """Mark a trial as failed at the step from which its score is undefined."""
    reason = (
        f"the search uses {metric}, which is NaN or missing in the validation at step {step}:"
        " correct the metric, or search by another one; running the trial again changes nothing"
    )
    known = {at: score for at, score in trial.scores.items() if at < step}
    return replace(
        trial, status="failed", step=max(known, default=0), scores=known, failure=Failure(reason)
    )


ByStep = dict[int, dict[str, float]]


def _validations(rows: Query, cell: Cell, what: str = "value") -> Mapping[str, ByStep]:
    """Accuracies, loss and search metric of each validation, by trial key and step."""
    found: defaultdict[str, ByStep] = defaultdict(dict)
    names = sorted({"accuracy", "example_accuracy", "loss", cell.judged_by})
    query = (
        f"SELECT key, step, metric, {what} AS number FROM measured"
        f" WHERE cell = ? AND split = 'valid' AND metric IN ({', '.join('?' * len(names))})"
    )
    for row in rows(query, cell.id, *names):
        found[row["key"]].setdefault(row["step"], {})[row["metric"]] = row["number"]
    return found


def _groups(rows: Query, cell: Cell) -> Mapping[str, dict[int, tuple[float, ...]]]:
    """Scores of the groups of validation examples, by trial key and step."""
    losses: defaultdict[tuple[str, int], list[float | None]] = defaultdict(list)
    query = (
        "SELECT key, step, value FROM measured WHERE cell = ? AND metric = 'loss'"
        " AND split LIKE ? ORDER BY length(split), split"
    )
    for row in rows(query, cell.id, f"{GROUP}%"):
        losses[row["key"], row["step"]].append(row["value"])
    found: defaultdict[str, dict[int, tuple[float, ...]]] = defaultdict(dict)
    for (key, step), own in losses.items():
        found[key][step] = cell.group_scores(own)
    return found


def _tests(rows: Query, cell: Cell) -> Mapping[str, dict[str, dict[str, float]]]:
    """Test metrics by trial key, task and name."""
    found: defaultdict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    query = "SELECT key, task, metric, value FROM measured WHERE cell = ? AND split = 'test'"
    for row in rows(query, cell.id):
        value = math.nan if row["value"] is None else row["value"]
        found[row["key"]].setdefault(row["task"], {})[row["metric"]] = value
    return found


def _loss(value: float | None) -> float:
    return math.inf if value is None else value


def failed(rows: Query, cell: Cell) -> dict[str, StoredTrial]:
    """Trials of a cell with a stored failure, by key, without their partial results."""
    return {
        row["key"]: StoredTrial(
            status="failed",
            step=0,
            scores={},
            key=row["key"],
            learning_rate=row["learning_rate"],
            seed=row["seed"],
            accuracies={},
            example_accuracies={},
            losses={},
            test={},
            lower_is_better=frozenset(),
            parameters=None,
            device=row["device"],
            seconds=0.0,
            failure=Failure(row["message"], row["traceback"]),
        )
        for row in rows("SELECT * FROM failures WHERE cell = ?", cell.id)
    }


def as_used(
    rows: Query, trials: Mapping[Trial, StoredTrial], used: Mapping[Trial, int | None]
) -> dict[Trial, StoredTrial]:
    """Stored trials; those that other studies have trained further are as they were at the step up
    to which a search used them (`Plan.used`)."""
    found = dict(trials)
    query = (
        "SELECT value FROM measured"
        " WHERE key = ? AND step = ? AND split = 'train' AND metric = 'seconds'"
    )
    for trial, until in used.items():
        if trial in trials and (past := trials[trial].until(until)) is not trials[trial]:
            seconds = [row["value"] for row in rows(query, past.key, past.step)]
            found[trial] = replace(past, seconds=seconds[0] if seconds else past.seconds)
    return found


def last_result(rows: Query, cell: Cell) -> str:
    """Local time at which a trial of a cell was last stored: `2026-01-31 12:59`."""
    found = rows(
        "SELECT max(at) FROM (SELECT updated AS at FROM trials WHERE cell = ?"
        " UNION ALL SELECT created FROM failures WHERE cell = ?)",
        *(cell.id, cell.id),
    )
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(found[0][0]))
