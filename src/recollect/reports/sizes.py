"""Figure of accuracy over sizes or costs of models, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from recollect.reports.canvas import Figure, Line2D, drawing
from recollect.reports.panels import (
    accuracy_axis,
    curves,
    draw_chance,
    legend,
    range_entry,
    size_axis,
)
from recollect.reports.style import CHANCE, PAGE
from recollect.reports.unlearnt import line_through_learnt, unlearnt_entry


def sizes_figure(
    cells: pd.DataFrame, sizes: Mapping[str, str], height: float, *further: Line2D
) -> Figure:
    """Draw test accuracy over sizes: one row of panels per task, one column per size.

    A line joins the widths at which a mixer of one depth has learnt.

    Args:
        cells: the cells (`studies.results.cells_frame`) with a column for each size; a cell whose
            size is missing is left out of that column. Their mixers are named with their recipes
            (`panels.named`).
        sizes: the columns of the sizes, with the names of their axes.
        height: the height of a panel in inches.
        further: entries of the legend after the chance level.
    """
    tasks = list(cells["task"].unique())
    with drawing():
        figure = Figure(figsize=(PAGE, height * len(tasks) + 0.7), layout="constrained")
        axes = figure.subplots(len(tasks), len(sizes), sharex="col", sharey=True, squeeze=False)
        for task, row in zip(tasks, axes, strict=True):
            panel = cells[cells["task"] == task]
            for size, ax in zip(sizes, row, strict=True):
                draw_chance(ax, panel["chance"])
                for look, curve in curves(panel, cells):
                    ordered = curve.dropna(subset=size).sort_values("d_model")
                    line_through_learnt(ax, ordered, size, "test_accuracy", look)
            row[0].set_ylabel(f"{task}\ntest accuracy")
            accuracy_axis(row[0])
        for ax, label in zip(axes[-1], sizes.values(), strict=True):
            ax.set_xlabel(label)
            size_axis(ax)
        chance = Line2D([], [], label="chance", **CHANCE)
        legend(figure, cells, chance, *further, *range_entry(cells), *unlearnt_entry(cells))
    return figure
