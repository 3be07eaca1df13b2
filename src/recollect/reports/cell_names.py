"""Names of cells in sentences: everything in which the cells of a table differ."""

from __future__ import annotations

from typing import Any

import pandas as pd


def cell_name(cell: Any, cells: pd.DataFrame) -> str:
    """A cell as `gru [mlp=gelu] at d_model 64 and 2 layers`.

    Args:
        cell: a row of `cells`.
        cells: a table of cells; the recipe is named if the mixer has several, the depth if the
            cells differ in depth.
    """
    several = cells.loc[cells["mixer"] == cell.mixer, "recipe"].nunique() > 1
    recipe = f" [{cell.recipe}]" if cell.recipe and several else ""
    return f"{cell.mixer}{recipe} at {size(cell, cells)}"


def size(cell: Any, cells: pd.DataFrame) -> str:
    """The width of a cell, and its depth if the cells of the table differ in depth."""
    depth = f" and {layers(cell.n_layers)}" if cells["n_layers"].nunique() > 1 else ""
    return f"d_model {cell.d_model}{depth}"


def layers(depth: int) -> str:
    """A depth in words."""
    return f"{depth} layer" if depth == 1 else f"{depth} layers"
