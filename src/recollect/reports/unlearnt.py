"""How figures show models that have not learnt: their accuracy tells of the budget and the rates
that were tried, and is drawn apart from what models have reached."""

from __future__ import annotations

from typing import Any

import pandas as pd

from recollect.reports.canvas import Axes, Line2D
from recollect.reports.panels import mean_and_range
from recollect.reports.style import GREY
from recollect.studies.learnt import has_not_learnt

HOLLOW: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": GREY, "linestyle": ""}
"""Over the look of a mixer: its marker, hollow and edged in grey."""

IN_WORDS = "not learnt in the budget"
UNLEARNT: dict[str, Any] = {"label": IN_WORDS, "color": GREY, "marker": "o"} | HOLLOW
"""How hollow points look in a legend."""


def unlearnt(cells: pd.DataFrame) -> pd.Series:
    """Which cells have not learnt."""
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
    """Means with the range over seeds (`panels.mean_and_range`): a line through the cells that have
    learnt, hollow points beside it for the others."""
    stuck = unlearnt(cells)
    for part, its_look in ((cells[~stuck], look), (cells[stuck], look | HOLLOW)):
        if not part.empty:
            mean_and_range(ax, part, x, y, its_look, bars_at=bars_at)


def unlearnt_entry(cells: pd.DataFrame) -> list[Line2D]:
    """The legend's entry for hollow points, where there are any."""
    if not (unlearnt(cells) & cells["test_accuracy"].notna()).any():
        return []
    return [Line2D([], [], **UNLEARNT)]
