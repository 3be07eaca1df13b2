"""Figures of models that have not learnt.

Their accuracy says more about the budget and the tried rates than about the model, so it is drawn
differently.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from recollect.reports.canvas import Axes, Line2D
from recollect.reports.panels import mean_and_range
from recollect.reports.style import GREY
from recollect.studies.learnt import has_not_learnt

HOLLOW: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": GREY, "linestyle": ""}
"""Changes to a mixer's look: a hollow marker with a grey edge."""

IN_WORDS = "not learnt in the budget"
UNLEARNT: dict[str, Any] = {"label": IN_WORDS, "color": GREY, "marker": "o"} | HOLLOW
"""The legend entry of hollow points."""


def unlearnt(cells: pd.DataFrame) -> pd.Series:
    """True for each cell that has not learnt."""
    return pd.Series([has_not_learnt(cell) for cell in cells.itertuples()], cells.index, bool)


def line_through_learnt(
    ax: Axes,
    cells: pd.DataFrame,
    x: str,
    y: str,
    look: dict[str, Any],
    *,
    bars_at: str | None = None,
) -> None:
    """Draw means and ranges over seeds (`panels.mean_and_range`): a line through cells that have
    learnt, hollow points for others."""
    stuck = unlearnt(cells)
    for part, its_look in ((cells[~stuck], look), (cells[stuck], look | HOLLOW)):
        if not part.empty:
            mean_and_range(ax, part, x, y, its_look, bars_at=bars_at)


def unlearnt_entry(cells: pd.DataFrame) -> list[Line2D]:
    """The legend entry for hollow points, if there are any."""
    if not (unlearnt(cells) & cells["test_accuracy"].notna()).any():
        return []
    return [Line2D([], [], **UNLEARNT)]
