"""The recipe: settings that all trials of a study share, as part of the experiment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from recollect.plain import leaves
from recollect.studies.cell import Cell

OWN = ("mixer", "d_model", "n_layers")
"""Settings of a model that have columns of their own in tables."""


def common_settings(cells: Iterable[Cell]) -> dict[str, Any]:
    """The settings of model, training and search that all cells share, by dotted name."""
    settings = [dict(sorted(leaves(_settings(cell)))) for cell in cells]
    return {
        name: value
        for name, value in settings[0].items()
        if all(name in other and other[name] == value for other in settings)
    }


def own_settings(cell: Cell, common: Mapping[str, Any]) -> dict[str, Any]:
    """The other settings of a cell and those of its task, by dotted name."""
    settings = {"task": cell.template["task"], **_settings(cell)}
    return {name: value for name, value in sorted(leaves(settings)) if name not in common}


def _settings(cell: Cell) -> dict[str, Any]:
    model = {name: value for name, value in cell.template["model"].items() if name not in OWN}
    search = cell.search.model_dump(mode="json")
    seeds = list(cell.seeds)
    return {"model": model, "train": cell.template["train"], "search": search, "seeds": seeds}
