"""Figure of accuracy over decoding throughput and over recurrent state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

import pandas as pd

from recollect.errors import UserError
from recollect.reports.canvas import Figure, Line2D, drawing
from recollect.reports.panels import named
from recollect.reports.sizes import sizes_figure
from recollect.reports.style import GREY
from recollect.studies.cell import Cell
from recollect.tasks.task import Task, parse_task

PANEL = 2.0
"""Height of a panel, in inches."""
COSTS = {"decoding": "decoding, tokens per second", "state": "state of a sequence, bytes"}


def task_lengths(cells: Iterable[Cell]) -> dict[str, int]:
    """The longest sequence of each task, in tokens.

    Raises:
        UserError: if the class of a task cannot be imported or has changed.
    """
    return {c.task: cast(Task, parse_task(c.template["task"])).max_len for c in cells}


def with_costs(
    cells: pd.DataFrame, bench: pd.DataFrame, lengths: Mapping[str, int]
) -> pd.DataFrame:
    """Add the costs of each cell's mixer at its width.

    Args:
        cells: the cells of a study (`studies.results.cells_frame`).
        bench: a table from `bench_file.read_bench`.
        lengths: the length of each task, from `task_lengths`.

    Returns:
        `cells` with `decoding` and `state` at the measured length nearest to the task's, by ratio;
        missing if the mixer was not measured at that width.
    """
    costs = [_cost(cell, bench, lengths[str(cell.task)]) for cell in cells.itertuples()]
    return cells.assign(**{name: [cost[name] for cost in costs] for name in COSTS})


def tradeoff_figure(cells: pd.DataFrame) -> Figure:
    """Draw test accuracy over decoding throughput (left) and recurrent state (right) of one layer.

    There is one row per task, and a line through the widths at which a mixer has learnt.

    Args:
        cells: a table from `with_costs`; cells without costs are left out.

    Raises:
        UserError: if no cell has costs.
    """
    cells = named(cells)[cells["state"].notna()]
    if cells.empty:
        raise UserError(
            "no mixer of the study was measured at its width: run `recollect bench mixers` with its"
            " --mixers and --widths"
        )
    widths = sorted(cells["d_model"].unique())
    joined = f"lines join d_model {', '.join(map(str, widths))}"
    with drawing():
        lines = [Line2D([], [], color=GREY, label=joined)] if len(widths) > 1 else []
    names = {cost: f"{name}, one layer" for cost, name in COSTS.items()}
    return sizes_figure(cells, names, PANEL, *lines)


def _cost(cell: Any, bench: pd.DataFrame, length: int) -> dict[str, float]:
    its = bench[(bench["mixer"] == cell.mixer) & (bench["d_model"] == cell.d_model)]
    if its.empty:
        return dict.fromkeys(COSTS, math.nan)
    nearest = min(its["length"], key=lambda n: (abs(math.log(n / length)), n))
    return its[its["length"] == nearest].iloc[0][list(COSTS)].to_dict()
