"""From width to width: a search begins around the rate that was chosen at the next smaller one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from recollect.analysis.learning_rate import on_plateau
from recollect.config import digest
from recollect.studies.cell import Cell
from recollect.studies.replay import Plan, Trials


def narrower(cells: Iterable[Cell]) -> dict[str, Cell]:
    """By a cell's label, the cell whose rate its search begins with: it differs in width alone, and
    has the next smaller one."""
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
    """The plan of every cell, by its label, around the rate of the next smaller width if that is
    known.

    Args:
        cells: of one study.
        stored: the trials of each, by its label.
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
    """The cells that were finished, around the rate of some smaller width or of none, and may need
    more trials when a smaller width is run.

    Args:
        cells: of one study.
        run: the labels of those that are run.
        stored: the trials of each, by its label.
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
    """The cells of smaller widths, the next one first."""
    while cell.label in narrow:
        cell = narrow[cell.label]
        yield cell


def _family(cell: Cell) -> str:
    """What cells have in common that differ in width alone."""
    model = {name: value for name, value in cell.template["model"].items() if name != "d_model"}
    told = cell.model_dump(mode="json", include={"seeds", "search", "numerics"})
    return digest({**told, "template": {**cell.template, "model": model}})


def rate_from(plan: Plan | None, chance: float) -> float | None:
    """What a finished search tells the next width: its rate, if it has got beyond guessing."""
    if plan is None or not plan.done:
        return None
    if plan.chosen is None or on_plateau(plan.chosen.mean, chance):
        return None
    return plan.chosen.learning_rate
