"""Searches that begin around the rate chosen at the next smaller width."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from recollect.analysis.learning_rate import on_plateau
from recollect.config import digest
from recollect.studies.cell import Cell
from recollect.studies.replay import Plan, Trials


def narrower(cells: Iterable[Cell]) -> dict[str, Cell]:
    """For each cell, by label, the cell that differs only in having the next smaller width."""
    found: dict[str, Cell] = {}
    families: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.search.begins_near:
            families.setdefault(_family(cell), []).append(cell)
    for family_cells in families.values():
        ascending = sorted(family_cells, key=lambda cell: cell.d_model)
        found |= {wide.label: narrow for narrow, wide in pairwise(ascending)}
    return found


def plans(cells: Sequence[Cell], stored: Mapping[str, Trials]) -> dict[str, Plan]:
    """Plan of every cell, by label, around the rate of the next smaller width if that is known.

    Args:
        cells: cells of one study.
        stored: stored trials of each cell, by label.
    """
    narrow = narrower(cells)
    found: dict[str, Plan] = {}
    for cell in sorted(cells, key=lambda cell: cell.d_model):
        before = found[narrow[cell.label].label] if cell.label in narrow else None
        found[cell.label] = cell.plan(stored[cell.label], rate_from(before, cell.floor))
    return found


def unsettled(
    cells: Sequence[Cell], run: Collection[str], stored: Mapping[str, Trials]
) -> list[Cell]:
    """Finished cells that may need more trials because a smaller width is run.

    A cell was finished if its search is done around the rate of some smaller width or without one.

    Args:
        cells: cells of one study.
        run: labels of the cells that are run.
        stored: stored trials of each cell, by label.
    """
    narrow, found = narrower(cells), plans(cells, stored)

    def was_finished(cell: Cell, smaller: list[Cell]) -> bool:
        rates = {rate_from(found[each.label], each.floor) for each in smaller}
        return any(cell.plan(stored[cell.label], rate).done for rate in {None, *rates})

    smaller = {cell.label: list(_smaller(cell, narrow)) for cell in cells if cell.label not in run}
    return [
        cell
        for cell in cells
        if any(each.label in run for each in smaller.get(cell.label, ()))
        and was_finished(cell, smaller[cell.label])
    ]


def _smaller(cell: Cell, narrow: Mapping[str, Cell]) -> Iterator[Cell]:
    """Cells of smaller widths, the next smaller one first."""
    while cell.label in narrow:
        cell = narrow[cell.label]
        yield cell


def _family(cell: Cell) -> str:
    """Digest that cells share if they differ only in width."""
    model = {name: value for name, value in cell.template["model"].items() if name != "d_model"}
    shared = cell.model_dump(mode="json", include={"seeds", "search", "numerics"})
    return digest({**shared, "template": {**cell.template, "model": model}})


def rate_from(plan: Plan | None, chance: float) -> float | None:
    """Rate that a finished search passes to the next width; None if it is hardly above chance
    level."""
    if plan is None or not plan.done:
        return None
    if plan.chosen is None or on_plateau(plan.chosen.mean, chance):
        return None
    return plan.chosen.learning_rate
