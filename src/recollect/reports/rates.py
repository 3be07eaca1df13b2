"""A panel of accuracy over learning rate: curves, chosen rates, windows and failed trials.

Below accuracy 0, each mixer with a window or failed trials has a line of its own.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from recollect.reports.canvas import Axes, Line2D
from recollect.reports.panels import absent, curves, draw_chance, mean_and_range, rate_axis
from recollect.reports.style import ANY, CHANCE
from recollect.reports.unlearnt import HOLLOW, UNLEARNT, unlearnt

RATE = ["task", "mixer", "n_layers", "d_model", "learning_rate"]
CHOSEN: dict[str, Any] = {
    "marker": "o",
    "markersize": 7.5,
    "markerfacecolor": "none",
    "linestyle": "",
    "clip_on": False,
}
FAILED: dict[str, Any] = {"marker": "x", "markersize": 5.5, "linestyle": "", "zorder": 4}
SEARCHED: dict[str, Any] = {
    "markersize": 2.8,
    "markeredgewidth": 0.6,
    "markerfacecolor": "white",
    "linestyle": "",
}
OPEN: dict[str, Any] = {"linestyle": "", "markerfacecolor": "white", "zorder": 3}
STRIP = 0.08
"""Height of a mixer's line at the bottom of a panel, in units of accuracy."""


def over_seeds(trials: pd.DataFrame) -> pd.DataFrame:
    """One row per cell and learning rate, over seeds.

    A row has mean, minimum and maximum of the validation accuracy over the reported seeds.
    `complete` is true if the number of seeds that ended is the largest of the cell. A rate without
    reported seeds is summarised over the search seeds, with `reported` false.
    """
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
    complete = (rates["ended"] > 0) & (rates["ended"] == most.transform("max"))
    return rates.assign(complete=complete)


def rate_marks(cells: pd.DataFrame, rates: pd.DataFrame) -> list[Line2D]:
    """The legend entries of the marks that occur."""
    of_any: dict[str, Any] = {"color": ANY}
    point = of_any | {"marker": "o"}
    learnt = cells.loc[~unlearnt(cells), RATE[:-1]].merge(rates[rates["reported"]])
    learnt = learnt.dropna(subset="valid_accuracy")
    marks: list[tuple[bool, str, dict[str, Any]]] = [
        (True, "chance", CHANCE),
        (bool(cells["learning_rate"].notna().any()), "chosen rate", of_any | CHOSEN),
        (bool(cells["window_low"].notna().any()), "window", of_any | {"linewidth": 3}),
        (not learnt["complete"].all(), "not all seeds ended", point | OPEN),
        (not rates["reported"].all(), "search seeds only", point | SEARCHED),
        (bool(rates["failed"].any()), "trials failed", of_any | FAILED),
    ]
    there = [Line2D([], [], label=label, **look) for is_there, label, look in marks if is_there]
    return [*there, *([Line2D([], [], **UNLEARNT)] if unlearnt(cells).any() else [])]


def draw_rates(
    ax: Axes, cells: pd.DataFrame, rates: pd.DataFrame, everything: pd.DataFrame
) -> float:
    """Draw one panel of cells of one depth and width; returns the height of its lowest line."""
    rate_axis(ax)
    draw_chance(ax, cells["chance"])
    if rates.empty:
        absent(ax)
    foot, drawn = 0.0, list(curves(rates, everything))
    for look, curve in drawn:
        cell: Any = next(cells[cells["mixer"] == curve["mixer"].iloc[0]].itertuples())
        is_stuck = bool(unlearnt(cells).loc[cell.Index])
        _draw_curve(ax, curve.sort_values("learning_rate"), cell, look, is_stuck)
        has_window = pd.notna(cell.window_low)
        if has_window or curve["failed"].any():
            foot -= STRIP
            _failed(ax, curve, foot, look)
        if has_window:
            _window(ax, curve[curve["reported"]], cell, foot, look, 0.3 / max(len(drawn), 2))
    return foot


def _draw_curve(
    ax: Axes, rates: pd.DataFrame, cell: Any, look: dict[str, Any], is_stuck: bool
) -> None:
    """Draw reported rates, joined by a line if the cell has learnt, and other rates as points."""
    reported, searched = rates[rates["reported"]], rates[~rates["reported"]]
    joined = look | HOLLOW if is_stuck else look
    mean_and_range(ax, reported, "learning_rate", "valid_accuracy", joined)
    _points(ax, searched, look | SEARCHED)
    if not is_stuck:
        _points(ax, reported[~reported["complete"]], look | OPEN)
    chosen = reported[reported["learning_rate"] == cell.learning_rate]
    _points(ax, chosen, {"color": look["color"], **CHOSEN})


def _points(ax: Axes, rates: pd.DataFrame, look: dict[str, Any]) -> None:
    """Draw points without a line.

    An empty line that is not clipped would have infinite size in a layout, so none is drawn.
    """
    rates = rates.dropna(subset="valid_accuracy")
    if not rates.empty:
        ax.plot(rates["learning_rate"], rates["valid_accuracy"], **look)


def _failed(ax: Axes, rates: pd.DataFrame, foot: float, look: dict[str, Any]) -> None:
    """Draw a crossed-out marker at each rate with failed trials, which have no accuracy."""
    for rate in rates.loc[rates["failed"], "learning_rate"]:
        ax.plot([rate], [foot], **look | OPEN)
        ax.plot([rate], [foot], color=look["color"], **FAILED)


def _window(
    ax: Axes, curve: pd.DataFrame, cell: Any, foot: float, look: dict[str, Any], shade: float
) -> None:
    """Shade a curve over its window, and draw the window as a strip with the mixer's marker.

    Open ends of the window are arrows.
    """
    colour = look["color"]
    inside = curve[curve["learning_rate"].between(cell.window_low, cell.window_high)]
    ax.fill_between(
        inside["learning_rate"], inside["valid_accuracy"], color=colour, alpha=shade, linewidth=0
    )
    ends = [cell.window_low, cell.window_high]
    ax.plot(ends, [foot, foot], color=colour, linewidth=1.8, solid_capstyle="butt")
    marks = ["<" if cell.window_low_open else "|", ">" if cell.window_high_open else "|"]
    for end, mark in zip(ends, marks, strict=True):
        ax.plot(end, foot, marker=mark, color=colour, markersize=4)
    middle = (cell.window_low * cell.window_high) ** 0.5
    ax.plot(middle, foot, **look | OPEN)
