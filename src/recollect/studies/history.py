"""The validations of a trial in a store: two tables, since the first stores have no errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recollect.training.result import Record

HISTORY_TABLES = ("history", "history_errors")


def write_history(connection: sqlite3.Connection, key: str, history: Iterable[Record]) -> None:
    """Put the records of a trial in place of those that are stored; within a transaction."""
    for table in HISTORY_TABLES:
        connection.execute(f"DELETE FROM {table} WHERE key = ?", (key,))
    for record in history:
        valid = record.valid
        connection.execute(
            "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                key,
                record.step,
                record.learning_rate,
                record.train_loss,
                valid.loss,
                valid.accuracy,
                valid.example_accuracy,
                record.seconds,
            ),
        )
        if valid.loss_error is not None or valid.accuracy_error is not None:
            connection.execute(
                "INSERT INTO history_errors VALUES (?, ?, ?, ?)",
                (key, record.step, valid.loss_error, valid.accuracy_error),
            )
