"""Figure of training dynamics: loss, accuracy and attention scores of layers over steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recollect.analysis.dynamics import WHOLE_LAYER, Observation
from recollect.analysis.phase_change import steepest_drop
from recollect.reports.canvas import Axes, Figure, Line2D, drawing
from recollect.reports.panels import (
    accuracy_axis,
    cell_title,
    loss_axis,
    named,
    observed_cells,
    panels,
    place_legend,
)
from recollect.reports.style import CHANCE, GREY, dashes, looks

COLUMNS = 4
"""Models of a task side by side; further ones start a new row."""
CELL = ["task", "mixer", "n_layers", "d_model"]
SCORES: dict[str, dict[str, Any]] = {
    "previous_token": {"label": "previous-token score", "color": "#999933"},
    "induction": {"label": "induction score", "color": "#882255"},
}
LAYER: dict[str, Any] = {"linewidth": 1.0}
HEAD: dict[str, Any] = {"linewidth": 0.6, "alpha": 0.45}
DROP: dict[str, Any] = {"marker": "o", "markersize": 5, "markerfacecolor": "none", "linestyle": ""}
SUDDEN: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (1, 1))}


def dynamics_figure(cells: pd.DataFrame, history: pd.DataFrame, dynamics: Observation) -> Figure:
    """Draw three panels per model at its chosen rate, with one line per seed.

    The panels show validation loss, validation accuracy, and the scores of each layer and head. A
    ring marks the steepest drop of a loss, and a vertical line a sudden drop
    (`analysis.phase_change`).
    """
    scores = dynamics.scores
    history = named(history[history["key"].isin(scores["key"])], cells)
    cells, scores = observed_cells(named(cells), named(scores, cells)), named(scores, cells)
    blocks = _blocks(cells)
    columns = max(map(len, blocks))
    depths = dashes(range(cells["n_layers"].max()))
    with drawing():
        figure, axes = panels(3 * len(blocks), columns, height=0.95)
        for row, block in zip(range(0, len(axes), 3), blocks, strict=True):
            for ax in axes[row : row + 3, len(block) :].flat:
                ax.remove()
            for cell, (loss, accuracy, looking) in zip(block, axes[row : row + 3].T, strict=False):
                colour = looks(cells["mixer"])[str(cell.mixer)].colour
                accuracy.axhline(cell.chance, **CHANCE)
                training = _of(history, cell)
                _draw_training([loss, accuracy, looking], training, colour, cell)
                _draw_scores(looking, _of(scores, cell), depths)
                loss.set_title(cell_title(cell, cells))
                looking.tick_params(labelbottom=True)
            _name_axes(*axes[row : row + 3, 0])
        figure.supxlabel("optimiser steps")
        place_legend(figure, _handles(depths, heads=bool((scores["head"] > 0).any())))
    return figure


def _blocks(cells: pd.DataFrame) -> list[list[Any]]:
    """Rows of cells: those of one task, at most `COLUMNS` in a row."""
    by_task: Any = cells.groupby("task", sort=False)
    tasks = [list(own.itertuples()) for _, own in by_task]
    return [task[i : i + COLUMNS] for task in tasks for i in range(0, len(task), COLUMNS)]


def _draw_training(axes: list[Axes], history: pd.DataFrame, colour: str, cell: Any) -> None:
    """Draw loss and accuracy of each seed, and mark the steepest drop of the loss."""
    loss, accuracy, _ = axes
    for _, seed in history.dropna(subset="valid_loss").groupby("seed"):
        thin: dict[str, Any] = {"color": colour, "linewidth": 0.8}
        loss.plot(seed["step"], seed["valid_loss"], **thin)
        accuracy.plot(seed["step"], seed["valid_accuracy"], **thin)
        steps, losses = list(seed["step"]), list(seed["valid_loss"])
        drop = steepest_drop(steps, losses, _ceiling(cell), budget=cell.budget)
        if drop is None:
            continue
        height = np.exp(np.interp(drop.step, seed["step"], np.log(seed["valid_loss"])))
        loss.plot(drop.step, height, color=colour, **DROP)  # the axis is logarithmic
        if drop.is_sudden:
            for ax in axes:
                ax.axvline(drop.step, **SUDDEN)


def _ceiling(cell: Any) -> float | None:
    """The loss of a model that ignores its input; None if unknown."""
    return None if pd.isna(cell.marginal_loss) else float(cell.marginal_loss)


def _draw_scores(ax: Axes, scores: pd.DataFrame, depths: dict[int, Any]) -> None:
    """Draw the scores of each layer and head, for each seed."""
    lines: Any = scores.groupby(["layer", "head", "seed"])
    for (layer, head, _), line in lines:
        width = LAYER if head == WHOLE_LAYER else HEAD
        for score, look in SCORES.items():
            colour = look["color"]
            ax.plot(line["step"], line[score], color=colour, linestyle=depths[layer], **width)


def _name_axes(loss: Axes, accuracy: Axes, looking: Axes) -> None:
    loss_axis(loss)
    accuracy_axis(accuracy)
    accuracy_axis(looking)
    loss.set_ylabel("validation\nloss (nats)")
    accuracy.set_ylabel("validation\naccuracy")
    looking.set_ylabel("score of\na layer")


def _handles(depths: dict[int, Any], *, heads: bool) -> list[Line2D]:
    handles = [Line2D([], [], **LAYER, **look) for look in SCORES.values()]
    if len(depths) > 1:
        handles += [
            Line2D([], [], color=GREY, linestyle=dash, label=f"layer {layer + 1}")
            for layer, dash in sorted(depths.items())
        ]
    if heads:
        handles.append(Line2D([], [], color=GREY, label="single heads", **HEAD))
    return [
        *handles,
        Line2D([], [], label="chance", **CHANCE),
        Line2D([], [], color=GREY, label="steepest drop", **DROP),
        Line2D([], [], label="sudden drop", **SUDDEN),
    ]


def _of(frame: pd.DataFrame, cell: Any) -> pd.DataFrame:
    """The rows of one cell."""
    own = [frame[column] == getattr(cell, column) for column in CELL]
    return frame[np.logical_and.reduce(own)]
