"""Exporting a store to a single file, and merging another store."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from recollect.errors import UserError
from recollect.execution.artifacts import OBSERVATIONS
from recollect.files import replacing
from recollect.studies.cell import Cell
from recollect.studies.listing import are_equal, difference, few, is_part, settings_apart
from recollect.studies.measures import (
    check_directions,
    copy_measures,
    directions_in,
    forget_measures,
)
from recollect.studies.outcome_rows import is_further
from recollect.studies.schema import TRIAL_COLUMNS, check_path, placing
from recollect.studies.store import Store

BETTER = f"""
SELECT theirs.key FROM other.trials AS theirs LEFT JOIN main.trials AS ours USING (key)
WHERE ours.key IS NULL OR {is_further("theirs", "ours")}
"""
"""SQL: trials that are further trained in the other store."""

FAILURES = """
SELECT failed.* FROM other.failures AS failed
LEFT JOIN other.trials AS theirs USING (key) LEFT JOIN main.trials AS ours USING (key)
WHERE ours.key IS NULL OR (ours.status = 'stopped' AND ours.step <= COALESCE(theirs.step, 0))
"""
"""SQL: failures of trials that are not further trained in this store."""


@dataclass(frozen=True)
class Merged:
    """The result of a merge.

    Attributes:
        found: number of trials in the other store.
        trials: number of trials that were added or replaced less trained ones.
        failures: number of failed trials that were added.
        cells: number of cells that were added to studies.
        differences: why cells of the other store were not added, by name of the study.
    """

    found: int
    trials: int
    failures: int
    cells: int
    differences: dict[str, tuple[str, ...]]


def export(store: Store, path: str | Path) -> None:
    """Write all results to one file, which is a store without checkpoints, weights and
    observations.

    Raises:
        UserError: if `path` exists or its folder cannot be written.
    """
    path = Path(path)
    check_path(path)
    try:
        with placing(path) as new:
            store.rows("VACUUM INTO ?", str(new))
            with closing(sqlite3.connect(new, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("DELETE FROM leases")
    except FileExistsError:
        raise UserError(
            f"{path} exists, and an export does not overwrite files: choose another name"
        ) from None


def merge(store: Store, path: str | Path) -> Merged:
    """Add the results of another store, with its checkpoints, weights and observations.

    If both stores have a trial, the further trained one counts, and this store's if both are equal;
    missing observations are taken from the other. A failure does not replace a further trained
    trial. The other store is only read.

    Raises:
        UserError: if there is no store at `path`, or this one cannot be written.
    """
    if not Path(path).exists():
        raise UserError(f"there is no store {path} to merge from")
    with Store(path, must_exist=True) as other:
        if other.path.samefile(store.path):
            raise UserError(f"{path} is the store itself: there is nothing to merge")
        store.file.prepare_writing()
        uri = other.file.uri.replace("?mode=rw", "?mode=ro")  # or it would be locked for others
        store.rows("ATTACH ? AS other", uri)
        try:
            return _merge_attached(store, other)
        finally:
            store.rows("DETACH other")


def _merge_attached(store: Store, other: Store) -> Merged:
    check_directions(directions_in(store.rows), directions_in(other.rows), store.path)
    better = _better(store)
    # before the transaction, because copying may take longer than other processes wait
    _copy_files(store, other, better)
    with store.transaction() as connection:
        failures = _add_failures(connection)
        keys = better & _better(store)
        forget_measures(connection, keys)
        connection.executemany("DELETE FROM main.trials WHERE key = ?", [(key,) for key in keys])
        columns = ", ".join(TRIAL_COLUMNS)
        connection.executemany(
            f"INSERT INTO main.trials ({columns}) SELECT {columns} FROM other.trials WHERE key = ?",
            [(key,) for key in keys],
        )
        copy_measures(connection, keys)
        connection.execute(
            "DELETE FROM main.failures WHERE key IN"
            " (SELECT key FROM main.trials WHERE status <> 'stopped')"
        )
        differences: dict[str, tuple[str, ...]] = {}
        cells = 0
        for study in other.studies():
            added, reasons = _add_cells(connection, store, other, study)
            cells += added
            if reasons:
                differences[study] = reasons
        (found,) = other.rows("SELECT COUNT(*) AS n FROM trials")
    return Merged(found["n"], len(keys), failures, cells, differences)


def _add_failures(connection: sqlite3.Connection) -> int:
    return connection.execute(f"INSERT OR IGNORE INTO main.failures {FAILURES}").rowcount


def _add_cells(
    connection: sqlite3.Connection, store: Store, other: Store, study: str
) -> tuple[int, tuple[str, ...]]:
    """Add cells that a study lacks; returns their number and why others were not added."""
    settings = "SELECT settings FROM studies WHERE name = ?"
    (there,) = other.rows(settings, study)
    here = store.rows(settings, study)
    connection.execute(
        "INSERT OR IGNORE INTO main.studies SELECT * FROM other.studies WHERE name = ?", (study,)
    )
    former = store.former_cells(study) if here else ()
    listed = {cell.label: cell for cell in store.cells(study)} if here else {}
    lacking, reasons = [], []
    for cell in other.cells(study):
        ours = listed.get(cell.label)
        if ours is not None:
            reasons += [] if are_equal(cell, ours) else [difference(cell, ours)]
        elif any(is_part(cell, each, versions=False) for each in former):
            reasons.append(f"{cell.label} is no longer part of it here")
        elif here and (here[0]["settings"] != there["settings"] or not _is_alike(cell, listed)):
            reasons.append(_other_settings(cell, listed))
        else:
            lacking.append(cell)
    store.add_cells(study, lacking)
    store.add_former(study, (*other.cells(study), *other.former_cells(study)))
    return len(lacking), tuple(dict.fromkeys(reasons))


def _is_alike(cell: Cell, listed: Mapping[str, Cell]) -> bool:
    """Whether a cell's training settings equal those of listed cells of the same task, except what
    their recipes name. A study's settings do not include the overrides of its tasks."""
    train = cell.template["train"]
    for other in (each for each in listed.values() if each.task == cell.task):
        theirs = other.template["train"]
        for name in train.keys() | theirs.keys():
            is_named = f"{name}=" in cell.recipe or f"{name}=" in other.recipe
            if train.get(name) != theirs.get(name) and not is_named:
                return False
    return True


def _other_settings(cell: Cell, listed: Mapping[str, Cell]) -> str:
    """Text of the settings that keep a cell out of a study, compared with the most similar cell."""
    differing = [settings_apart(cell, other) for other in listed.values()]
    fewest = min((each for each in differing if each), key=len, default=())
    return f"other settings: {few(fewest)}" if fewest else "other variants"


def _better(store: Store) -> set[str]:
    return {row["key"] for row in store.rows(BETTER)}


def _copy_files(store: Store, other: Store, better: set[str]) -> None:
    """Copy the files of further trained trials, and missing observations."""
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
