"""Cells without a result because every learning rate diverged."""

from __future__ import annotations

from typing import Any

import pandas as pd


def how_diverged(cell: Any) -> str:
    """What became of the rates of a cell without a chosen rate: `every learning rate diverged`;
    empty for other cells."""
    if pd.notna(cell.learning_rate) or not cell.diverged:
        return ""
    if cell.diverged == cell.trials:
        return "every learning rate diverged"
    if cell.diverged + cell.failed == cell.trials:
        return "every learning rate diverged or failed"
    return "every learning rate that was trained to the end diverged" if cell.finished else ""
