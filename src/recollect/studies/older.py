"""Stores of earlier versions: brought to this one where they lie, or in a copy to be read.

Version 1 has a trial's validations as rows of one table, its tests as JSON, and the standard errors
of validations in a table that the first stores lack, as they lack those of failures and of former
cells.
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
"""Tables that are as they were."""
UNKNOWN_TASK = "?"
"""The label of the task of a trial that no study lists and that was never tested."""


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
    # it may have been brought to this version, and the header still lie in the log
    with suppress(sqlite3.OperationalError):  # the log cannot be read here
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return _version(connection) < SCHEMA_VERSION
    return True


def migrate(path: Path) -> None:
    """Bring a store to this version, after a copy of it as it is has been made beside it; a warning
    says so. Whoever is killed leaves the store as it was.

    Raises:
        UserError: where somebody works on it, or it cannot be written.
    """
    lock = path.with_name(f".{path.name}.migration")
    try:
        with _explained(path), FileLock(lock):
            if is_older(path):  # nobody else was first
                _migrate(path)
    finally:
        with suppress(OSError):
            lock.unlink()  # whoever still waits for it finds what was made


def _migrate(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        version = _version(connection)
        _refuse_work(connection, path)
        copy = _copy(connection, path, version)
        connection.execute("PRAGMA journal_mode = WAL")
        _convert(connection)
        with suppress(sqlite3.OperationalError):  # somebody reads: it stays larger
            connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    warnings.warn(
        f"{path} was a store of version {version} and is one of version {SCHEMA_VERSION};"
        f" it lies beside, as it was, in {copy.name}",
        stacklevel=3,
    )


def write_current(path: Path, uri: str, target: Path) -> None:
    """Write what a store of an earlier version holds to a new file, as one of this version.

    Args:
        path: of the store.
        uri: the store as SQLite is to open it.
        target: the file.
    """
    with _explained(path):
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))
        if is_older(target):  # nobody has brought it to this version meanwhile
            with closing(sqlite3.connect(target, isolation_level=None)) as connection:
                _convert(connection)


def _copy(connection: sqlite3.Connection, path: Path, version: int) -> Path:
    """The store as it is, under the first free name beside it."""
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
    """Of the store as its connections see it, the log included."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _refuse_work(connection: sqlite3.Connection, path: Path) -> None:
    beats = connection.execute("SELECT pid, heartbeat FROM leases").fetchall()
    for pid, heartbeat in beats:
        if abs(time.time() - heartbeat) < EXPIRY_SECONDS:
            raise UserError(
                f"{path} is a store of an earlier version, and process {pid} works on it, or did"
                " less than a minute ago: end that first, or wait"
            )


def _convert(connection: sqlite3.Connection) -> None:
    """From version 1 to this, all or nothing."""
    connection.row_factory = sqlite3.Row
    connection.execute("BEGIN EXCLUSIVE")
    try:
        if _version(connection) == SCHEMA_VERSION:  # somebody else was first
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
    """The label of the task of every listed cell, by its identity."""
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
        told = f"the store {path}, of an earlier version, cannot be brought to this: {error}"
        raise UserError(told) from error
