"""Figures of language models on a text: of their slices (`language.slices.slice_frame`), and of the
gap between them (`language.gap.gap_frame`)."""

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
BAND: dict[str, Any] = {"color": GREY, "linewidth": 5, "alpha": 0.3}
"""How a band looks in the legend."""
BOUNDARY: dict[str, Any] = {"color": GREY, "linewidth": 0.6}
"""All of a gap: beyond it, a model is ahead of the first on the other tokens."""
ENDS = ("low", "high")
HITS, OTHER = "log_perplexity_hits", "log_perplexity_other"
AMONG = {"repeated": "repeated tokens", "hits": "AR hits", "other": "other tokens"}


def slice_figure(
    slices: pd.DataFrame, by: str, among: str, *, max_train_count: Bound = None
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
    """The share of each model's gap to the first that lies on AR hits, unclipped, over the bound on
    the training count, with a band for its interval; below it the share of tokens that are hits.

    Args:
        curve: a row for each bound, in ascending order, and each model.
    """
    first = curve["model"].iloc[0]
    hits = curve[curve["model"] == first]
    drawn = curve[curve["model"].isin(curve.loc[curve["gap_share"].notna(), "model"])]
    look = looks(curve["model"])
    handles = [
        Line2D([], [], label=title(model), **look[model].line())
        for model in drawn["model"].unique()
    ]
    handles.append(Line2D([], [], label="95 % interval", **BAND))
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
        upper.set_ylabel(f"gap to {title(first)} on AR hits (%)")
        lower.bar(np.arange(len(hits)), 100 * hits["hit_share"], color=GREY)
        lower.axhline(100 * PAPER_HIT_SHARE, **CHANCE)
        lower.set_ylabel("hits (%)")
        lower.set_xlabel("hits: n-gram seen at most so often in training")
        _bound_axis(lower, hits["max_train_count"])
    return figure


def hits_figure(rows: pd.DataFrame) -> Figure:
    """Log perplexity on AR hits over that on all other tokens, a point for each model with its
    intervals over documents and seeds; lines mark the first model, to which the gaps are.

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
    if rows[f"{HITS}_low"].notna().any():
        handles.append(Line2D([], [], label="95 % interval", **BAR))
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
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return None if pd.isna(low) else [[row[name] - low], [high - row[name]]]


def places(lows: pd.Series) -> pd.Series:
    """Where ranges stand that begin with 0, 1, 2, 4, 8, ...: side by side."""
    return np.log2(lows.clip(lower=0.5)) + 1


def _bound_axis(ax: Axes, bounds: pd.Series) -> None:
    """A label at every second bound, and at the last, which is none."""
    numbers = EngFormatter(sep="")
    shown = range((len(bounds) - 1) % 2, len(bounds), 2)
    labels = ["any" if pd.isna(bounds.iloc[i]) else numbers(bounds.iloc[i]) for i in shown]
    ax.set_xticks(list(shown), labels)


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
