"""Figures of reproductions, drawn as in the papers.

Bars reach from the worst seed to the best; stars are numbers printed in the paper.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from recollect.papers.cell_results import STRINGS, VALID_STRINGS, CellResults
from recollect.papers.reproduction import Outcome, Published
from recollect.papers.results import PaperResults
from recollect.papers.width_depth import scaling_frame
from recollect.reports.canvas import Figure, Line2D, drawing
from recollect.reports.cell_names import layers
from recollect.reports.dynamics import dynamics_figure
from recollect.reports.figures import accuracy_figure, learning_rate_figure, training_figure
from recollect.reports.language_figures import curve_figure, hits_figure, slice_figure
from recollect.reports.panels import LETTER_INCHES, accuracy_below, in_words, named
from recollect.reports.sizes import sizes_figure
from recollect.reports.style import CHANCE, looks
from recollect.reports.unlearnt import HOLLOW, unlearnt, unlearnt_entry

STAR: dict[str, Any] = {
    "marker": "*",
    "markersize": 11,
    "markerfacecolor": "none",
    "linestyle": "",
    "color": "black",
    "clip_on": False,
}
"""A number printed in the paper; large, so that it surrounds an equal number of ours."""
LINE, PANEL = 0.2, 2.2
"""Height of a row and width of its panel, in inches."""
HEIGHT = 1.8
"""Height of a panel of the scaling figure, in inches."""
SIZES = {
    "layer_parameters": "parameters in layers",
    "state_bytes": "state after the task (bytes)",
}
METRICS: dict[str, str] = {
    "test_accuracy": "test accuracy",
    STRINGS: "share of correct strings",
}


def reproduction_figures(outcome: Outcome) -> dict[str, Figure]:
    """The figures by file name, the main one first; empty without results."""
    name, models = outcome.reproduction.name, outcome.results.language
    if outcome.reproduction.language is None:
        figure = reproduction_figure(outcome)
        return {} if figure is None else {name: figure}
    found = {}
    for each in filter(lambda each: each.tables, models):
        own = each.plan.name if len(models) > 1 else name
        slices = each.tables["slices"]
        found[own] = hits_figure(each.rows())
        found[f"{own}-curve"] = curve_figure(each.tables["gap"])
        bound = each.bound()
        found[f"{own}-train-count"] = slice_figure(
            slices, "train_count", "repeated", max_train_count=bound
        )
        found[f"{own}-distance"] = slice_figure(slices, "distance", "hits", max_train_count=bound)
    return found


def reproduction_figure(outcome: Outcome) -> Figure | None:
    """The figure of a reproduction's studies; None without results."""
    results, kind = outcome.results, outcome.reproduction.figure
    cells = results.cells
    if cells.empty or cells["test_accuracy"].isna().all():
        return None
    cells = cells.assign(recipe=_recipes(cells, outcome.reproduction.name))
    if kind == "learning-rate":
        if outcome.reproduction.metric == STRINGS:
            cells = cells.assign(**_windows_of_strings(results))
            trials = results.trials.assign(valid_accuracy=results.trials[VALID_STRINGS])
            return learning_rate_figure(cells, trials, METRICS[STRINGS])
        return learning_rate_figure(cells, results.trials)
    if kind == "dynamics":
        if results.dynamics is None:  # the folder beside the store is missing
            return training_figure(cells, results.history)
        return dynamics_figure(cells, results.history, results.dynamics)
    if kind == "scaling":
        return sizes_figure(named(scaling_frame(results)), SIZES, HEIGHT)
    if kind == "rows":
        finished = [cell for cell in results.all if cell.finished]
        if not finished:
            return None
        return rows_figure(finished, outcome.reproduction.published, outcome.reproduction.metric)
    return accuracy_figure(cells)


def rows_figure(cells: list[CellResults], published: tuple[Published, ...], metric: str) -> Figure:
    """Draw one row per model, as in a paper's table: measured and printed accuracy.

    Args:
        cells: finished cells, in the order of the table.
        published: the printed numbers.
        metric: the column of `trials_frame` that the paper reports.
    """
    names = _row_names(cells)
    look = looks([cell.cell.mixer for cell in cells])
    rows = pd.DataFrame([cell.row for cell in cells])
    with drawing():
        size = LETTER_INCHES * max(map(len, names)) + PANEL, LINE * len(cells) + 0.9
        figure = Figure(figsize=size, layout="constrained")
        ax = figure.subplots()
        if metric == "test_accuracy":
            for chance in {cell.cell.chance for cell in cells}:
                ax.axvline(chance, **CHANCE)
        for (place, cell), is_stuck in zip(enumerate(cells), unlearnt(rows), strict=True):
            accuracy = cell.accuracy(metric)
            marker = look[cell.cell.mixer].line() | {"linestyle": ""} | (HOLLOW if is_stuck else {})
            ax.hlines(place, accuracy.low, accuracy.high, color="black", linewidth=0.8)
            ax.plot(accuracy.value, place, **marker)
            for printed in published:
                if cell.fits(printed.where):
                    ax.plot(printed.value, place, **STAR)
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.3, -0.7)
        accuracy_below(ax)
        ax.set_xlabel(METRICS[metric])
        handles = [Line2D([], [], label="printed in the paper", **STAR)] if published else []
        if metric == "test_accuracy":
            handles.append(Line2D([], [], label="chance", **CHANCE))
        handles += unlearnt_entry(rows)
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def _windows_of_strings(results: PaperResults) -> dict[str, list[Any]]:
    """The window columns of `cells_frame`, by whole strings; their chance level is about 0."""
    windows = [cell.window(VALID_STRINGS) for cell in results.all if cell.row is not None]
    return {
        "chance": [0.0] * len(windows),
        "window_low": [window and window.low_edge for window in windows],
        "window_high": [window and window.high_edge for window in windows],
        "window_low_open": [window and not window.low_is_edge for window in windows],
        "window_high_open": [window and not window.high_is_edge for window in windows],
    }


def _recipes(cells: pd.DataFrame, name: str) -> pd.Series:
    """The recipe; if a figure shows several studies, with the differing part of their names."""
    added = cells["study"].str.removesuffix("-paper").str.removeprefix(name).str.strip("-")
    if added.nunique() == 1:
        return cells["recipe"]
    return cells["recipe"].str.cat(added, sep=", ").str.strip(", ")


def _row_names(cells: list[CellResults]) -> list[str]:
    """Mixer and recipe, with depth and width if they differ, and the steps of equal models."""
    frame = pd.DataFrame([cell.row for cell in cells])
    several_depths, several_widths = (frame[size].nunique() > 1 for size in ("n_layers", "d_model"))
    names = [
        ", ".join(
            [
                in_words(str(mixer), None),
                *([layers(depth)] if several_depths else []),
                *([f"d_model {width}"] if several_widths else []),
            ]
        )
        for mixer, depth, width in zip(
            named(frame)["mixer"], frame["n_layers"], frame["d_model"], strict=True
        )
    ]
    return [
        f"{name}, {steps:,} steps" if names.count(name) > 1 else name
        for name, steps in zip(names, frame["budget"], strict=True)
    ]
