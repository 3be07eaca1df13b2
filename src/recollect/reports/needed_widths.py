"""The smallest width at which each model solves each length, beside the length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median_high
from typing import NamedTuple

from recollect.papers.cell_results import CellResults
from recollect.papers.margins import SOLVED
from recollect.papers.selectors import SEQ_LEN
from recollect.reports.cell_names import layers
from recollect.reports.markup import Table

EXPLAINED = (
    f"The smallest tried width with an accuracy of at least {SOLVED:g}, as a multiple of the length"
    " N: that of the median seed, with the range over seeds in brackets."
)


class NeededWidths(NamedTuple):
    """A table of the smallest widths, and the cells behind each of its rows."""

    table: Table
    cells: list[list[CellResults]]


def needed_widths(cells: Sequence[CellResults]) -> NeededWidths | None:
    """The table for cells of several lengths and widths, with a row for each model.

    None if all have one length or one width, or no result is finished.
    """
    tasks = {cell.cell.task: int(cell.settings.get(SEQ_LEN, 0)) for cell in cells}
    if len(set(tasks.values())) < 2 or not any(cell.finished for cell in cells):
        return None
    models: dict[str, list[CellResults]] = {}
    for cell in cells:
        recipe = f" [{cell.cell.recipe}]" if cell.cell.recipe else ""
        study = f", {cell.study}" if len({each.study for each in cells}) > 1 else ""
        models.setdefault(
            f"{cell.cell.mixer}{recipe}, {layers(cell.cell.n_layers)}{study}", []
        ).append(cell)
    found = {
        name: group for name, group in models.items() if len({c.cell.d_model for c in group}) > 1
    }
    if not found:
        return None
    rows = [
        [name, *(_needed([c for c in group if c.cell.task == task], tasks[task]) for task in tasks)]
        for name, group in found.items()
    ]
    headings = ["smallest width that solves", *(f"{task}, N = {n}" for task, n in tasks.items())]
    return NeededWidths((headings, rows), list(found.values()))


def _needed(cells: Sequence[CellResults], length: int) -> str:
    """The smallest width of one model and length in words; a dash if a width is not finished."""
    if not cells or not all(cell.finished for cell in cells):
        return "-"
    widest = max(cell.cell.d_model for cell in cells)
    numbers = [
        min((c.cell.d_model for c in cells if c.by_seed()[seed] >= SOLVED), default=math.inf)
        for seed in cells[0].by_seed()
    ]

    def in_words(width: float) -> str:
        return f"> {widest}" if math.isinf(width) else f"{width:g}"

    needed, low, high = median_high(numbers), min(numbers), max(numbers)
    share = f" = {needed / length:g} N" if math.isfinite(needed) else ""
    spread = f" ({in_words(low)} to {in_words(high)})" if low < high else ""
    return f"{in_words(needed)}{share}{spread}"
