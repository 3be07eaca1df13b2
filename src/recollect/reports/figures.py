"""The figures of a study, from its frames (`studies.results`), one function each.

They are laid out for a column of a two-column paper, and for the page where a row has more panels
than a column holds. Points are means over the seeds that a study reports; bars reach from the worst
seed to the best. What was measured on seeds that choose a rate is shown as such, or left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from recollect.reports.canvas import Axes, Figure, Line2D, drawing
from recollect.reports.crowd import crowd_figure, is_crowd
from recollect.reports.panels import (
    absent,
    accuracy_axis,
    curves,
    draw_chance,
    headings,
    layers,
    legend,
    loss_axis,
    mean_and_range,
    name_axes,
    named,
    panels,
    rate_axis,
    width_axis,
)
from recollect.reports.ranking import ranking_figure
from recollect.reports.style import CHANCE, GREY
from recollect.reports.unlearnt import hollow_points, unlearnt_entry

RATE = ["task", "mixer", "n_layers", "d_model", "learning_rate"]
CHOSEN: dict[str, Any] = {
    "marker": "o",
    "markersize": 7.5,
    "markerfacecolor": "none",
    "linestyle": "",
    "clip_on": False,
}
FAILED: dict[str, Any] = {"marker": "x", "markersize": 5, "linestyle": "", "zorder": 4}
SEARCHED: dict[str, Any] = {
    "marker": "o",
    "markersize": 2.2,
    "markeredgewidth": 0.6,
    "markerfacecolor": "white",
    "linestyle": "",
}
APART = 0.07
"""Octaves between the points of one width, so that equal ones can be seen side by side."""
STRIP = 0.06
"""Height, in units of accuracy, of the strip that shows a window at the foot of a panel."""


def accuracy_figure(cells: pd.DataFrame) -> Figure:
    """Test accuracy over width: a panel for each task, a line for each mixer and depth, hollow
    points where it has not learnt. Where there is one width only, the mixers in their order."""
    cells = named(cells)
    tasks = list(cells["task"].unique())
    widths = sorted(cells["d_model"].unique())
    if len(widths) == 1:
        return ranking_figure(cells)
    columns = min(len(tasks), 2 if len(tasks) <= 4 else 4)
    with drawing():
        figure, axes = panels(-(-len(tasks) // columns), columns, height=1.3)
        for ax in axes.flat[len(tasks) :]:
            ax.remove()
        for ax, task in zip(axes.flat, tasks, strict=False):
            panel = cells[cells["task"] == task]
            draw_chance(ax, panel["chance"])
            for look, curve in curves(_side_by_side(panel), cells):
                curve = curve.sort_values("d_model")
                mean_and_range(ax, curve, "d_model", "test_accuracy", look)
                hollow_points(ax, curve, "d_model", "test_accuracy", look)
            ax.set_title(task)
            width_axis(ax, widths)
            accuracy_axis(ax)
            ax.tick_params(labelbottom=True)
        name_axes(figure, axes, "model width (d_model)", "test accuracy")
        legend(figure, cells, Line2D([], [], label="chance", **CHANCE), *unlearnt_entry(cells))
    return figure


def learning_rate_figure(
    cells: pd.DataFrame, trials: pd.DataFrame, measure: str = "validation accuracy"
) -> Figure:
    """What is measured over learning rate: a row for each task and depth, a column for each width.

    A cross at the foot marks a rate at which trials failed. A ring marks the chosen rate; hollow
    points stand for rates at which not every seed was trained to the end: some were stopped early,
    diverged, or were not needed. Small points that no line joins stand for rates that were tried on
    the seeds of the search alone, where a trial may have been stopped early. The window of working
    rates is shaded below the curve, and is the strip at the foot of the panel; a strip with an
    arrow goes on outside the rates that were tried. Many mixers at a single width have a panel
    each.
    """
    cells, rates = named(cells), _over_seeds(named(trials))
    if is_crowd(cells):
        return crowd_figure(
            cells,
            lambda ax, cell: _draw_rates(ax, cell, _of(cell, rates), cells),
            x="learning rate",
            y=measure,
            legend=_rate_marks(cells, rates),
        )
    rows = _rows(cells)
    widths = sorted(cells["d_model"].unique())
    with drawing():
        figure, axes = panels(len(rows), len(widths), height=1.4)
        for (task, depth), row in zip(rows, axes, strict=True):
            feet = []
            for width, ax in zip(widths, row, strict=True):
                place = {"task": task, "n_layers": depth, "d_model": width}
                feet.append(_draw_rates(ax, _at(cells, place), _at(rates, place), cells))
            accuracy_axis(row[0], lowest=min(feet) - STRIP)
        headings(axes, _row_names(rows), [f"d_model = {width}" for width in widths])
        name_axes(figure, axes, "learning rate", measure)
        legend(figure, cells, *_rate_marks(cells, rates))
    return figure


def training_figure(cells: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Training loss and validation accuracy over steps, at the chosen rate of each cell: two rows
    for each task and depth, a column for each width, a thin line for each seed that is
    reported. Many mixers at a single width have a panel of the accuracy each."""
    cells, history = named(cells), named(history)
    chosen = history[history["chosen"] & ~history["searching"]]
    if is_crowd(cells):
        return crowd_figure(
            cells,
            lambda ax, cell: _draw_accuracy(ax, cell, _of(cell, chosen), cells),
            x="optimiser steps",
            y="validation accuracy",
            legend=[Line2D([], [], label="chance", **CHANCE)],
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
                for look, seed in _each_seed(here, cells):
                    loss.plot(seed["step"], seed["train_loss"], **look)
            loss_axis(axes[2 * i, 0])
            accuracy_axis(axes[2 * i + 1, 0])
            axes[2 * i, 0].set_ylabel("training loss\n(nats)")
            axes[2 * i + 1, 0].set_ylabel("validation\naccuracy")
        names = [name for name in _row_names(rows) for _ in range(2)]
        headings(axes, names, [f"d_model = {width}" for width in widths])
        figure.supxlabel("optimiser steps")
        legend(figure, cells, Line2D([], [], label="chance", **CHANCE))
    return figure


def _side_by_side(panel: pd.DataFrame) -> pd.DataFrame:
    """The cells of a panel, those of one width a little apart."""
    at_width = panel.groupby("d_model")["d_model"]
    place = at_width.cumcount() - (at_width.transform("size") - 1) / 2
    return panel.assign(d_model=panel["d_model"] * 2 ** (APART * place))


def _draw_accuracy(
    ax: Axes, cells: pd.DataFrame, history: pd.DataFrame, everything: pd.DataFrame
) -> float:
    """Validation accuracy over steps in one panel, of which nothing reaches below 0."""
    draw_chance(ax, cells["chance"])
    for look, seed in _each_seed(history, everything):
        ax.plot(seed["step"], seed["valid_accuracy"], **look)
    return 0.0


def _each_seed(
    history: pd.DataFrame, everything: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The course of each trial, with the look of its thin line."""
    for look, curve in curves(history, everything):
        for _, seed in curve.groupby("seed"):
            yield look | {"linewidth": 0.8, "markersize": 2.5, "markevery": 0.2}, seed


def _rate_marks(cells: pd.DataFrame, rates: pd.DataFrame) -> list[Line2D]:
    """What the marks in the learning-rate figure mean, those that it has."""
    grey: dict[str, Any] = {"color": GREY}
    marks: list[tuple[bool, str, dict[str, Any]]] = [
        (True, "chance", CHANCE),
        (True, "chosen rate", grey | CHOSEN),
        (bool(cells["window_low"].notna().any()), "window", grey | {"linewidth": 3}),
        (
            not rates.loc[rates["reported"], "complete"].all(),
            "not all seeds ended",
            _hollow(grey | {"marker": "o"}),
        ),
        (not rates["reported"].all(), "search seeds alone", grey | SEARCHED),
        (bool(rates["failed"].any()), "trials failed", grey | FAILED),
    ]
    return [Line2D([], [], label=label, **look) for is_there, label, look in marks if is_there]


def _draw_rates(
    ax: Axes, cells: pd.DataFrame, rates: pd.DataFrame, everything: pd.DataFrame
) -> float:
    """One panel of the learning-rate figure; returns the height of its lowest strip."""
    rate_axis(ax)
    draw_chance(ax, cells["chance"])
    if rates.empty:
        absent(ax)
    foot, drawn = 0.0, list(curves(rates, everything))
    for look, curve in drawn:
        reported = curve[curve["reported"]].sort_values("learning_rate")
        mean_and_range(ax, reported, "learning_rate", "valid_accuracy", look)
        searched = curve[~curve["reported"]]
        ax.plot(searched["learning_rate"], searched["valid_accuracy"], **look | SEARCHED)
        early = reported[~reported["complete"]]
        ax.plot(early["learning_rate"], early["valid_accuracy"], **_hollow(look))
        for failed in curve.loc[curve["failed"], "learning_rate"]:
            at_foot = ax.get_xaxis_transform()  # what failed has no accuracy
            ax.plot([failed], [0.03], color=look["color"], transform=at_foot, **FAILED)
        cell: Any
        for cell in _at(cells, {"mixer": curve["mixer"].iloc[0]}).itertuples():
            chosen = reported[reported["learning_rate"] == cell.learning_rate]
            ring = {"color": look["color"], **CHOSEN}
            ax.plot(chosen["learning_rate"], chosen["valid_accuracy"], **ring)
            if pd.notna(cell.window_low):
                foot -= STRIP
                _window(ax, reported, cell, foot, look["color"], shade=0.3 / max(len(drawn), 2))
    return foot


def _window(
    ax: Axes, curve: pd.DataFrame, cell: Any, foot: float, colour: str, shade: float
) -> None:
    """Shade a curve over its window, and draw the window as a strip with arrows at open ends."""
    inside = curve[curve["learning_rate"].between(cell.window_low, cell.window_high)]
    ax.fill_between(
        inside["learning_rate"], inside["valid_accuracy"], color=colour, alpha=shade, linewidth=0
    )
    ends = [cell.window_low, cell.window_high]
    ax.plot(ends, [foot, foot], color=colour, linewidth=2.2, solid_capstyle="butt")
    marks = ["<" if cell.window_low_open else "|", ">" if cell.window_high_open else "|"]
    for end, mark in zip(ends, marks, strict=True):
        ax.plot(end, foot, marker=mark, color=colour, markersize=4)


def _over_seeds(trials: pd.DataFrame) -> pd.DataFrame:
    """One row for each cell and rate: mean, minimum and maximum of the validation accuracy over the
    seeds that are `reported`, and whether as many of them have ended there as anywhere in the cell.
    A rate without such a seed is told by those of the search."""
    trials = trials.assign(
        ended=trials["status"] == "complete",
        failed=trials["status"] == "failed",
        reported=~trials["searching"],
    )
    at_rate = trials.groupby(RATE)
    trials[["failed", "reported"]] = at_rate[["failed", "reported"]].transform("any")
    rates = (
        trials[trials["searching"] != trials["reported"]]
        .groupby(RATE, sort=False)
        .agg(
            valid_accuracy=("valid_accuracy", "mean"),
            valid_accuracy_min=("valid_accuracy", "min"),
            valid_accuracy_max=("valid_accuracy", "max"),
            ended=("ended", "sum"),
            failed=("failed", "any"),
            reported=("reported", "any"),
        )
        .reset_index()
    )
    most = rates["ended"].where(rates["reported"]).groupby([rates[name] for name in RATE[:-1]])
    return rates.assign(complete=rates["ended"] == most.transform("max"))


def _rows(cells: pd.DataFrame) -> list[tuple[str, int]]:
    """Each task with each of its depths."""
    pairs = cells[["task", "n_layers"]].drop_duplicates()
    return list(pairs.itertuples(index=False, name=None))


def _row_names(rows: list[tuple[str, int]]) -> list[str]:
    """The task, and the depth where there are several."""
    if len({depth for _, depth in rows}) == 1:
        return [task for task, _ in rows]
    return [f"{task}\n{layers(depth)}" for task, depth in rows]


def _at(frame: pd.DataFrame, place: dict[str, Any]) -> pd.DataFrame:
    """The rows whose columns have these values."""
    for column, value in place.items():
        frame = frame[frame[column] == value]
    return frame


def _of(cell: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that belong to a frame of one cell."""
    names = ["task", "mixer", "n_layers", "d_model"]
    return _at(frame, dict(zip(names, cell[names].iloc[0], strict=True)))


def _hollow(look: dict[str, Any]) -> dict[str, Any]:
    return look | {"linestyle": "", "markerfacecolor": "white", "zorder": 3}
