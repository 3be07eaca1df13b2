"""The figures of a study, from its frames (`studies.results`).

Figures are as wide as one column of a two-column paper, or as the page if they have many panels.
Points are means over the reported seeds; bars reach from the worst seed to the best. Results of
seeds that choose a rate are marked, or left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from recollect.reports.canvas import Axes, Figure, Line2D, drawing
from recollect.reports.cell_names import layers
from recollect.reports.crowd import crowd_figure, has_recipe_columns, is_crowd, recipe_title
from recollect.reports.panels import (
    accuracy_axis,
    curves,
    draw_chance,
    headings,
    legend,
    loss_axis,
    name_axes,
    named,
    panels,
    range_entry,
    task_panels,
    width_axis,
)
from recollect.reports.ranking import ranking_figure
from recollect.reports.rates import STRIP, draw_rates, over_seeds, rate_marks
from recollect.reports.style import CHANCE
from recollect.reports.unlearnt import HOLLOW, line_through_learnt, unlearnt, unlearnt_entry

APART, ROOM = 0.04, 0.5
"""Distance in octaves between the bars of one width, so that equal ranges stay visible; and the
most that all of them take."""

ACCURACY = "accuracy"
"""The default metric."""


def accuracy_figure(cells: pd.DataFrame, metric: str = ACCURACY) -> Figure:
    """Draw test accuracy, or another metric, over width, with one panel per task.

    A line joins the widths at which a mixer of one depth has learnt; the other widths are hollow
    points. With a single width, mixers are listed in order of accuracy.
    """
    cells = named(cells)
    tasks = cells["task"].nunique()
    widths = sorted(cells["d_model"].unique())
    of_accuracy = metric == ACCURACY
    if len(widths) == 1 and of_accuracy:
        return ranking_figure(cells)
    columns = min(tasks, 2 if tasks <= 4 else 4)
    with drawing():
        figure, axes = panels(-(-tasks // columns), columns, height=1.3)
        for ax, panel in task_panels(axes, cells):
            if of_accuracy:
                draw_chance(ax, panel["chance"])
                accuracy_axis(ax)
            for look, curve in curves(_side_by_side(panel), cells):
                ordered = curve.sort_values("d_model")
                line_through_learnt(
                    ax, ordered, "d_model", f"test_{metric}", look, bars_at="bar_at"
                )
            width_axis(ax, widths)
            ax.tick_params(labelbottom=True)
        name_axes(figure, axes, "model width (d_model)", f"test {metric}")
        chance = [Line2D([], [], label="chance", **CHANCE)] if of_accuracy else []
        legend(figure, cells, *chance, *range_entry(cells), *unlearnt_entry(cells))
    return figure


def learning_rate_figure(
    cells: pd.DataFrame, trials: pd.DataFrame, measure: str = "validation accuracy"
) -> Figure:
    """Draw a measure over learning rate: one row per task and depth, one column per width.

    - A ring marks the chosen rate.
    - Hollow points: not every seed was trained to the end (stopped early, diverged, not needed).
    - Hollow grey points without a line: the mixer has not learnt at any rate.
    - Small points without a line: rates tried only on search seeds, perhaps stopped early.
    - Shading below the curve and a strip at the bottom show the window of working rates; an arrow
      says that the window continues beyond the tried rates.
    - A crossed-out marker at the bottom: trials failed at that rate.

    Many mixers at a single width get a panel each; a few mixers in several recipes get a column per
    recipe.
    """
    if is_crowd(named(cells)) and has_recipe_columns(cells):
        parts = trials.groupby("recipe", sort=False)
        rates = pd.concat([over_seeds(part).assign(recipe=recipe) for recipe, part in parts])
        columns = {recipe_title(recipe): {"recipe": recipe} for recipe in cells["recipe"].unique()}
        return _rates_in_columns(cells, rates, columns, measure)
    cells, rates = named(cells), over_seeds(named(trials, cells))
    if is_crowd(cells):
        with drawing():
            marks = rate_marks(cells, rates)
        return crowd_figure(
            cells,
            lambda ax, cell: draw_rates(ax, cell, _of(cell, rates), cells),
            x="learning rate",
            y=measure,
            legend=marks,
        )
    widths = sorted(cells["d_model"].unique())
    columns = {f"d_model = {width}": {"d_model": width} for width in widths}
    return _rates_in_columns(cells, rates, columns, measure)


def training_figure(cells: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Draw training loss and validation accuracy over steps, at the chosen rate of each cell.

    There are two rows per task and depth, one column per width, and one thin line per reported
    seed, with hollow points if the mixer has not learnt. Many mixers at a single width get one
    panel each, of the accuracy.
    """
    cells, history = named(cells), named(history, cells)
    chosen = history[history["chosen"] & ~history["searching"]]
    with drawing():
        marks = [Line2D([], [], label="chance", **CHANCE), *unlearnt_entry(cells)]
    if is_crowd(cells):
        known = cells[cells["finished"] | cells["test_accuracy"].notna()]
        return crowd_figure(
            cells if known.empty else known,  # without empty panels
            lambda ax, cell: _draw_accuracy(ax, cell, _of(cell, chosen), cells),
            x="optimiser steps",
            y="validation accuracy",
            legend=marks,
        )
    rows = _rows(cells)
    widths = sorted(cells["d_model"].unique())
    with drawing():
        figure, axes = panels(2 * len(rows), len(widths), height=1.05)
        for i, (task, depth) in enumerate(rows):
            for width, loss, accuracy in zip(widths, axes[2 * i], axes[2 * i + 1], strict=True):
                place = {"task": task, "n_layers": depth, "d_model": width}
                there, here = _at(cells, place), _at(chosen, place)
                _draw_accuracy(accuracy, there, here, cells)
                for look, seed in _each_seed(here, there, cells):
                    loss.plot(seed["step"], seed["train_loss"], **look)
            loss_axis(axes[2 * i, 0])
            accuracy_axis(axes[2 * i + 1, 0])
            axes[2 * i, 0].set_ylabel("training loss\n(nats)")
            axes[2 * i + 1, 0].set_ylabel("validation\naccuracy")
        names = [name for name in _row_names(rows) for _ in range(2)]
        headings(axes, names, [f"d_model = {width}" for width in widths])
        figure.supxlabel("optimiser steps")
        legend(figure, cells, *marks)
    return figure


