"""Figures of many mixers: one panel per mixer, in order of accuracy."""

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
"""More mixers than this at a single width get a panel each."""
COLUMNS = 5
HEIGHT = 1.35
"""Height of a panel with its title, in inches."""
MARGIN = 0.06
"""Space below the lowest accuracy, for markers at the bottom of a panel."""


def is_crowd(cells: pd.DataFrame) -> bool:
    """Return True if each mixer should have its own panel."""
    return cells["d_model"].nunique() == 1 and cells["mixer"].nunique() > CROWD


def has_recipe_columns(cells: pd.DataFrame) -> bool:
    """Return True if few mixers share the same recipes, so that recipes can be columns."""
    recipes = cells["recipe"].nunique()
    each = cells.groupby(["task", "mixer", "n_layers"])["recipe"].nunique()
    is_few = recipes <= COLUMNS and cells["mixer"].nunique() <= CROWD
    return is_few and recipes > 1 and bool((each == recipes).all())


def recipe_title(recipe: str) -> str:
    """The title of a column of one recipe, with one setting per line."""
    return recipe.replace(", ", "\n") or "default"


def crowd_figure(
    cells: pd.DataFrame,
    draw: Callable[[Axes, pd.DataFrame], float],
    *,
    x: str,
    y: str,
    legend: list[Line2D],
) -> Figure:
    """Draw one panel per cell; the title says if a cell has not learnt.

    Args:
        cells: the cells to draw.
        draw: draws a cell into a panel, and returns the lowest accuracy to show.
        x: the label of the horizontal axes.
        y: the label of the vertical axes.
        legend: the entries of the legend.
    """
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
            remark = [IN_WORDS] if has_not_learnt(cell) else []
            ax.set_title("\n".join([cell_title(cell, cells), *remark]))
            ax.tick_params(labelbottom=place + COLUMNS >= len(cells))
        accuracy_axis(axes[0, 0], lowest - MARGIN)
        figure.supxlabel(x)
        figure.supylabel(y)
        place_legend(figure, legend)
    return figure
