"""Figures of language models on a text: slices (`language.slices.slice_frame`) and loss gaps
between models (`language.gap.gap_frame`)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recollect.language.ar_hits import PAPER_HIT_SHARE, Bound, bound_in_words
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
"""Heights of the panels and of a row of the legend, in inches."""
LABELS = 8
"""The most labels on the horizontal axis."""
AXES = {
    "train_count": "occurrences of the n-gram in training",
    "distance": "tokens since the n-gram's last occurrence",
    "position": "position in the context",
}
BAR: dict[str, Any] = {"color": GREY, "linewidth": 0.8}
"""An interval in the legend."""
BAND: dict[str, Any] = {"color": GREY, "linewidth": 5, "alpha": 0.3}
"""A band in the legend."""
BOUNDARY: dict[str, Any] = {"color": GREY, "linewidth": 0.6}
"""A line at 100 %: above it, a model beats the first one on the other tokens."""
ENDS = ("low", "high")
HITS, OTHER = "log_perplexity_hits", "log_perplexity_other"
AMONG = {"repeated": "repeated tokens", "hits": "AR hits", "other": "other tokens"}


def slice_figure(
    slices: pd.DataFrame, by: str, among: str, *, max_train_count: Bound = None
) -> Figure:
    """Draw perplexity of each model over training count, distance or position, in doubling bins.

    The lower panel shows the number of tokens in each bin.

    Args:
        slices: rows of all slices.
        by: "train_count", "distance" or "position".
        among: the tokens to include: "repeated", "hits" or "other".
        max_train_count: the bound on AR hits; marked on the axis of training counts, named in the
            legend of other figures.
    """
    chosen = slices[(slices["by"] == by) & (slices["among"] == among)]
    look = looks(slices["model"])
    handles = [Line2D([], [], label=title(model), **each.line()) for model, each in look.items()]
    mark = max_train_count if by == "train_count" else None
    if mark is not None:
        handles.append(Line2D([], [], label=f"seen {mark:,} times", **CHANCE))
    elif max_train_count is not None:
        bound = f"AR hits: {bound_in_words(max_train_count)}"
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


def curve_figure(curve: pd.DataFrame) -> Figure:
    """Draw the share of each model's loss gap on AR hits, over the bound on the training count.

    The gap is the one to the first model, its share is not clipped, and a band shows its interval.
    The lower panel shows the share of tokens that are AR hits.

    Args:
        curve: one row per bound, in ascending order, and model.
    """
    first = curve["model"].iloc[0]
    hits = curve[curve["model"] == first]
    drawn = curve[curve["model"].isin(curve.loc[curve["gap_share"].notna(), "model"])]
    look = looks(curve["model"])
    handles = [
        Line2D([], [], label=title(model), **look[model].line())
        for model in drawn["model"].unique()
    ]
    handles.append(Line2D([], [], label="nominal 95 % interval", **BAND))
    handles.append(Line2D([], [], label=f"{100 * PAPER_HIT_SHARE:.1f} % of the tokens", **CHANCE))
    with drawing():
        figure = _figure(handles)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        for model, rows in drawn.groupby("model", sort=False):
            line = look[str(model)].line()
            at, (low, high) = np.arange(len(rows)), (rows[f"gap_share_{end}"] for end in ENDS)
            upper.plot(at, 100 * rows["gap_share"], **line)
            upper.fill_between(at, 100 * low, 100 * high, color=line["color"], alpha=0.2, lw=0)
        upper.axhline(100, **BOUNDARY)
        upper.set_ylabel(f"share of gap to {title(first)}\non AR hits (%)")
        lower.bar(np.arange(len(hits)), 100 * hits["hit_share"], color=GREY)
        lower.axhline(100 * PAPER_HIT_SHARE, **CHANCE)
        lower.set_ylabel("hits (%)")
        lower.set_xlabel("largest training count of an AR hit")
        _bound_axis(lower, hits["max_train_count"])
    return figure


def hits_figure(rows: pd.DataFrame) -> Figure:
    """Draw log perplexity on AR hits over log perplexity on all other tokens, a point per model.

    Bars are intervals over documents and seeds; lines mark the first model, the reference of gaps.

    Args:
        rows: one row per model (`language.gap.gap_frame`).
    """
    look = looks(rows["model"])
    handles = [
        Line2D([], [], label=title(model), linestyle="", **each.line())
        for model, each in look.items()
    ]
    reference = rows.iloc[0]
    handles.append(Line2D([], [], label=f"level of {title(reference['model'])}", **CHANCE))
    if rows[f"{HITS}_low"].notna().any():
        handles.append(Line2D([], [], label="nominal 95 % interval", **BAR))
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
    """A figure of column width, with room for the legend above the panels."""
    columns = fitting_columns([str(each.get_label()) for each in handles], COLUMN)
    rows = math.ceil(len(handles) / columns)
    figure = Figure(figsize=(COLUMN, HEIGHT + LEGEND_ROW * rows), layout="constrained")
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)
    return figure


def _bar(row: dict[Hashable, Any], name: str) -> Any:
    """The error bar of a number for matplotlib; None without an interval."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return None if pd.isna(low) else [[row[name] - low], [high - row[name]]]


def places(lows: pd.Series) -> pd.Series:
    """Equally spaced places for bins that start at 0, 1, 2, 4, 8, ..."""
    return np.log2(lows.clip(lower=0.5)) + 1


def _bound_axis(ax: Axes, bounds: pd.Series) -> None:
    """Label every second bound and the last one, which is unlimited."""
    numbers = EngFormatter(sep="")
    shown = range((len(bounds) - 1) % 2, len(bounds), 2)
    labels = ["any" if pd.isna(bounds.iloc[i]) else numbers(bounds.iloc[i]) for i in shown]
    ax.set_xticks(list(shown), labels)


def _token_axis(ax: Axes) -> None:
    """Make the axis logarithmic from one token, with labels at some decades."""
    ax.set_yscale("log")
    ax.set_ylim(bottom=1)
    ax.yaxis.set_major_locator(LogLocator(base=10, numticks=4))
    ax.yaxis.set_major_formatter(EngFormatter(sep=""))
    ax.yaxis.set_minor_locator(NullLocator())


def _range_axis(ax: Axes, lows: pd.Series) -> None:
    """Label some of the bins with their lower ends."""
    every = -(-len(lows) // LABELS)
    shown = lows.iloc[::every]
    numbers = EngFormatter(sep="", places=0)
    ax.set_xticks(places(shown), [numbers(low) for low in shown])
