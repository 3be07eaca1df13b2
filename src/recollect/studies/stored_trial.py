"""A trial as it is read from a store."""

from __future__ import annotations

import math
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from recollect.execution.failure import Failure
from recollect.studies.cell import Cell
from recollect.studies.replay import Progress

Query = Callable[..., list[sqlite3.Row]]
"""`Store.rows`."""


@dataclass(frozen=True)
class StoredTrial(Progress):
    """A trial as it is stored.

    Attributes:
        key: its identity.
        learning_rate: its rate.
        seed: its seed.
        accuracies: validation accuracy by step.
        losses: validation loss by step, in nats; infinite where it was no number.
        test: metrics by the label of the test task and their names; empty unless complete.
        lower_is_better: the names of the metrics that are a kind of loss.
        parameters: number of trained numbers; None if it failed before anything was stored.
        device: where it ran.
        seconds: training time.
        failure: why it failed, if it did.
    """

    key: str
    learning_rate: float
    seed: int
    accuracies: Mapping[int, float]
    losses: Mapping[int, float]
    test: Mapping[str, Mapping[str, float]]
    lower_is_better: frozenset[str]
    parameters: int | None
    device: str
    seconds: float
    failure: Failure | None = None

    @property
    def valid_accuracy(self) -> float:
        """Of the last validation; 0 if the trial diverged, NaN if it failed."""
        if self.status == "failed":
            return math.nan
        return 0.0 if self.status == "diverged" else self.accuracies[self.step]

    @property
    def valid_loss(self) -> float:
        """Of the last validation; NaN if the trial diverged or failed."""
        return math.nan if self.status in ("diverged", "failed") else self.losses[self.step]

    def test_metric(self, task: str, metric: str) -> float:
        """A metric on a test task: NaN until the trial has ended, and where it was not measured; if
        it diverged a kind of loss is infinite, and all else 0."""
        if self.status == "diverged":
            return math.inf if metric in self.lower_is_better else 0.0
        return self.test[task].get(metric, math.nan) if self.status == "complete" else math.nan


def with_outcome(rows: Query, cell: Cell) -> dict[str, StoredTrial]:
    """The trials of a cell that have come to their end or to a step, by key."""
    valid, errors = _validations(rows, cell), _validations(rows, cell, "error")
    test = _tests(rows, cell)
    lower = rows("SELECT name FROM metrics WHERE lower_is_better")
    lower_is_better = frozenset(row["name"] for row in lower) | {"loss"}
    names = "status, step, key, learning_rate, seed, parameters, device, seconds"
    found = {}
    for row in map(dict, rows(f"SELECT {names} FROM trials WHERE cell = ?", cell.id)):
        values, own_errors = valid[row["key"]], errors[row["key"]]
        merits = {step: cell.merit(values[step]) for step in sorted(values)}
        unknown = next((step for step, merit in merits.items() if merit is None), None)
        known = {step: merit for step, merit in merits.items() if merit is not None}
        trial = StoredTrial(
            **row,
            accuracies={step: values[step]["accuracy"] for step in values},
            losses={step: _loss(values[step]["loss"]) for step in values},
            merits=known,
            errors={step: cell.merit_error(values[step], own_errors[step]) for step in known},
            test=test[row["key"]],
            lower_is_better=lower_is_better,
        )
        found[trial.key] = trial if unknown is None else _unjudged(trial, unknown, cell.judged_by)
    return found


def _unjudged(trial: StoredTrial, step: int, metric: str) -> StoredTrial:
    """A trial that a search cannot judge from a step on: for the search it failed there."""
    reason = (
        f"the search goes by {metric}, which is NaN or was not measured in the validation at step"
        f" {step}: mend the metric, or search by another; to try the trial again changes nothing"
    )
    known = {at: merit for at, merit in trial.merits.items() if at < step}
    return replace(
        trial, status="failed", step=max(known, default=0), merits=known, failure=Failure(reason)
    )


ByStep = dict[int, dict[str, float]]


def _validations(rows: Query, cell: Cell, what: str = "value") -> Mapping[str, ByStep]:
    """Of each trial, by its key, what a search goes by and tables show of its validations."""
    found: defaultdict[str, ByStep] = defaultdict(dict)
    names = sorted({"accuracy", "loss", cell.judged_by})
    query = (
        f"SELECT key, step, metric, {what} AS number FROM measured"
        f" WHERE cell = ? AND split = 'valid' AND metric IN ({', '.join('?' * len(names))})"
    )
    for row in rows(query, cell.id, *names):
        found[row["key"]].setdefault(row["step"], {})[row["metric"]] = row["number"]
    return found


def _tests(rows: Query, cell: Cell) -> Mapping[str, dict[str, dict[str, float]]]:
    """Of each trial, by its key, its metrics by task and name."""
    found: defaultdict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    query = "SELECT key, task, metric, value FROM measured WHERE cell = ? AND split = 'test'"
    for row in rows(query, cell.id):
        value = math.nan if row["value"] is None else row["value"]
        found[row["key"]].setdefault(row["task"], {})[row["metric"]] = value
    return found


def _loss(value: float | None) -> float:
    return math.inf if value is None else value


def failed(rows: Query, cell: Cell) -> dict[str, StoredTrial]:
    """The trials of a cell of which a failure is stored, by key, as if nothing else were known."""
    return {
        row["key"]: StoredTrial(
            status="failed",
            step=0,
            merits={},
            key=row["key"],
            learning_rate=row["learning_rate"],
            seed=row["seed"],
            accuracies={},
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


def last_result(rows: Query, cell: Cell) -> str:
    """When a trial of a cell, which has some, was stored last: `2026-01-31 12:59`, local time."""
    found = rows(
        "SELECT max(at) FROM (SELECT updated AS at FROM trials WHERE cell = ?"
        " UNION ALL SELECT created FROM failures WHERE cell = ?)",
        *(cell.id, cell.id),
    )
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(found[0][0]))
