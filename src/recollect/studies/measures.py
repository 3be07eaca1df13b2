"""Metrics of trials as rows of a store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recollect.errors import UserError

if TYPE_CHECKING:
    from recollect.training.result import Metrics, Record, TrialResult


GROUP = "valid/"
"""Begins the split of a group of the validation examples; its number follows, from 1."""


class Row(NamedTuple):
    """A metric of a trial.

    Attributes:
        step: optimiser steps done.
        split: split of the examples: "train", "valid" or "test"; "valid/1", "valid/2" and so on are
            groups of the validation examples.
        task: label of the examples' task.
        metric: name of the metric.
        value: mean over the examples.
        error: its standard error; None if unknown.
        lower_is_better: whether lower values are better.
    """

    step: int
    split: str
    task: str
    metric: str
    value: float | None
    error: float | None = None
    lower_is_better: bool = False

    @classmethod
    def of(cls, step: int, split: str, task: str, metrics: Metrics) -> list[Row]:
        """Rows of all metrics on one set of examples."""
        return [
            cls(step, split, task, name, measure.value, measure.error, measure.lower_is_better)
            for name, measure in metrics.items()
        ]


def rows_of(result: TrialResult, task: str) -> Iterator[Row]:
    """Rows of all metrics of a trial; those of groups are of the last validation only.

    Args:
        result: result of the trial.
        task: label of the training task.
    """
    for record in result.history:
        yield from _record(record, task)
    for record in result.history[-1:]:
        for number, loss in enumerate(record.valid.loss_groups, 1):
            yield Row(record.step, f"{GROUP}{number}", task, "loss", loss, None, True)
    for label, metrics in result.test.items():
        yield from Row.of(result.step, "test", label, metrics)


def _record(record: Record, task: str) -> Iterator[Row]:
    yield Row(record.step, "train", task, "loss", record.train_loss, None, True)
    yield Row(record.step, "train", task, "learning_rate", record.learning_rate)
    yield Row(record.step, "train", task, "seconds", record.seconds, None, True)
    yield from Row.of(record.step, "valid", task, record.valid)


def directions_in(query: Callable[[str], Iterable[Any]]) -> dict[str, bool]:
    """Whether lower is better, for each metric of a store by name.

    Args:
        query: runs an SQL query on the store.
    """
    return {name: bool(lower) for name, lower in query("SELECT name, lower_is_better FROM metrics")}


def check_directions(
    known: Mapping[str, bool], asked: Mapping[str, bool], place: Path | str
) -> None:
    """Check that new metrics have the same directions as those of the same names in a store.

    Args:
        known: whether lower is better, for each metric of the store.
        asked: the same for the metrics to be stored.
        place: path of the store, for messages.

    Raises:
        UserError: if the directions of a metric differ.
    """
    for name in sorted(known.keys() & asked.keys()):
        if known[name] != asked[name]:
            ours, theirs = ("lower" if each else "higher" for each in (known[name], asked[name]))
            raise UserError(
                f"for the metric {name!r}, {ours} is better in {place}, but {theirs} is better"
                " here: rename it, or use another store"
            )


def write_measures(connection: sqlite3.Connection, key: str, rows: Iterable[Row]) -> None:
    """Replace the stored measures of a trial; must be called within a transaction."""
    rows = list(rows)
    for label in {row.task for row in rows}:
        connection.execute("INSERT OR IGNORE INTO tasks (label) VALUES (?)", (label,))
    asked = {row.metric: row.lower_is_better for row in rows}
    check_directions(directions_in(connection.execute), asked, "this store")
    for name, lower in asked.items():
        connection.execute(
            "INSERT OR IGNORE INTO metrics (name, lower_is_better) VALUES (?, ?)", (name, lower)
        )
    tasks = dict(connection.execute("SELECT label, id FROM tasks").fetchall())
    metrics = dict(connection.execute("SELECT name, id FROM metrics").fetchall())
    ((trial,),) = connection.execute("SELECT id FROM trials WHERE key = ?", (key,)).fetchall()
    connection.execute("DELETE FROM measures WHERE trial = ?", (trial,))
    connection.executemany(
        "INSERT INTO measures VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (trial, row.step, row.split, tasks[row.task], metrics[row.metric], row.value, row.error)
            for row in rows
        ],
    )


def forget_measures(connection: sqlite3.Connection, keys: Iterable[str]) -> None:
    """Delete the measures of some trials; call it within a transaction, before deleting the
    trials."""
    connection.executemany(
        "DELETE FROM measures WHERE trial = (SELECT id FROM trials WHERE key = ?)",
        [(key,) for key in keys],
    )


def copy_measures(connection: sqlite3.Connection, keys: Iterable[str]) -> None:
    """Replace the measures of some trials by those in the attached database `other`. The trials
    must already be copied; call it within a transaction."""
    keys = list(keys)
    forget_measures(connection, keys)
    connection.execute("INSERT OR IGNORE INTO main.tasks (label) SELECT label FROM other.tasks")
    connection.execute(
        "INSERT OR IGNORE INTO main.metrics (name, lower_is_better)"
        " SELECT name, lower_is_better FROM other.metrics"
    )
    connection.executemany(
        "INSERT INTO main.measures"
        " SELECT ours.id, m.step, split, our_tasks.id, our_metrics.id, value, error"
        " FROM other.trials AS theirs JOIN other.measures AS m ON m.trial = theirs.id"
        " JOIN other.tasks AS their_tasks ON their_tasks.id = m.task"
        " JOIN other.metrics AS their_metrics ON their_metrics.id = m.metric"
        " JOIN main.trials AS ours ON ours.key = theirs.key"
        " JOIN main.tasks AS our_tasks ON our_tasks.label = their_tasks.label"
        " JOIN main.metrics AS our_metrics ON our_metrics.name = their_metrics.name"
        " WHERE theirs.key = ?",
        [(key,) for key in keys],
    )
