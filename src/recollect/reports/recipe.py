"""What all trials of a study have in common: the recipe, which is part of the experiment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from recollect.plain import leaves
from recollect.studies.cell import Cell

OWN = ("mixer", "d_model", "n_layers")
"""Settings of a model that a table has columns for."""


def common_settings(cells: Iterable[Cell]) -> dict[str, Any]:
    """Dotted settings of model, training and search that are alike in every cell, by their
    names."""
    settings = [dict(sorted(leaves(_settings(cell)))) for cell in cells]
    return {
        name: value
        for name, value in settings[0].items()
        if all(name in other and other[name] == value for other in settings)
    }


def own_settings(cell: Cell, common: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted settings of a cell that are not among the common ones, and those of its task."""
    settings = {"task": cell.template["task"], **_settings(cell)}
    return {name: value for name, value in sorted(leaves(settings)) if name not in common}


def _settings(cell: Cell) -> dict[str, Any]:
    model = {name: value for name, value in cell.template["model"].items() if name not in OWN}
    search = cell.search.model_dump(mode="json")
    seeds = list(cell.seeds)
    return {"model": model, "train": cell.template["train"], "search": search, "seeds": seeds}
