"""Figure of test accuracy over the size of the recurrent state."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import cast

import pandas as pd

from recollect.analysis.scaling import state_size
from recollect.errors import UserError
from recollect.models.config import ModelConfig
from recollect.referee.verdict import Misbehaviour
from recollect.reports.canvas import Figure, Line2D, drawing
from recollect.reports.cell_names import cell_name
from recollect.reports.panels import (
    accuracy_axis,
    curves,
    draw_chance,
    legend,
    name_axes,
    named,
    panels,
    range_entry,
    size_axis,
    task_panels,
)
from recollect.reports.style import CHANCE
from recollect.reports.unlearnt import line_through_learnt, unlearnt_entry
from recollect.studies.cell import Cell
from recollect.tasks.task import Task, parse_task

NOT_FOUND = "mixer or task cannot be imported"
EMPTY = "a state of 0 bytes has no place on a logarithmic axis"


def with_state(cells: pd.DataFrame, listed: Sequence[Cell]) -> pd.DataFrame:
    """Add the size of recurrent states to a table of cells.

    Args:
        cells: the cells of a study, in its order (`studies.results.cells_frame`).
        listed: the same cells.

    Returns:
        `cells` with `state_bytes`, the state of all layers in float32, measured at the length of
        the task's longest example; and `no_state`, the reason if it is missing, else empty.
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
    """Draw test accuracy over the size of the recurrent state, one panel per task.

    A line joins the widths at which a mixer has learnt; the other widths are hollow points.

    Args:
        cells: a table from `with_state`; cells without a state or without a result are left out.

    Raises:
        UserError: if no cell has both.
    """
    reasons = "; ".join(state_lines(cells))
    cells = named(cells)[(cells["state_bytes"] > 0) & cells["test_accuracy"].notna()]
    if cells.empty:
        raise UserError(f"no cell of the study has both a state to draw and a result; {reasons}")
    tasks = cells["task"].nunique()
    columns = min(tasks, 2)
    with drawing():
        figure, axes = panels(-(-tasks // columns), columns, height=1.5)
        for ax, panel in task_panels(axes, cells):
            draw_chance(ax, panel["chance"])
            for look, curve in curves(panel, cells):
                ordered = curve.sort_values("state_bytes")
                line_through_learnt(ax, ordered, "state_bytes", "test_accuracy", look)
            accuracy_axis(ax)
            size_axis(ax)
            ax.tick_params(labelbottom=True)
        name_axes(figure, axes, "state after the task's last token (bytes)", "test accuracy")
        chance = Line2D([], [], label="chance", **CHANCE)
        legend(figure, cells, chance, *range_entry(cells), *unlearnt_entry(cells))
    return figure


def state_lines(cells: pd.DataFrame) -> Iterator[str]:
    """Lines about cells whose state is not in the figure, with the reason."""
    empty = cells["state_bytes"] == 0
    reasons = cells["no_state"].mask(empty, EMPTY)
    for why, rows in cells[cells["state_bytes"].isna() | empty].groupby(reasons, sort=False):
        names = dict.fromkeys(cell_name(row, cells) for row in rows.itertuples())
        yield f"not drawn, {why}: {', '.join(names)}"


def _state(cell: Cell) -> tuple[float, str]:
    try:
        task = cast(Task, parse_task(cell.template["task"]))
        model = ModelConfig(**cell.template["model"]).for_tasks([task])
    except UserError:
        return math.nan, NOT_FOUND
    try:
        return state_size(model, task.max_len).bytes, ""
    except (Misbehaviour, UserError) as error:
        return math.nan, str(error)
