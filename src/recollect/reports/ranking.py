"""Figure of a study at a single width: its mixers in order of accuracy."""

from __future__ import annotations

import pandas as pd

from recollect.reports.canvas import Axes, Figure, Line2D, drawing
from recollect.reports.cell_names import layers
from recollect.reports.panels import (
    LETTER_INCHES,
    accuracy_below,
    in_words,
    place_legend,
    range_entry,
)
from recollect.reports.style import CHANCE, Look, looks
from recollect.reports.unlearnt import HOLLOW, unlearnt, unlearnt_entry

LINE = 0.16
"""Height of a mixer's line, in inches."""
PANEL = 1.9
"""Width of a task's panel, in inches."""


def ranking_figure(cells: pd.DataFrame) -> Figure:
    """Draw mean test accuracy of each mixer, one panel per task.

    Bars reach from the worst seed to the best; hollow points have not learnt. The best mixer of the
    first task is on top. Mixers without results are left out.
    """
    cells = cells[cells["test_accuracy"].notna()]
    tasks = list(cells["task"].unique())
    cells = cells.assign(name=_names(cells))
    first = cells[cells["task"] == tasks[0]]
    ranked = list(first.sort_values("test_accuracy", kind="stable")["name"])
    names = [name for name in cells["name"].unique() if name not in ranked] + ranked
    with drawing():
        width = LETTER_INCHES * max(map(len, names)) + PANEL * len(tasks)
        figure = Figure(figsize=(width, LINE * len(names) + 0.9), layout="constrained")
        axes = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
        for ax, task in zip(axes, tasks, strict=True):
            _draw(ax, cells[cells["task"] == task], names, looks(cells["mixer"]))
            ax.set_title(task)
            ax.set_xlabel("test accuracy")
        axes[0].set_yticks(range(len(names)), names)
        axes[0].set_ylim(-0.7, len(names) - 0.3)
        chance = Line2D([], [], label="chance", **CHANCE)
        place_legend(figure, [chance, *range_entry(cells, "_"), *unlearnt_entry(cells)])
    return figure


def _names(cells: pd.DataFrame) -> list[str]:
    """The name of each line, with the depth if there are several."""
    named = zip(cells["mixer"], cells["attention_window"], cells["n_layers"], strict=True)
    several = cells["n_layers"].nunique() > 1
    return [
        ", ".join([in_words(mixer, window), *([layers(depth)] if several else [])])
        for mixer, window, depth in named
    ]


def _draw(ax: Axes, panel: pd.DataFrame, names: list[str], look: dict[str, Look]) -> None:
    for chance in panel["chance"].unique():
        ax.axvline(chance, **CHANCE)
    places = [names.index(name) for name in panel["name"]]
    ends = panel["test_accuracy_min"], panel["test_accuracy_max"]
    ax.hlines(places, *ends, color="black", linewidth=0.8)
    drawn = zip(places, panel["mixer"], panel["test_accuracy"], unlearnt(panel), strict=True)
    for place, mixer, accuracy, is_stuck in drawn:
        marker = look[mixer].line() | {"linestyle": ""} | (HOLLOW if is_stuck else {})
        ax.plot(accuracy, place, **marker)
    accuracy_below(ax)
