"""Which stored trials a study that starts afresh may forget: its own, and no other study's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from recollect.errors import UserError
from recollect.studies.cell import Cell
from recollect.studies.listing import listing
from recollect.studies.store import Store
from recollect.studies.widths import plans


def own_trials(store: Store, study: str, cells: Sequence[Cell], whole: Sequence[Cell]) -> set[str]:
    """The keys of the stored trials that a study looks at in some of its cells.

    Args:
        store: where they are.
        study: the name of the study.
        cells: those that start afresh.
        whole: every cell of the study.

    Raises:
        UserError: where another study of the store looks at one of them.
    """
    ids = {cell.id for cell in cells}
    keys = _seen(store, listing(whole, cells, store.listed(study)), ids)
    for other in store.studies():
        shared = keys & _seen(store, store.listed(other), ids) if other != study else set()
        if shared:
            raise UserError(
                f"cannot start {study} afresh: the study {other} in {store.path} looks at"
                f" {len(shared)} of its {len(keys)} stored trials and would lose them; take another"
                " store"
            )
    return keys


def _seen(store: Store, listed: Iterable[Cell], ids: set[str]) -> set[str]:
    """The keys of the stored trials with these identities that a study of these cells looks at."""
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
