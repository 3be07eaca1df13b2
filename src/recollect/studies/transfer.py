"""Stores as files to hand on: export to one, merge from one."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from recollect.errors import UserError
from recollect.files import replacing
from recollect.studies.schema import placing
from recollect.studies.store import OBSERVATIONS, Store, is_further

BETTER = f"""
SELECT theirs.key FROM other.trials AS theirs LEFT JOIN main.trials AS ours USING (key)
WHERE ours.key IS NULL OR {is_further("theirs", "ours")}
"""
"""Trials that the other store has brought further."""

NEW_CELLS = """
INSERT OR IGNORE INTO main.cells
SELECT theirs.* FROM other.cells AS theirs
JOIN other.studies AS there ON there.name = theirs.study
JOIN main.studies AS here ON here.name = theirs.study
WHERE here.settings = there.settings AND NOT EXISTS (
    SELECT 1 FROM main.cells AS ours WHERE ours.study = theirs.study
    AND json_extract(ours.cell, '$.task') = json_extract(theirs.cell, '$.task')
    AND json_extract(ours.cell, '$.template.train') <> json_extract(theirs.cell, '$.template.train')
) ORDER BY theirs.rowid
"""
"""Cells that a study lacks here, of tasks that it trains alike."""


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
    better = _better(store)
    _copy_files(store, other, better)  # which may take longer than others wait for a transaction
    with store.transaction() as connection:
        keys = [(key,) for key in better & _better(store)]
        connection.executemany("DELETE FROM main.history WHERE key = ?", keys)
        for table in ("trials", "history"):
            connection.executemany(
                f"INSERT OR REPLACE INTO main.{table} SELECT * FROM other.{table} WHERE key = ?",
                keys,
            )
        connection.execute("INSERT OR IGNORE INTO main.studies SELECT * FROM other.studies")
        cells = connection.execute(NEW_CELLS).rowcount
        others = connection.execute(
            "SELECT name FROM main.studies JOIN other.studies AS there USING (name)"
            " WHERE main.studies.settings <> there.settings"
        )
        return Merged(len(keys), cells, tuple(row["name"] for row in others.fetchall()))


def _better(store: Store) -> set[str]:
    return {row["key"] for row in store.rows(BETTER)}


def _copy_files(store: Store, other: Store, better: set[str]) -> None:
    """What lies beside the better trials, and the observations that are missing here."""
    for key in better:
        for path in (Store.checkpoint_path, Store.weights_path, Store.observations_path):
            if path(other, key).exists():
                _copy(path(other, key), path(store, key))
    for theirs in other.folder.glob(f"*/{OBSERVATIONS}"):
        ours = store.observations_path(theirs.parent.name)
        if not ours.exists():
            _copy(theirs, ours)


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
