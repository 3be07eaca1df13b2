"""From width to width: a search begins around the rate that was chosen at the next smaller one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from recollect.analysis.learning_rate import choose_rate, on_plateau
from recollect.studies.cell import Cell
from recollect.studies.replay import Plan


def narrower(cells: Iterable[Cell]) -> dict[str, Cell]:
    """By a cell's label, the cell whose rate its search begins with: it differs in width alone, and
    has the next smaller one."""
    found: dict[str, Cell] = {}
    families: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        if not cell.search.begins_near:
            continue
        family = (cell.task, cell.mixer, cell.n_layers, cell.recipe, cell.seeds, cell.search)
        families.setdefault(family, []).append(cell)
    for family_cells in families.values():
        ascending = sorted(family_cells, key=lambda cell: cell.d_model)
        found |= {wide.label: narrow for narrow, wide in pairwise(ascending)}
    return found


def rate_from(plan: Plan | None, chance: float) -> float | None:
    """What a finished search tells the next width: its rate, if it has got beyond guessing."""
    if plan is None or not plan.done:
        return None
    chosen = choose_rate(plan.outcomes)
    if chosen is None or on_plateau(chosen.mean, chance):
        return None
    return chosen.learning_rate
