"""Figures of more mixers than a panel can hold: a panel for each, in order of their recall."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from recollect.reports.canvas import Axes, Figure, Line2D, drawing
from recollect.reports.panels import accuracy_axis, cell_title, place_legend
from recollect.reports.style import PAGE
from recollect.reports.unlearnt import IN_WORDS
from recollect.studies.learnt import has_not_learnt

CROWD = 8
"""More mixers than this are a crowd, where there is one width only."""
COLUMNS = 5
HEIGHT = 1.35
"""Of a panel with its title, in inches."""
MARGIN = 0.06
"""Below the lowest accuracy, for markers at the foot of a panel."""


def is_crowd(cells: pd.DataFrame) -> bool:
    """Whether each mixer should have a panel of its own."""
    return cells["d_model"].nunique() == 1 and cells["mixer"].nunique() > CROWD


def has_recipe_columns(cells: pd.DataFrame) -> bool:
    """Whether a crowd is a few mixers, each in the same recipes, which columns can show."""
    recipes = cells["recipe"].nunique()
    each = cells.groupby(["task", "mixer", "n_layers"])["recipe"].nunique()
    is_few = recipes <= COLUMNS and cells["mixer"].nunique() <= CROWD
    return is_few and recipes > 1 and bool((each == recipes).all())


def recipe_title(recipe: str) -> str:
    """A recipe above a column, a setting a line."""
    return recipe.replace(", ", "\n") or "default"


def crowd_figure(
    cells: pd.DataFrame,
    draw: Callable[[Axes, pd.DataFrame], float],
    *,
    x: str,
    y: str,
    legend: list[Line2D],
) -> Figure:
    """A panel for each cell, drawn by `draw`, which returns the lowest accuracy to be shown; that a
    cell has not learnt stands above its panel."""
    cells = cells.sort_values("test_accuracy", ascending=False, kind="stable")
    rows = -(-len(cells) // COLUMNS)
    with drawing({"axes.titlesize": 6}):
        figure = Figure(figsize=(PAGE, rows * HEIGHT + 0.8), layout="constrained")
        axes = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
        lowest = 0.0
        for place, ax in enumerate(axes.flat):
            if place >= len(cells):
                ax.remove()
                continue
            cell: Any = next(cells.iloc[[place]].itertuples())
            lowest = min(lowest, draw(ax, cells.iloc[[place]]))
            told = [IN_WORDS] if has_not_learnt(cell) else []
            ax.set_title("\n".join([cell_title(cell, cells), *told]))
            ax.tick_params(labelbottom=place + COLUMNS >= len(cells))
        accuracy_axis(axes[0, 0], lowest - MARGIN)
        figure.supxlabel(x)
        figure.supylabel(y)
        place_legend(figure, legend)
    return figure
