"""Figure of capacity: bits recovered from recurrent states, over the size of the states.

Two lines show limits (`analysis.capacity`): the stored bits, and the capacity of a linear
associative memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pandas as pd

from recollect.analysis.capacity import LINEAR_BITS, RAW_BITS, asked, state_asked
from recollect.errors import UserError
from recollect.models.config import ModelConfig
from recollect.referee.verdict import Misbehaviour
from recollect.reports.canvas import Axes, Figure, FixedLocator, Line2D, drawing
from recollect.reports.panels import curves, legend, named, size_axis, task_panels
from recollect.reports.state import NOT_FOUND
from recollect.reports.style import COLUMN, GREY, PAGE
from recollect.reports.unlearnt import line_through_learnt, unlearnt_entry
from recollect.studies.cell import CELL_NAMES, Cell
from recollect.tasks.task import Task, parse_task

COLUMNS = (
    "asked_bits",
    "recovered_bits",
    "recovered_bits_min",
    "recovered_bits_max",
    "state_numbers",
    "bits_per_number",
    "bits_per_bit",
    "no_capacity",
)
PANEL = 2.2
"""Height of a panel, in inches."""
RAW: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (1, 1.2))}
LINEAR: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (4, 1.5))}
ASKED: dict[str, Any] = {"color": GREY, "linewidth": 0.8}


def with_capacity(
    cells: pd.DataFrame, trials: pd.DataFrame, listed: Sequence[Cell]
) -> pd.DataFrame:
    """Add the capacity of recurrent states to a table of cells.

    Args:
        cells: the cells of a study, in its order (`studies.results.cells_frame`).
        trials: the trials of the same study (`studies.results.trials_frame`).
        listed: the same cells.

    Returns:
        `cells` with `asked_bits`, the entropy of the answers; `recovered_bits` at the mean loss
        over the seeds, with `_min` and `_max` of the worst and best seed; `state_numbers`, the size
        of the state before the first question; `bits_per_number` and `bits_per_bit` of that state.
        These are missing if there is no result, or for the reason in `no_capacity`.
    """
    reported = trials[trials["chosen"] & ~trials["searching"]]
    losses = reported.groupby([*CELL_NAMES])["test_loss"].agg(["min", "max"])
    rows = []
    for row, cell in zip(cells.itertuples(), listed, strict=True):
        place = tuple(getattr(row, name) for name in CELL_NAMES)
        extremes = losses.loc[place] if place in losses.index else None
        rows.append(_capacity(cell, cast(Any, row).test_loss, extremes))
    found = pd.DataFrame(rows, columns=COLUMNS, index=cells.index)
    return pd.concat([cells, found.astype(dict.fromkeys(COLUMNS[:-1], float))], axis=1)


def capacity_figure(cells: pd.DataFrame) -> Figure:
    """Draw recovered bits over the size of the measured state, one panel per task.

    A line joins the widths at which a mixer has learnt.

    Args:
        cells: a table from `with_capacity`; cells without a capacity are left out.

    Raises:
        UserError: if no cell has a capacity.
    """
    cells = named(cells)[cells["bits_per_number"].notna()]
    if cells.empty:
        raise UserError(
            "no cell of the study has a capacity: expected a task of one length with known entropy"
            " of its answers, such as mqar, and mixers with a step form"
        )
    tasks = cells["task"].nunique()
    columns = min(2, tasks)
    rows = -(-tasks // columns)
    with drawing():
        size = COLUMN if columns == 1 else PAGE, PANEL * rows + 0.9
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        for ax, panel in task_panels(axes, cells):
            _draw(ax, panel, cells)
        figure.supxlabel("numbers in the state before the first question")
        figure.supylabel("recovered bits (lower bound)")
        marks = [
            Line2D([], [], label=f"{RAW_BITS} bits per number", **RAW),
            Line2D([], [], label=f"{LINEAR_BITS:.2f} bits per number", **LINEAR),
            Line2D([], [], label="entropy of all answers", **ASKED),
        ]
        legend(figure, cells, *marks, *unlearnt_entry(cells))
    return figure


def capacity_lines(cells: pd.DataFrame) -> Iterator[str]:
    """One line per cell with its capacity in words."""
    for cell in cells.itertuples():
        what = f"{cell.mixer} at d_model {cell.d_model}, n_layers {cell.n_layers} on {cell.task}"
        if math.isnan(cast(float, cell.bits_per_number)):
            why = cast(str, cell.no_capacity)
            yield f"no capacity: {what}" + (f" ({why})" if why else "")
            continue
        yield (
            f"{what}: {cell.recovered_bits:.1f} of {cell.asked_bits:.1f} bits in"
            f" {cell.state_numbers:,.0f} numbers, {cell.bits_per_number:.3g} per number and"
            f" {cell.bits_per_bit:.3g} per stored bit"
        )


def _capacity(cell: Cell, loss: float, extremes: Any) -> dict[str, float | str]:
    """The values of `COLUMNS`, or the reason why they are missing."""
    try:
        task = cast(Task, parse_task(cell.template["task"]))
        model = ModelConfig(**cell.template["model"])
    except UserError:
        return {"no_capacity": NOT_FOUND}
    what = asked(task)
    if what is None:
        return {"no_capacity": "the entropy of its answers is unknown"}
    if pd.isna(loss):
        return {"no_capacity": ""}
    try:
        size = state_asked(model, task, what)
    except (Misbehaviour, UserError) as error:
        return {"no_capacity": str(error)}
    bits = what.recovered(loss)
    lowest, highest = (loss, loss) if extremes is None else (extremes["min"], extremes["max"])
    shares = bits / size.numbers, bits / (size.bytes * 8)
    bounds = what.recovered(highest), what.recovered(lowest)
    return dict(zip(COLUMNS, (what.bits, bits, *bounds, size.numbers, *shares, ""), strict=True))


def _draw(ax: Axes, panel: pd.DataFrame, cells: pd.DataFrame) -> None:
    for look, curve in curves(panel, cells):
        ordered = curve.sort_values("state_numbers")
        line_through_learnt(ax, ordered, "state_numbers", "recovered_bits", look)
    sizes = [panel["state_numbers"].min() / 2, panel["state_numbers"].max() * 2]
    most = panel["asked_bits"].max()
    for bits, look in ((RAW_BITS, RAW), (LINEAR_BITS, LINEAR)):
        ax.plot(sizes, [bits * size for size in sizes], **look)
    ax.axhline(most, **ASKED)
    ax.set_xlim(sizes[0], sizes[1])
    size_axis(ax)
    ax.set_yscale("symlog", linthresh=1)  # zero bits must be shown
    top = max(3 * most, 4 * RAW_BITS * sizes[0])  # keeps both limits in view
    ax.set_ylim(-0.2, top)
    ticks = [0, *(10**power for power in range(math.ceil(math.log10(top))))]
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_major_formatter(lambda bits, _: f"{bits:,g}")
