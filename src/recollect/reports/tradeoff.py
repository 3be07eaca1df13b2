"""The figure of what recall costs: accuracy over decoding throughput and over state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

import pandas as pd

from recollect.errors import UserError
from recollect.reports.canvas import Axes, Figure, Line2D, drawing
from recollect.reports.panels import (
    accuracy_axis,
    curves,
    draw_chance,
    legend,
    named,
    size_axis,
)
from recollect.reports.style import CHANCE, GREY, PAGE
from recollect.reports.unlearnt import line_through_learnt, unlearnt_entry
from recollect.studies.cell import Cell
from recollect.tasks.task import Task, parse_task

PANEL = 2.0
"""Height of a panel, in inches."""
COSTS = {"decoding": "decoding, tokens per second", "state": "state of a sequence, bytes"}


def task_lengths(cells: Iterable[Cell]) -> dict[str, int]:
    """The longest length of each task, in tokens.

    Raises:
        UserError: where a task is not at hand as it was stored.
    """
    return {c.task: cast(Task, parse_task(c.template["task"])).max_len for c in cells}


def with_costs(
    cells: pd.DataFrame, bench: pd.DataFrame, lengths: Mapping[str, int]
) -> pd.DataFrame:
    """The cells with what their mixer costs at their width.

    Args:
        cells: of a study (`studies.results.cells_frame`).
        bench: as `bench_file.read_bench` gives it.
        lengths: of the tasks.

    Returns:
        `cells` with `decoding` and `state` at the measured length that is nearest to the task's, as
        a ratio; missing where mixer or width was not measured.
    """
    costs = [_cost(cell, bench, lengths[str(cell.task)]) for cell in cells.itertuples()]
    return cells.assign(**{name: [cost[name] for cost in costs] for name in COSTS})


def tradeoff_figure(cells: pd.DataFrame) -> Figure:
    """Test accuracy over decoding throughput (left) and over state (right), each of one layer: a
    row for each task, a line through the widths at which each mixer has learnt.

    Args:
        cells: as `with_costs` gives them; those without costs are left out.

    Raises:
        UserError: if no cell has costs.
    """
    cells = cells[cells["state"].notna()]
    if cells.empty:
        raise UserError(
            "no mixer of the study was measured at its width: name them to `recollect bench mixers`"
            " with --mixers and --widths"
        )
    cells = named(cells)
    tasks = list(cells["task"].unique())
    widths = sorted(cells["d_model"].unique())
    with drawing():
        figure = Figure(figsize=(PAGE, PANEL * len(tasks) + 0.7), layout="constrained")
        axes = figure.subplots(len(tasks), 2, sharex="col", sharey=True, squeeze=False)
        for task, row in zip(tasks, axes, strict=True):
            panel = cells[cells["task"] == task]
            for cost, ax in zip(COSTS, row, strict=True):
                _draw(ax, panel, cells, cost)
            row[0].set_ylabel(f"{task}\ntest accuracy")
            accuracy_axis(row[0])
        for ax, label in zip(axes[-1], COSTS.values(), strict=True):
            ax.set_xlabel(f"{label}, one layer")
            size_axis(ax)
        joined = f"joined: d_model {', '.join(map(str, widths))}"
        lines = [Line2D([], [], color=GREY, label=joined)] if len(widths) > 1 else []
        chance = Line2D([], [], label="chance", **CHANCE)
        legend(figure, cells, chance, *lines, *unlearnt_entry(cells))
    return figure


def _cost(cell: Any, bench: pd.DataFrame, length: int) -> dict[str, float]:
    its = bench[(bench["mixer"] == cell.mixer) & (bench["d_model"] == cell.d_model)]
    if its.empty:
        return dict.fromkeys(COSTS, math.nan)
    nearest = min(its["length"], key=lambda n: (abs(math.log(n / length)), n))
    return its[its["length"] == nearest].iloc[0][list(COSTS)].to_dict()


def _draw(ax: Axes, panel: pd.DataFrame, cells: pd.DataFrame, cost: str) -> None:
    draw_chance(ax, panel["chance"])
    for look, curve in curves(panel, cells):
        line_through_learnt(ax, curve.sort_values("d_model"), cost, "test_accuracy", look)
