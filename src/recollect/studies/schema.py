"""The file of a store: its tables, its making, and telling it from other files."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recollect.errors import UserError

APPLICATION_ID = 0x52435354
"""Written into the file's header; "RCST"."""

SCHEMA_VERSION = 2
"""Raised when a table changes; `older.py` brings stores of earlier versions to this one."""

EXPIRY_SECONDS = 60.0
"""A lease without a heartbeat for so long is free."""

SCHEMA = """
CREATE TABLE trials (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    cell TEXT NOT NULL,
    learning_rate REAL NOT NULL,
    seed INTEGER NOT NULL,
    status TEXT NOT NULL,
    step INTEGER NOT NULL,
    parameters INTEGER NOT NULL,
    device TEXT NOT NULL,
    seconds REAL NOT NULL,
    config TEXT NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL
);
CREATE INDEX trials_of_cell ON trials (cell);
CREATE TABLE tasks (id INTEGER PRIMARY KEY, label TEXT NOT NULL UNIQUE);
CREATE TABLE metrics (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    lower_is_better INTEGER NOT NULL
);
CREATE TABLE measures (
    trial INTEGER NOT NULL,
    step INTEGER NOT NULL,
    split TEXT NOT NULL,
    task INTEGER NOT NULL,
    metric INTEGER NOT NULL,
    value REAL,
    error REAL,
    PRIMARY KEY (trial, step, split, task, metric)
) WITHOUT ROWID;
CREATE VIEW measured AS
SELECT trials.key, trials.cell, measures.step, split, label AS task, name AS metric, value, error
FROM measures
    JOIN trials ON trials.id = measures.trial
    JOIN tasks ON tasks.id = measures.task
    JOIN metrics ON metrics.id = measures.metric;
CREATE TABLE failures (
    key TEXT PRIMARY KEY,
    cell TEXT NOT NULL,
    learning_rate REAL NOT NULL,
    seed INTEGER NOT NULL,
    message TEXT NOT NULL,
    traceback TEXT NOT NULL,
    device TEXT NOT NULL,
    config TEXT NOT NULL,
    created REAL NOT NULL
);
CREATE TABLE leases (
    key TEXT PRIMARY KEY,
    cell TEXT NOT NULL,
    owner TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started TEXT NOT NULL,
    heartbeat REAL NOT NULL
);
CREATE TABLE studies (name TEXT PRIMARY KEY, settings TEXT NOT NULL, updated REAL NOT NULL);
CREATE TABLE cells (
    study TEXT NOT NULL,
    label TEXT NOT NULL,
    id TEXT NOT NULL,
    cell TEXT NOT NULL,
    PRIMARY KEY (study, label)
);
CREATE TABLE former_cells (
    study TEXT NOT NULL,
    id TEXT NOT NULL,
    cell TEXT NOT NULL,
    PRIMARY KEY (study, id)
);
"""
"""A measure is a metric of a trial at a step, on the examples of a split ("train", "valid" or
"test") of a task. Those of the split "train" are the mean loss since the validation before, the
learning rate and the seconds of training. A value that is not a number is NULL, as SQLite has
it."""

TRIAL_COLUMNS = (
    *("key", "cell", "learning_rate", "seed", "status", "step", "parameters", "device"),
    *("seconds", "config", "created", "updated"),
)
"""Of the table `trials`, all but its numbers for its rows, which differ from store to store."""

IN_MEMORY = ":memory:"
"""What SQLite calls a database without a file."""


def check_path(path: Path) -> None:
    """Refuse what is no place for a file of results, whether or not there is something.

    Raises:
        UserError: for a folder, a pipe or a device, for a path that cannot be looked at, and for
            SQLite's name of no file at all.
    """
    if path.name == IN_MEMORY:
        raise UserError(
            f"a store is a file, and {IN_MEMORY} is none: results would be lost at the end; for a"
            " store that may be lost give a file in a temporary folder"
        )
    try:
        is_there, is_folder, is_file = path.exists(), path.is_dir(), path.is_file()
    except OSError as error:
        raise UserError(f"cannot read the store {path}: {error.strerror}") from error
    if is_folder:
        raise UserError(f"{path} is a folder: expected a file, such as {path / 'recollect.db'}")
    if is_there and not is_file:
        raise UserError(f"{path} is a pipe or a device: expected a file")


def version_of(path: Path) -> int:
    """The version of a store, from its header; the file is not touched.

    Raises:
        UserError: if it is no store, or one of a later version.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise UserError(f"cannot read the store {path}: {error.strerror}") from error
    if not header:
        raise UserError(f"{path} is empty, and no store: remove it, or take another file")
    if not header.startswith(b"SQLite format 3\0"):
        raise UserError(f"{path} is no store of Recollect: it is no SQLite database")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise UserError(f"{path} is no store of Recollect: it is another program's database")
    version = int.from_bytes(header[60:64], "big")
    if not 1 <= version <= SCHEMA_VERSION:
        raise UserError(
            f"{path} is a store of version {version}, and this Recollect reads versions up to"
            f" {SCHEMA_VERSION}: take the Recollect that wrote it, or another file"
        )
    return version


@contextmanager
def placing(path: Path) -> Iterator[Path]:
    """A temporary name, whose file is put at `path` as a whole when the block has ended well.

    Raises:
        UserError: if the folder cannot be written.
        FileExistsError: if there is a file at `path` by then; it stays.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".recollect-") as folder:
            yield Path(folder) / path.name
            os.link(Path(folder) / path.name, path)
    except FileExistsError:
        raise
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"cannot write {path}: {reason}; expected a folder that exists and can be written"
        ) from error


def create_store(path: Path) -> None:
    """An empty store. It appears at once and whole, whoever else makes it at the same time."""
    with suppress(FileExistsError), placing(path) as new:
        connection = sqlite3.connect(new)
        connection.executescript(SCHEMA)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