def _rates_in_columns(
    cells: pd.DataFrame,
    rates: pd.DataFrame,
    columns: Mapping[str, dict[str, Any]],
    measure: str,
) -> Figure:
    """Draw rows of panels; `columns` maps each heading to the values that its cells share."""
    rows = _rows(cells)
    with drawing():
        figure, axes = panels(len(rows), len(columns), height=1.4)
        for (task, depth), row in zip(rows, axes, strict=True):
            feet = []
            for column, ax in zip(columns.values(), row, strict=True):
                place = {"task": task, "n_layers": depth, **column}
                feet.append(draw_rates(ax, _at(cells, place), _at(rates, place), cells))
            accuracy_axis(row[0], lowest=min(feet) - STRIP)
        headings(axes, _row_names(rows), [*columns])
        name_axes(figure, axes, "learning rate", measure)
        legend(figure, cells, *rate_marks(cells, rates))
    return figure


def _side_by_side(panel: pd.DataFrame) -> pd.DataFrame:
    """Place the bars of one width a little apart."""
    at_width = panel.groupby("d_model")["d_model"]
    count = at_width.transform("size")
    place = at_width.cumcount() - (count - 1) / 2
    return panel.assign(bar_at=panel["d_model"] * 2 ** ((ROOM / count).clip(upper=APART) * place))


def _draw_accuracy(
    ax: Axes, cells: pd.DataFrame, history: pd.DataFrame, everything: pd.DataFrame
) -> float:
    """Draw validation accuracy over steps in one panel; returns 0, the lowest value to show."""
    draw_chance(ax, cells["chance"])
    for look, seed in _each_seed(history, cells, everything):
        ax.plot(seed["step"], seed["valid_accuracy"], **look)
    return 0.0


def _each_seed(
    history: pd.DataFrame, cells: pd.DataFrame, everything: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield the history of each trial with the look of its line."""
    stuck = set(cells.loc[unlearnt(cells), "mixer"])
    for look, curve in curves(history, everything):
        thin: dict[str, Any] = {"linewidth": 0.8, "markersize": 2.5, "markevery": 0.2}
        if curve["mixer"].iloc[0] in stuck:
            thin |= HOLLOW | {"linestyle": look["linestyle"], "markersize": 3}
        for _, seed in curve.groupby("seed"):
            alone = {"markevery": None} if len(seed) == 1 else {}  # of no length to share out
            yield look | thin | alone, seed


def _rows(cells: pd.DataFrame) -> list[tuple[str, int]]:
    """All pairs of a task and a depth."""
    pairs = cells[["task", "n_layers"]].drop_duplicates()
    return list(pairs.itertuples(index=False, name=None))


def _row_names(rows: list[tuple[str, int]]) -> list[str]:
    """The task, with the depth if there are several."""
    if len({depth for _, depth in rows}) == 1:
        return [task for task, _ in rows]
    return [f"{task}\n{layers(depth)}" for task, depth in rows]


def _at(frame: pd.DataFrame, place: dict[str, Any]) -> pd.DataFrame:
    """The rows whose columns have these values."""
    for column, value in place.items():
        frame = frame[frame[column] == value]
    return frame


def _of(cell: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a frame that belong to one cell."""
    names = ["task", "mixer", "n_layers", "d_model"]
    return _at(frame, dict(zip(names, cell[names].iloc[0], strict=True)))
