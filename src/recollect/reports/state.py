"""The figure of recall over state: test accuracy over the recurrent state that a model carries."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import cast

import pandas as pd

from recollect.analysis.scaling import state_bytes
from recollect.errors import UserError
from recollect.models.config import ModelConfig
from recollect.reports.canvas import Figure, Line2D, drawing
from recollect.reports.panels import (
    accuracy_axis,
    curves,
    draw_chance,
    legend,
    name_axes,
    named,
    panels,
    size_axis,
)
from recollect.reports.style import CHANCE
from recollect.reports.unlearnt import line_through_learnt, unlearnt_entry
from recollect.studies.cell import Cell
from recollect.tasks.task import Task, parse_task

NO_STEP, NOT_AT_HAND = "no step form", "mixer or task not at hand"


def with_state(cells: pd.DataFrame, listed: Sequence[Cell]) -> pd.DataFrame:
    """The cells with the size of their models' state.

    Args:
        cells: of a study, in its order (`studies.results.cells_frame`).
        listed: the same cells.

    Returns:
        `cells` with `state_bytes`, measured after as many tokens as the task's longest example has,
        in float32, all layers together; and `no_state`, why it is missing, else empty.
    """
    measured: dict[str, tuple[float, str]] = {}
    rows = []
    for cell in listed:
        key = json.dumps([cell.template["task"], cell.template["model"]], sort_keys=True)
        if key not in measured:
            measured[key] = _state(cell)
        rows.append(measured[key])
    found = pd.DataFrame(rows, columns=["state_bytes", "no_state"], index=cells.index)
    return pd.concat([cells, found], axis=1)


def state_figure(cells: pd.DataFrame) -> Figure:
    """Test accuracy over state: a panel for each task, a line through the widths at which each
    mixer has learnt, hollow points at the others.

    Args:
        cells: as `with_state` gives them; those without a state are left out.

    Raises:
        UserError: if no cell has one.
    """
    cells = cells[cells["state_bytes"].notna()]
    if cells.empty:
        raise UserError("no mixer of the study has a step form, so no state can be measured")
    cells = named(cells)
    tasks = list(cells["task"].unique())
    columns = min(len(tasks), 2)
    with drawing():
        figure, axes = panels(-(-len(tasks) // columns), columns, height=1.5)
        for ax in axes.flat[len(tasks) :]:
            ax.remove()
        for ax, task in zip(axes.flat, tasks, strict=False):
            panel = cells[cells["task"] == task]
            draw_chance(ax, panel["chance"])
            for look, curve in curves(panel, cells):
                ordered = curve.sort_values("state_bytes")
                line_through_learnt(ax, ordered, "state_bytes", "test_accuracy", look)
            ax.set_title(task)
            accuracy_axis(ax)
            size_axis(ax)
            ax.tick_params(labelbottom=True)
        name_axes(figure, axes, "state after the task's last token (bytes)", "test accuracy")
        chance = Line2D([], [], label="chance", **CHANCE)
        legend(figure, cells, chance, *unlearnt_entry(cells))
    return figure


def state_lines(cells: pd.DataFrame) -> Iterator[str]:
    """The cells that are not in the figure, and why, in words."""
    for why, rows in cells[cells["state_bytes"].isna()].groupby("no_state", sort=False):
        names = dict.fromkeys(f"{row.mixer} at d_model {row.d_model}" for row in rows.itertuples())
        yield f"not drawn, {why}: {', '.join(names)}"


def _state(cell: Cell) -> tuple[float, str]:
    try:
        task = cast(Task, parse_task(cell.template["task"]))
        model = ModelConfig(**cell.template["model"]).for_tasks([task])
    except UserError:
        return math.nan, NOT_AT_HAND
    held = state_bytes(model, task.max_len)
    return (math.nan, NO_STEP) if held is None else (held, "")
