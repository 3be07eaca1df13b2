"""Stores as files to hand on: export to one, merge from one."""

from __future__ import annotations

import os
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from recollect.errors import UserError
from recollect.studies.schema import placing
from recollect.studies.store import OBSERVATIONS, Store

BETTER = """
CREATE TEMP TABLE better AS
SELECT theirs.key FROM other.trials AS theirs LEFT JOIN main.trials AS ours USING (key)
WHERE ours.key IS NULL
   OR (ours.status = 'stopped' AND (theirs.status <> 'stopped' OR theirs.step > ours.step))
"""
"""Trials that the other store has brought further."""

NEW_CELLS = """
INSERT OR IGNORE INTO main.cells
SELECT theirs.* FROM other.cells AS theirs
JOIN other.studies AS there ON there.name = theirs.study
JOIN main.studies AS here ON here.name = theirs.study
WHERE here.settings = there.settings ORDER BY theirs.rowid
"""


@dataclass(frozen=True)
class Merged:
    """What a merge brought.

    Attributes:
        trials: how many.
        cells: how many that a study did not have.
        other_studies: names of studies that have other settings here, and stay as they are here.
    """

    trials: int
    cells: int
    other_studies: tuple[str, ...]


def export(store: Store, path: str | Path) -> None:
    """Write all results to one file that is a store itself, without what lies beside a store:
    checkpoints, weights and observations.

    Raises:
        UserError: if there is a file at `path`, or its folder cannot be written.
    """
    path = Path(path)
    try:
        with placing(path) as new:
            store.rows("VACUUM INTO ?", str(new))
            with sqlite3.connect(new) as connection:
                connection.execute("DELETE FROM leases")
            connection.close()
    except FileExistsError:
        raise UserError(
            f"{path} exists: an export overwrites nothing, choose another name"
        ) from None


def merge(store: Store, path: str | Path) -> Merged:
    """Add to a store what another has, with what lies beside it: checkpoints, weights and
    observations.

    Of a trial in both the one that came further counts, and of equals the store's own; what was
    observed of it is taken from the other if the store has nothing.

    Raises:
        UserError: if there is no store at `path`.
    """
    with Store(path, must_exist=True) as other:
        if other.path.samefile(store.path):
            raise UserError(f"{path} is the store itself: there is nothing to merge")
        store.rows("ATTACH ? AS other", str(other.path))
        try:
            return _merge_attached(store, other)
        finally:
            store.rows("DETACH other")


def _merge_attached(store: Store, other: Store) -> Merged:
    with store.transaction() as connection:
        connection.execute(BETTER)
        keys = [row["key"] for row in connection.execute("SELECT key FROM better")]
        for key in keys:
            if (other.folder / key).is_dir():
                shutil.copytree(other.folder / key, store.folder / key, dirs_exist_ok=True)
        for theirs in other.folder.glob(f"*/{OBSERVATIONS}"):
            _copy_missing(theirs, store.observations_path(theirs.parent.name))
        connection.execute("DELETE FROM main.history WHERE key IN better")
        for table in ("trials", "history"):
            connection.execute(
                f"INSERT OR REPLACE INTO main.{table}"
                f" SELECT * FROM other.{table} WHERE key IN better"
            )
        connection.execute("DROP TABLE better")
        connection.execute("INSERT OR IGNORE INTO main.studies SELECT * FROM other.studies")
        cells = connection.execute(NEW_CELLS).rowcount
        others = connection.execute(
            "SELECT name FROM main.studies JOIN other.studies AS there USING (name)"
            " WHERE main.studies.settings <> there.settings"
        )
        return Merged(len(keys), cells, tuple(row["name"] for row in others.fetchall()))


def _copy_missing(theirs: Path, ours: Path) -> None:
    """Copy a file to where there is none; it appears there as a whole."""
    if ours.exists():
        return
    ours.parent.mkdir(parents=True, exist_ok=True)
    temporary = ours.with_name(f".{ours.name}.{os.getpid()}")
    try:
        shutil.copyfile(theirs, temporary)
        temporary.replace(ours)
    finally:
        temporary.unlink(missing_ok=True)
