"""Migration of stores of earlier versions, in place or in a copy for reading.

Version 1 has validations as rows of one table and test results as JSON. The tables of standard
errors, failures and former cells are missing in the first stores.
"""

from __future__ import annotations

import json
import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from recollect.errors import UserError
from recollect.studies.cell import cell_id
from recollect.studies.measures import Row, write_measures
from recollect.studies.schema import (
    EXPIRY_SECONDS,
    SCHEMA,
    SCHEMA_VERSION,
    TRIAL_COLUMNS,
    placing,
    version_of,
)
from recollect.training.result import Metrics

KEPT = ("leases", "studies", "cells", "failures", "former_cells")
"""Tables that have not changed."""
UNKNOWN_TASK = "?"
"""Task label of trials that no study lists and that were never tested."""


def is_older(path: Path) -> bool:
    """Whether a store is of an earlier version.

    Raises:
        UserError: if it is no store, or one of a later version.
    """
    if version_of(path) == SCHEMA_VERSION:
        return False
    log = path.with_name(f"{path.name}-wal")
    if not log.exists() or log.stat().st_size == 0:
        return True
    # the store may have been migrated while its new header is still in the log
    with suppress(sqlite3.OperationalError):  # the log cannot be read here
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return _version(connection) < SCHEMA_VERSION
    return True


def migrate(path: Path) -> None:
    """Migrate a store to this version, after copying the old one beside it; a warning says so.

    A killed migration leaves the store unchanged.

    Raises:
        UserError: if another process works on it or it cannot be written.
    """
    lock = path.with_name(f".{path.name}.migration")
    try:
        with _explained(path), FileLock(lock):
            if is_older(path):  # another process may have migrated it
                _migrate(path)
    finally:
        with suppress(OSError):
            lock.unlink()  # a process still waiting for the lock finds the migrated store


def _migrate(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        version = _version(connection)
        _refuse_work(connection, path)
        copy = _copy(connection, path, version)
        connection.execute("PRAGMA journal_mode = WAL")
        _convert(connection)
        connection.execute("PRAGMA busy_timeout = 500")  # the rest need not wait long for readers
        # another process may be reading; then the file stays larger
        with suppress(sqlite3.OperationalError):
            connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    warnings.warn(
        f"migrated the store {path} from version {version} to version {SCHEMA_VERSION}; the old"
        f" store is beside it as {copy.name}",
        stacklevel=3,
    )


def write_current(path: Path, uri: str, target: Path) -> None:
    """Write a migrated copy of an earlier store to a new file.

    Args:
        path: path of the store, for messages.
        uri: SQLite URI of the store.
        target: the new file.
    """
    with _explained(path):
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))
        if is_older(target):  # another process may have migrated it
            with closing(sqlite3.connect(target, isolation_level=None)) as connection:
                _convert(connection)


def _copy(connection: sqlite3.Connection, path: Path, version: int) -> Path:
    """Copy the unchanged store to the first free name beside it."""
    number = 1
    while True:
        more = f"-{number}" if number > 1 else ""
        copy = path.with_name(f"{path.stem}.v{version}{more}{path.suffix}")
        number += 1
        if copy.exists():
            continue
        with suppress(FileExistsError), placing(copy) as new:
            connection.execute("VACUUM INTO ?", (str(new),))
            return copy


def _version(connection: sqlite3.Connection) -> int:
    """Version of a store as its connections see it, including the log."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _refuse_work(connection: sqlite3.Connection, path: Path) -> None:
    beats = connection.execute("SELECT pid, heartbeat FROM leases").fetchall()
    for pid, heartbeat in beats:
        if abs(time.time() - heartbeat) < EXPIRY_SECONDS:
            raise UserError(
                f"{path} is a store of an earlier version, and process {pid} is or was using it"
                " less than a minute ago: end that process, or wait"
            )


def _convert(connection: sqlite3.Connection) -> None:
    """Convert version 1 to this version in one transaction."""
    connection.row_factory = sqlite3.Row
    connection.execute("BEGIN EXCLUSIVE")
    try:
        if _version(connection) == SCHEMA_VERSION:  # another process was first
            connection.execute("ROLLBACK")
            return
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        connection.execute("DROP INDEX trials_of_cell")
        for table in tables & {*KEPT, "trials", "history", "history_errors"}:
            connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
        for statement in filter(str.strip, SCHEMA.split(";")):
            connection.execute(statement)
        for table in tables & {*KEPT}:
            connection.execute(f"INSERT INTO {table} SELECT * FROM old_{table}")
        columns = ", ".join(TRIAL_COLUMNS)
        connection.execute(f"INSERT INTO trials ({columns}) SELECT {columns} FROM old_trials")
        _convert_measures(connection, "history_errors" in tables)
        for table in tables & {*KEPT, "trials", "history", "history_errors"}:
            connection.execute(f"DROP TABLE old_{table}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _convert_measures(connection: sqlite3.Connection, has_errors: bool) -> None:
    labels = _task_labels(connection)
    trials = connection.execute("SELECT key, cell, step, test FROM old_trials").fetchall()
    for trial in trials:
        test = json.loads(trial["test"])
        own = labels.get(trial["cell"]) or next(iter(test), UNKNOWN_TASK)
        rows = [*_history(connection, trial["key"], own, has_errors)]
        for label, plain in test.items():
            rows += Row.of(trial["step"], "test", label, Metrics.of(plain))
        write_measures(connection, trial["key"], rows)


def _task_labels(connection: sqlite3.Connection) -> dict[str, str]:
    """Task label of every listed cell, by cell identity."""
    found = {}
    for table in ("cells", "former_cells"):
        for row in connection.execute(f"SELECT cell FROM {table}"):
            cell = json.loads(row["cell"])
            found[cell_id(cell["numerics"], cell["template"])] = cell["task"]
    return found


def _history(
    connection: sqlite3.Connection, key: str, task: str, has_errors: bool
) -> Iterator[Row]:
    errors = {}
    if has_errors:
        query = "SELECT step, loss_error, accuracy_error FROM old_history_errors WHERE key = ?"
        errors = {row["step"]: row for row in connection.execute(query, (key,))}
    for row in connection.execute("SELECT * FROM old_history WHERE key = ?", (key,)):
        step, error = row["step"], errors.get(row["step"])
        yield Row(step, "train", task, "loss", row["train_loss"], None, True)
        yield Row(step, "train", task, "learning_rate", row["learning_rate"])
        yield Row(step, "train", task, "seconds", row["seconds"], None, True)
        loss_error = error and error["loss_error"]
        accuracy_error = error and error["accuracy_error"]
        yield Row(step, "valid", task, "loss", row["valid_loss"], loss_error, True)
        yield Row(step, "valid", task, "accuracy", row["valid_accuracy"], accuracy_error)
        yield Row(step, "valid", task, "example_accuracy", row["valid_example_accuracy"])


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        message = f"the store {path} of an earlier version cannot be migrated: {error}"
        raise UserError(message) from error
