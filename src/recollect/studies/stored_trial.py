"""A trial as it is read from a store."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from recollect.studies.cell import Cell
from recollect.studies.failure import Failure
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
        test: loss, accuracy and example_accuracy by the label of the test task; empty unless
            complete.
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
    test: dict[str, dict[str, float]]
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
        """A metric on a test task: NaN until the trial has ended; if it diverged accuracies are 0,
        and losses infinite."""
        if self.status == "diverged":
            return math.inf if metric == "loss" else 0.0
        return self.test[task][metric] if self.status == "complete" else math.nan


def with_outcome(rows: Query, cell: Cell) -> dict[str, StoredTrial]:
    """The trials of a cell that have come to their end or to a step, by key."""
    accuracies: dict[str, dict[int, float]] = {}
    losses: dict[str, dict[int, float]] = {}
    merits: dict[str, dict[int, float]] = {}
    errors: dict[str, dict[int, float]] = {}
    for row in rows(
        "SELECT key, step, valid_accuracy, valid_loss, accuracy_error, loss_error FROM history"
        " LEFT JOIN history_errors USING (key, step) WHERE key IN"
        " (SELECT key FROM trials WHERE cell = ?)",
        cell.id,
    ):
        accuracy = row["valid_accuracy"]
        loss = math.inf if row["valid_loss"] is None else row["valid_loss"]
        accuracies.setdefault(row["key"], {})[row["step"]] = accuracy
        losses.setdefault(row["key"], {})[row["step"]] = loss
        merits.setdefault(row["key"], {})[row["step"]] = cell.merit(accuracy, loss)
        error = cell.merit_error(accuracy, row["accuracy_error"], row["loss_error"])
        errors.setdefault(row["key"], {})[row["step"]] = error
    names = "status, step, key, learning_rate, seed, test, parameters, device, seconds"
    return {
        row["key"]: StoredTrial(
            **{**row, "test": json.loads(row["test"])},
            accuracies=accuracies.get(row["key"], {}),
            losses=losses.get(row["key"], {}),
            merits=merits.get(row["key"], {}),
            errors=errors.get(row["key"], {}),
        )
        for row in map(dict, rows(f"SELECT {names} FROM trials WHERE cell = ?", cell.id))
    }


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
