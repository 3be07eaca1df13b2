"""Figures of language models on a text, from their slices (`language.slices.slice_frame`)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recollect.reports.canvas import (
    Axes,
    EngFormatter,
    Figure,
    Line2D,
    LogLocator,
    NullLocator,
    drawing,
)
from recollect.reports.panels import absent, fitting_columns, loss_axis
from recollect.reports.style import CHANCE, COLUMN, GREY, looks
from recollect.reports.titles import title

HEIGHT, LEGEND_ROW = 2.8, 0.15
"""Of the panels, and of a row of the legend above them, in inches."""
LABELS = 8
"""At the horizontal axis, at most."""
AXES = {
    "train_count": "times that the n-gram was seen in training",
    "distance": "tokens back to where the n-gram occurred last",
    "position": "tokens before it in the context",
}
BAR: dict[str, Any] = {"color": GREY, "linewidth": 0.8}
"""How an interval looks in the legend."""
HITS, OTHER = "log_perplexity_hits", "log_perplexity_other"
AMONG = {"repeated": "repeated tokens", "hits": "AR hits", "other": "other tokens"}


def slice_figure(
    slices: pd.DataFrame, by: str, among: str, *, max_train_count: int | None = None
) -> Figure:
    """Perplexity of each model over training count, distance or position, in ranges that double;
    below it how many tokens are in each range.

    Args:
        slices: rows of all slices.
        by: "train_count", "distance" or "position".
        among: of which tokens: "repeated", "hits" or "other".
        max_train_count: the bound on AR hits: marked on the axis of training counts, told
            elsewhere.
    """
    chosen = slices[(slices["by"] == by) & (slices["among"] == among)]
    look = looks(slices["model"])
    handles = [Line2D([], [], label=title(model), **each.line()) for model, each in look.items()]
    mark = max_train_count if by == "train_count" else None
    if mark is not None:
        handles.append(Line2D([], [], label=f"seen {mark:,} times", **CHANCE))
    elif max_train_count is not None:
        bound = f"AR hits: seen at most {max_train_count:,} times"
        handles.append(Line2D([], [], label=bound, linestyle=""))
    with drawing():
        figure = _figure(handles)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        upper.set_ylabel(f"perplexity on {AMONG[among]}")
        lower.set_ylabel("tokens")
        lower.set_xlabel(AXES[by])
        if chosen.empty:
            absent(upper)
            return figure
        for model, rows in chosen.groupby("model", sort=False):
            upper.plot(places(rows["low"]), rows["perplexity"], **look[str(model)].line())
        ranges = chosen.drop_duplicates("low").sort_values("low")
        lower.bar(places(ranges["low"]), ranges["tokens"], color=GREY)
        loss_axis(upper)
        _token_axis(lower)
        _range_axis(lower, ranges["low"])
        if mark is not None:
            for ax in (upper, lower):
                ax.axvline(math.log2(mark + 1) + 0.5, **CHANCE)
    return figure


def hits_figure(rows: pd.DataFrame) -> Figure:
    """Log perplexity on AR hits over that on all other tokens, a point for each model with its
    intervals over documents; lines mark the first model, to which the gaps are.

    Args:
        rows: of the gap, one for each model (`language.gap.gap_frame`).
    """
    look = looks(rows["model"])
    handles = [
        Line2D([], [], label=title(model), linestyle="", **each.line())
        for model, each in look.items()
    ]
    reference = rows.iloc[0]
    handles.append(Line2D([], [], label=f"level of {title(reference['model'])}", **CHANCE))
    if f"{HITS}_low" in rows:
        handles.append(Line2D([], [], label="95 % interval over documents", **BAR))
    with drawing():
        figure = _figure(handles)
        ax = figure.subplots()
        ax.axvline(reference[OTHER], **CHANCE)
        ax.axhline(reference[HITS], **CHANCE)
        for row in rows.to_dict("records"):
            line = look[row["model"]].line() | {"linestyle": ""}
            bars = {"xerr": _bar(row, OTHER), "yerr": _bar(row, HITS)}
            ax.errorbar(row[OTHER], row[HITS], elinewidth=BAR["linewidth"], **bars, **line)
        ax.set_xlabel("log perplexity on other tokens")
        ax.set_ylabel("log perplexity on AR hits")
    return figure


def _figure(handles: Sequence[Line2D]) -> Figure:
    """A column wide, with the legend above the panels and room for all of its rows."""
    columns = fitting_columns([str(each.get_label()) for each in handles], COLUMN)
    rows = math.ceil(len(handles) / columns)
    figure = Figure(figsize=(COLUMN, HEIGHT + LEGEND_ROW * rows), layout="constrained")
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)
    return figure


def _bar(row: dict[Hashable, Any], name: str) -> Any:
    """From a number to the ends of its interval, as matplotlib takes it; None without one."""
    if f"{name}_low" not in row:
        return None
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return [[max(0.0, row[name] - low)], [max(0.0, high - row[name])]]  # of few documents


def places(lows: pd.Series) -> pd.Series:
    """Where ranges stand that begin with 0, 1, 2, 4, 8, ...: side by side."""
    return np.log2(lows.clip(lower=0.5)) + 1


def _token_axis(ax: Axes) -> None:
    """Logarithmic, from one token on, labelled at some decades."""
    ax.set_yscale("log")
    ax.set_ylim(bottom=1)
    ax.yaxis.set_major_locator(LogLocator(base=10, numticks=4))
    ax.yaxis.set_major_formatter(EngFormatter(sep=""))
    ax.yaxis.set_minor_locator(NullLocator())


def _range_axis(ax: Axes, lows: pd.Series) -> None:
    """A label at some of the ranges: the number with which it begins."""
    every = -(-len(lows) // LABELS)
    shown = lows.iloc[::every]
    numbers = EngFormatter(sep="", places=0)
    ax.set_xticks(places(shown), [numbers(low) for low in shown])
