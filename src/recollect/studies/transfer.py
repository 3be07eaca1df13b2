"""Stores as files to hand on: export to one, merge from one."""

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
from recollect.studies.listing import difference, few, is_part, settings_apart
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
"""Trials that the other store has brought further."""

FAILURES = """
SELECT failed.* FROM other.failures AS failed
LEFT JOIN other.trials AS theirs USING (key) LEFT JOIN main.trials AS ours USING (key)
WHERE ours.key IS NULL OR (ours.status = 'stopped' AND ours.step <= COALESCE(theirs.step, 0))
"""
"""Failures of trials that have come no further in this store."""


@dataclass(frozen=True)
class Merged:
    """What a merge brought.

    Attributes:
        found: how many trials the other store has.
        trials: how many of them were added, or replaced what had not come as far.
        failures: how many failed trials were added.
        cells: how many cells that a study did not have were added to it.
        differences: by the name of a study in both stores, why cells of the other have no part in
            its table here.
    """

    found: int
    trials: int
    failures: int
    cells: int
    differences: dict[str, tuple[str, ...]]


def export(store: Store, path: str | Path) -> None:
    """Write all results to one file that is a store itself, without what lies beside a store:
    checkpoints, weights and observations.

    Raises:
        UserError: if there is something at `path`, or its folder cannot be written.
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
            f"{path} exists: an export overwrites nothing, choose another name"
        ) from None


def merge(store: Store, path: str | Path) -> Merged:
    """Add to a store what another has, with what lies beside it: checkpoints, weights and
    observations.

    Of a trial in both the one that came further counts, and of equals the store's own; what was
    observed of it is taken from the other if the store has nothing. A failure takes no trial's
    place that has come further. The other store is only read.

    Raises:
        UserError: if there is no store at `path`, or if this one can only be read.
    """
    if not Path(path).exists():
        raise UserError(f"there is no store {path} to merge from")
    with Store(path, must_exist=True) as other:
        if other.path.samefile(store.path):
            raise UserError(f"{path} is the store itself: there is nothing to merge")
        store.file.prepare_writing()
        store.rows("ATTACH ? AS other", other.file.uri)
        try:
            return _merge_attached(store, other)
        finally:
            store.rows("DETACH other")


def _merge_attached(store: Store, other: Store) -> Merged:
    check_directions(directions_in(store.rows), directions_in(other.rows), store.path)
    better = _better(store)
    _copy_files(store, other, better)  # which may take longer than others wait for a transaction
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
    """Add the cells that a study lacks here; returns how many, and why others were not."""
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
            reasons += [difference(cell, ours)] if cell != ours else []
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
    """Whether a cell's task is trained as it is in the listed cells, but for what their recipes
    say; a study's settings do not tell what its tasks override."""
    train = cell.template["train"]
    for other in (each for each in listed.values() if each.task == cell.task):
        theirs = other.template["train"]
        for name in train.keys() | theirs.keys():
            is_told = f"{name}=" in cell.recipe or f"{name}=" in other.recipe
            if train.get(name) != theirs.get(name) and not is_told:
                return False
    return True


def _other_settings(cell: Cell, listed: Mapping[str, Cell]) -> str:
    """Which settings keep a cell out of a study, told beside the most similar cell listed."""
    differing = [settings_apart(cell, other) for other in listed.values()]
    told = min((each for each in differing if each), key=len, default=())
    return f"other settings: {few(told)}" if told else "other variants"


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
