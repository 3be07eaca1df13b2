"""The file of a store: its tables, its creation, and its recognition."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recollect.errors import UserError
from recollect.studies.header import read_header

APPLICATION_ID = 0x52435354
"""Application id in the file's header: "RCST"."""

SCHEMA_VERSION = 2
"""Version of the tables; `older.py` migrates earlier stores."""

EXPIRY_SECONDS = 60.0
"""Seconds without a heartbeat after which a lease is free."""

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
"""A measure is the value of a metric of a trial at a step, on a split ("train", "valid" or "test")
of a task. The split "train" has the mean loss since the previous validation, the learning rate and
the seconds of training. The splits "valid/1", "valid/2" and so on have the losses of groups of the
validation examples at the last validation. NaN is stored as NULL."""

TRIAL_COLUMNS = (
    *("key", "cell", "learning_rate", "seed", "status", "step", "parameters", "device"),
    *("seconds", "config", "created", "updated"),
)
"""Columns of the table `trials` without `id`, which differs between stores."""

IN_MEMORY = ":memory:"
"""SQLite's name of a database without a file."""


def check_path(path: Path) -> None:
    """Refuse paths at which no store can be, whether or not they exist.

    Raises:
        UserError: for a folder, a pipe, a device, an unreadable path, and ":memory:".
    """
    if path.name == IN_MEMORY:
        raise UserError(
            f"a store must be a file; with {IN_MEMORY} results would be lost at the end. For a"
            " temporary store use a file in a temporary folder"
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
    """Version of a store, read from its header.

    Raises:
        UserError: if the file is not a store or is of a later version.
    """
    try:
        header = read_header(path, 100)
    except OSError as error:
        raise UserError(f"cannot read the store {path}: {error.strerror}") from error
    if not header:
        raise UserError(f"{path} is empty, so it is not a store: remove it, or use another file")
    if not header.startswith(b"SQLite format 3\0"):
        raise UserError(f"{path} is not a store of Recollect: it is not an SQLite database")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise UserError(f"{path} is not a store of Recollect: it is another program's database")
    version = int.from_bytes(header[60:64], "big")
    if not 1 <= version <= SCHEMA_VERSION:
        raise UserError(
            f"{path} is a store of version {version}, but this Recollect reads versions up to"
            f" {SCHEMA_VERSION}: use a newer Recollect, or another file"
        )
    return version


@contextmanager
def placing(path: Path) -> Iterator[Path]:
    """Context with a temporary path; its file is moved to `path` when the block ends without error.

    Raises:
        UserError: if the folder cannot be written.
        FileExistsError: if `path` exists by then; that file stays.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".recollect-") as folder:
            yield Path(folder) / path.name
            _move(Path(folder) / path.name, path)
    except FileExistsError:
        raise
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"cannot write {path}: {reason}; expected an existing, writable folder"
        ) from error


def _move(new: Path, path: Path) -> None:
    """Move a file to a path at which no file must be."""
    try:
        os.link(new, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        with path.open("xb") as file:
            file.write(new.read_bytes())


def create_store(path: Path) -> None:
    """Create an empty store atomically; another process may create it at the same time."""
    with suppress(FileExistsError), placing(path) as new:
        connection = sqlite3.connect(new)
        connection.executescript(
            f"BEGIN; {SCHEMA}"  # one transaction waits for the disk once
            f"PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {SCHEMA_VERSION};"
            "COMMIT; PRAGMA journal_mode = WAL;"
        )
        connection.close()
