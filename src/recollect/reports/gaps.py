"""Figure of accuracy at the end of training, over key-query distance and over pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recollect.analysis.dynamics import Observation
from recollect.reports.canvas import Figure, Line2D, MaxNLocator, drawing
from recollect.reports.panels import (
    accuracy_axis,
    curves,
    headings,
    legend,
    mean_and_range,
    named,
    observed_cells,
)
from recollect.reports.style import CHANCE, COLUMN


def gaps_figure(cells: pd.DataFrame, dynamics: Observation) -> Figure:
    """Draw validation accuracy at the chosen rate, one row per task and width.

    The left panel is over the distance in tokens from the last earlier occurrence of the key to the
    query, in bins between powers of two. The right panel is over the position of the queried pair
    among all pairs.
    """
    gaps, pairs = (_last_step(named(table, cells)) for table in (dynamics.gaps, dynamics.pairs))
    cells = observed_cells(named(cells), named(dynamics.pairs, cells))
    gaps["place"] = 2.0 ** np.floor(np.log2(gaps["gap"]))
    pairs["place"] = pairs["pair"] + 1.0
    rows = list(cells[["task", "d_model"]].drop_duplicates().itertuples(index=False, name=None))
    with drawing():
        figure = Figure(figsize=(COLUMN, 1.3 * len(rows) + 1.0), layout="constrained")
        axes = figure.subplots(len(rows), 2, sharex="col", sharey=True, squeeze=False)
        for (task, width), row in zip(rows, axes, strict=True):
            for ax, table in zip(row, (gaps, pairs), strict=True):
                panel = table[(table["task"] == task) & (table["d_model"] == width)]
                ax.axhline(cells.loc[cells["task"] == task, "chance"].iloc[0], **CHANCE)
                for look, curve in curves(panel, cells):
                    mean_and_range(ax, _over_seeds(curve), "place", "accuracy", look)
        accuracy_axis(axes[0, 0])
        axes[0, 0].set_xscale("log", base=2)
        axes[0, 0].xaxis.set_major_formatter(lambda gap, _: f"{gap:g}")
        axes[0, 1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes[-1, 0].set_xlabel("distance (tokens)")
        axes[-1, 1].set_xlabel("pair (in the order read)")
        headings(axes, _row_names(rows), ["", ""])
        figure.supylabel("validation accuracy")
        legend(figure, cells, Line2D([], [], label="chance", **CHANCE))
    return figure


def _last_step(table: pd.DataFrame) -> pd.DataFrame:
    """The last observation of each trial."""
    last: Any = table.groupby("key")["step"].transform("max")
    return table[table["step"] == last].copy()


def _over_seeds(curve: pd.DataFrame) -> pd.DataFrame:
    """One row per place: mean, minimum and maximum over seeds of the accuracy."""
    right = curve.assign(right=curve["accuracy"] * curve["answers"])
    sums = right.groupby(["place", "seed"])[["right", "answers"]].sum()
    shares = (sums["right"] / sums["answers"]).groupby("place")
    return shares.agg(accuracy="mean", accuracy_min="min", accuracy_max="max").reset_index()


def _row_names(rows: list[tuple[str, int]]) -> list[str]:
    return [f"{task}\nd_model = {width}" for task, width in rows]
