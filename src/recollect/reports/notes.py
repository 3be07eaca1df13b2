"""What a reader of a study's table must know besides its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recollect.reports.tables import plural
from recollect.studies.versions import out_of_date

if TYPE_CHECKING:
    import pandas as pd

    from recollect.studies.cell import Cell
    from recollect.studies.store import Store


@dataclass(frozen=True)
class Remedies:
    """What a reader can do, in the words of where the table is read.

    Attributes:
        trials: where every trial is seen.
        failed: how to see why trials failed, and to try them again.
        former: how to see cells that the study no longer has.
    """

    trials: str
    failed: str
    former: str


def notes(
    store: Store, study: str, listed: Sequence[Cell], cells: pd.DataFrame, remedies: Remedies
) -> list[str]:
    """Lines to be read with the table of a study: a rate at the edge of those tried, what is not
    finished, diverged, failed, left out or out of date.

    Args:
        store: what the table was made of.
        study: its name.
        listed: what it consists of.
        cells: of `studies.results.cells_frame`.
        remedies: what the lines advise.
    """
    return [
        *_about_edges(cells),
        *_about_unfinished(cells, remedies, has_older_search=store.has_older_search(study)),
        *_about_diverged(cells),
        *_about_failed(cells, remedies),
        *_about_former(former_count(store, study), remedies),
        *changed_since(store, listed),
    ]


def former_count(store: Store, study: str) -> int:
    """How many cells with results a study had and has no longer."""
    return len(store.former_cells(study)) if study in store.studies() else 0


def changed_since(store: Store, listed: Sequence[Cell]) -> list[str]:
    """In words, the cells whose mixer's source has changed since they were run."""
    return out_of_date(listed, [Path().resolve(), store.path.parent.resolve()])


def _about_edges(cells: pd.DataFrame) -> Iterator[str]:
    if cells["at_edge"].any():
        yield "* ties with the lowest or highest rate tried: the best may lie beyond"


def _about_unfinished(
    cells: pd.DataFrame, remedies: Remedies, *, has_older_search: bool
) -> Iterator[str]:
    """How many cells need more trials, or have lost some."""
    unfinished, failed = int((~cells["done"]).sum()), int((cells["failed"] > 0).sum())
    of_all = f"of {plural(len(cells), 'cell')}"
    if unfinished:
        yield f"not finished: {unfinished} {of_all}"
    if unfinished and has_older_search:
        yield (
            "its search is of an older version, which asked for fewer trials than today's: running"
            f" the study again adds those that are missing, and {remedies.trials} shows what is"
            " there"
        )
    if failed:
        yield f"{failed} {of_all} with failed trials"


def _about_diverged(cells: pd.DataFrame) -> Iterator[str]:
    """The cells without a chosen rate, as every one diverged."""
    lost = cells[cells["learning_rate"].isna() & (cells["diverged"] > 0)]
    for cell in lost.itertuples():
        if cell.diverged == cell.trials:
            what = "every learning rate diverged"
        elif cell.diverged + cell.failed == cell.trials:
            what = "every learning rate diverged or failed"
        elif cell.finished:
            what = "every learning rate that was trained to the end diverged"
        else:
            continue
        yield f"{cell.mixer} at d_model {cell.d_model} on {cell.task}: {what}"


def _about_failed(cells: pd.DataFrame, remedies: Remedies) -> Iterator[str]:
    if cells["failed"].any():
        yield (
            f"{cells['failed'].sum()} of {cells['trials'].sum()} trials failed: what their learning"
            f" rates would give is unknown, and a better rate may be among them ({remedies.failed})"
        )


def _about_former(former: int, remedies: Remedies) -> Iterator[str]:
    """That there are results of cells that the table leaves out."""
    if former:
        are = "cells with results are" if former > 1 else "cell with results is"
        yield f"{former} {are} not part of the study as it was last run ({remedies.former})"
