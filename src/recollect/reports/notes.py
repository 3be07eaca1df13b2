"""Notes below the table of a study: edges, failures, and other things its numbers do not show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recollect.reports.cell_names import cell_name
from recollect.reports.diverged import how_diverged
from recollect.reports.tables import common_chance, plural
from recollect.studies.versions import out_of_date
from recollect.training.untrained import POSITIONS, WEIGHTS, never_trained

if TYPE_CHECKING:
    import pandas as pd

    from recollect.studies.cell import Cell
    from recollect.studies.store import Store


@dataclass(frozen=True)
class Remedies:
    """Advice in notes, worded for the place where the table is shown.

    Attributes:
        trials: where to see all trials.
        failed: how to see why trials failed, and how to run them again.
        former: how to see cells that the study no longer has.
    """

    trials: str
    failed: str
    former: str


def notes(
    store: Store, study: str, listed: Sequence[Cell], cells: pd.DataFrame, remedies: Remedies
) -> list[str]:
    """Lines for the table of a study.

    They name the chance level if all tasks share it, rates at the edge of those tried, mixers with
    learned positions, and cells that are unfinished, diverged, failed, left out or out of date.

    Args:
        store: the store of the table.
        study: the name of the study.
        listed: the cells of the study.
        cells: its table, from `studies.results.cells_frame`.
        remedies: the advice to give.
    """
    return [
        *common_chance(cells),
        *_about_edges(cells),
        *_about_positions(listed),
        *_about_unfinished(cells, remedies, has_older_search=store.has_older_search(study)),
        *_about_diverged(cells),
        *_about_failed(cells, remedies),
        *_about_former(former_count(store, study), remedies),
        *changed_since(store, listed),
    ]


def former_count(store: Store, study: str) -> int:
    """The number of cells with results that the study no longer has."""
    return len(store.former_cells(study)) if study in store.studies() else 0


def changed_since(store: Store, listed: Sequence[Cell]) -> list[str]:
    """Lines about cells whose mixer's source has changed since they were run."""
    return out_of_date(listed, [Path().resolve(), store.path.parent.resolve()])


def _about_edges(cells: pd.DataFrame) -> Iterator[str]:
    if cells["at_edge"].any():
        yield "* ties with the lowest or highest rate tried: the best may lie outside this range"


def _about_positions(listed: Sequence[Cell]) -> Iterator[str]:
    """Lines about models that have learned positions: where the mixer decides, and where some of
    them, or other weights for long sequences, are never trained."""
    learned = dict.fromkeys(cell.mixer for cell in listed if cell.learned_positions)
    others = any(cell.learned_positions is False for cell in listed)
    if learned:
        none = "; none for the other mixers" if others else ""
        yield f"model.positions=auto: learned positions for {', '.join(learned)}{none}"
    positions = [(cell.mixer, test) for cell in listed for test in cell.untrained_positions]
    weights = [(cell.mixer, test) for cell in listed for test in cell.untrained_weights]
    for what, pairs in ((POSITIONS, positions), (WEIGHTS, weights)):
        if pairs:
            models, tests = zip(*pairs, strict=True)
            yield never_trained(tests, what, models)


def _about_unfinished(
    cells: pd.DataFrame, remedies: Remedies, *, has_older_search: bool
) -> Iterator[str]:
    """Lines about cells that need more trials or have failed ones."""
    unfinished, failed = int((~cells["done"]).sum()), int((cells["failed"] > 0).sum())
    of_all = f"of {plural(len(cells), 'cell')}"
    if unfinished:
        yield f"not finished: {unfinished} {of_all}"
    if unfinished and has_older_search:
        yield (
            "an older version searched with fewer trials: run the study again to add the missing"
            f" ones; {remedies.trials} shows the trials so far"
        )
    if failed:
        yield f"{failed} {of_all} with failed trials"


def _about_diverged(cells: pd.DataFrame) -> Iterator[str]:
    """Lines about cells without a chosen rate because all rates diverged."""
    for cell in cells.itertuples():
        if what := how_diverged(cell):
            yield f"{cell_name(cell, cells)} on {cell.task}: {what}"


def _about_failed(cells: pd.DataFrame, remedies: Remedies) -> Iterator[str]:
    if cells["failed"].any():
        yield (
            f"{cells['failed'].sum()} of {cells['trials'].sum()} trials failed: a better learning"
            f" rate may be among those that they tried ({remedies.failed})"
        )


def _about_former(former: int, remedies: Remedies) -> Iterator[str]:
    """A line about results that the table leaves out."""
    if former:
        are = "cells with results are" if former > 1 else "cell with results is"
        yield f"{former} {are} not part of the study as it was last run ({remedies.former})"
