"""The stored trials that a study may delete when it starts afresh."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from recollect.errors import UserError
from recollect.studies.cell import Cell
from recollect.studies.listing import listing
from recollect.studies.store import Store
from recollect.studies.widths import plans


def own_trials(store: Store, study: str, cells: Sequence[Cell], whole: Sequence[Cell]) -> set[str]:
    """Keys of the stored trials that a study uses in some of its cells.

    Args:
        store: the store.
        study: name of the study.
        cells: the cells that start afresh.
        whole: all cells of the study.

    Raises:
        UserError: if another study of the store uses one of the trials.
    """
    ids = {cell.id for cell in cells}
    keys = _seen(store, listing(whole, cells, store.listed(study)), ids)
    for other in store.studies():
        shared = keys & _seen(store, store.listed(other), ids) if other != study else set()
        if shared:
            raise UserError(
                f"cannot start {study} afresh: the study {other} in {store.path} uses"
                f" {len(shared)} of its {len(keys)} stored trials and would lose them; use another"
                " store"
            )
    return keys


def _seen(store: Store, listed: Iterable[Cell], ids: set[str]) -> set[str]:
    """Keys of the stored trials that a study uses in those of its cells with these identities."""
    cells = list(listed)
    if ids.isdisjoint(cell.id for cell in cells):
        return set()
    stored = {cell.label: store.trials(cell) for cell in cells}
    found = plans(cells, stored)
    return {
        stored[cell.label][trial].key
        for cell in cells
        if cell.id in ids
        for trial in found[cell.label].used
        if trial in stored[cell.label]
    }
