"""Writing a trial's result or failure to a store."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from recollect.config import canonical_json
from recollect.execution.failure import Failure
from recollect.studies.cell import Cell
from recollect.studies.measures import rows_of, write_measures

if TYPE_CHECKING:
    from recollect.training.result import TrialResult


def is_further(new: str, old: str) -> str:
    """SQL condition: one row of `trials` is further trained than another of the same key.

    Args:
        new: name of the row that may be further.
        old: name of the other.
    """
    return f"({old}.status = 'stopped' AND ({new}.status <> 'stopped' OR {new}.step > {old}.step))"


def write_outcome(
    connection: sqlite3.Connection,
    cell: Cell,
    learning_rate: float,
    seed: int,
    result: TrialResult,
) -> None:
    """Write a result with its history, unless a further trained one is stored; call it within a
    transaction."""
    key, now = cell.key(learning_rate, seed), time.time()
    values = {
        "key": key,
        "cell": cell.id,
        "learning_rate": learning_rate,
        "seed": seed,
        "status": result.status,
        "step": result.step,
        "parameters": result.parameters,
        "device": result.device,
        "seconds": result.seconds,
        "config": canonical_json(cell.trial(learning_rate, seed)),
        "created": now,
        "updated": now,
    }
    changes = ", ".join(f"{name} = excluded.{name}" for name in values if name != "created")
    both_ended = "(trials.status <> 'stopped' AND excluded.status <> 'stopped')"
    written = connection.execute(
        f"INSERT INTO trials ({', '.join(values)})"
        f" VALUES ({', '.join(f':{name}' for name in values)})"
        f" ON CONFLICT (key) DO UPDATE SET {changes}"
        f" WHERE {is_further('excluded', 'trials')} OR {both_ended}",
        values,
    ).rowcount
    if written:
        connection.execute("DELETE FROM failures WHERE key = ?", (key,))
        write_measures(connection, key, rows_of(result, cell.task))


def write_failure(
    connection: sqlite3.Connection,
    cell: Cell,
    learning_rate: float,
    seed: int,
    failure: Failure,
    device: str,
) -> None:
    """Write a trial's failure; call it within a transaction."""
    connection.execute(
        "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            cell.key(learning_rate, seed),
            cell.id,
            learning_rate,
            seed,
            failure.message,
            failure.traceback,
            device,
            canonical_json(cell.trial(learning_rate, seed)),
            time.time(),
        ),
    )
