"""What parts of claims measure: a number for each seed, of a cell or of several cells together.

A number is the least and the most that it can be: a window that is open at an end is at least as
wide as was tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from recollect.analysis.phase_change import LEAST_FALL, LEAST_SHARE, PhaseChange, steepest_drop
from recollect.analysis.scaling import gain
from recollect.models.config import ModelConfig
from recollect.papers.margins import SOLVED
from recollect.papers.results import STRINGS, CellResults, Metric
from recollect.papers.selectors import MIXER, SEQ_LEN

Bounds = tuple[float, float]
"""The least and the most."""
Unit = tuple[CellResults, ...]
"""The cells that make up a number."""


@dataclass(frozen=True)
class Measure:
    """Something that results give for each seed.

    Attributes:
        name: in a sentence.
        label: before a number.
        number: of a unit and a seed; None where it is not defined.
        metric: the accuracy that it goes by.
        group: what the cells of a unit have in common; None: each cell is one.
        needs: what would give a number where none is defined.
        undefined: what is said where none is defined; empty: that there is none.
        limits: the cells of a unit whose number might be higher with a longer budget or at other
            rates, if they have not solved the task.
    """

    name: str
    label: str
    number: Callable[[Unit, int], Bounds | None]
    metric: Metric = "test_accuracy"
    group: Callable[[CellResults], tuple[str, ...]] | None = None
    needs: str = ""
    undefined: str = ""
    limits: Callable[[Unit], Unit] = lambda _: ()

    def units(self, cells: Iterable[CellResults]) -> list[Unit]:
        """The units that these cells make up."""
        if self.group is None:
            return [(cell,) for cell in cells]
        found: dict[tuple[str, ...], list[CellResults]] = {}
        for cell in cells:
            found.setdefault(self.group(cell), []).append(cell)
        return [tuple(unit) for unit in found.values()]


def gain_along(key: str, *, per_doubling: bool = False) -> Measure:
    """What accuracy gains from the narrowest or shallowest models to the widest or deepest, the
    other size fixed; not defined where the first solve the task already.

    Args:
        key: "d_model" or "n_layers".
        per_doubling: whether the gain for each doubling of the layers' parameters is meant.
    """

    def number(unit: Unit, seed: int) -> Bounds | None:
        frame = pd.DataFrame(
            {
                "d_model": cell.cell.d_model,
                "n_layers": cell.cell.n_layers,
                "test_accuracy": cell.by_seed()[seed],
                "layer_parameters": layer_parameters(cell),
            }
            for cell in unit
        )
        if (frame.loc[frame[key] == frame[key].min(), "test_accuracy"] >= SOLVED).all():
            return None
        gained = gain(frame, key, "layer_parameters" if per_doubling else None)
        return None if math.isnan(gained) else (gained, gained)

    def stuck_at_the_end(unit: Unit) -> Unit:
        end = max(getattr(cell.cell, key) for cell in unit)
        return tuple(c for c in unit if getattr(c.cell, key) == end and not c.is_learnt)

    axis = {"d_model": "width", "n_layers": "depth"}[key]
    each = " for each doubling of the layers' parameters" if per_doubling else ""
    return Measure(
        f"gain in accuracy by {axis}{each}",
        f"gain by {axis}{' and doubling' if per_doubling else ''}",
        number,
        group=lambda cell: (str(cell.settings[MIXER]), cell.cell.task),
        needs="a task that the smallest models do not solve",
        undefined="nothing to gain",
        limits=stuck_at_the_end,
    )


def _growth_of_width(unit: Unit, seed: int) -> Bounds | None:
    """How many times the width that solves the shortest examples solves the longest."""
    lengths = [cell.settings[SEQ_LEN] for cell in unit]
    needed = {}
    for length in (min(lengths), max(lengths)):
        cells = [cell for cell in unit if cell.settings[SEQ_LEN] == length]
        solving = [c.cell.d_model for c in cells if c.by_seed()[seed] >= SOLVED]
        widest = max(cell.cell.d_model for cell in cells)
        needed[length] = (min(solving), min(solving)) if solving else (widest, math.inf)
    (_, before), (least, most) = needed[min(lengths)], needed[max(lengths)]
    return None if math.isinf(before) else (least / before, most / before)


def layer_parameters(cell: CellResults) -> int:
    """Without those of embedding and positions, which do not mix."""
    config = ModelConfig(**cell.cell.template["model"])
    rows = cell.settings["task.vocab_size"]
    rows += cell.settings[SEQ_LEN] if config.learned_positions else 0
    return cell.parameters - int(rows) * config.d_model


def _of_cell(
    number: Callable[[CellResults, int], float | None],
) -> Callable[[Unit, int], Bounds | None]:
    """An exact number of a single cell."""

    def exact(unit: Unit, seed: int) -> Bounds | None:
        (cell,) = unit
        value = number(cell, seed)
        return None if value is None else (value, value)

    return exact


def _decades(metric: str) -> Callable[[Unit, int], Bounds | None]:
    def number(unit: Unit, seed: int) -> Bounds | None:
        (cell,) = unit
        window = cell.seed_window(seed, metric)
        if window is None:
            return None
        is_closed = window.low_is_edge and window.high_is_edge
        return window.decades, window.decades if is_closed else math.inf

    return number


def _itself(unit: Unit) -> Unit:
    return unit


def _pairs(cell: CellResults, seed: int) -> float:
    return cell.by_seed()[seed] * int(cell.settings["task.num_kv_pairs"])


def _drop(cell: CellResults, seed: int) -> PhaseChange | None:
    curve = cell.curve(seed).dropna(subset="valid_loss")
    return steepest_drop(list(curve["step"]), list(curve["valid_loss"]), cell.cell.marginal_loss)


def _fall(cell: CellResults, seed: int) -> float:
    drop = _drop(cell, seed)
    return drop.whole if drop else 0.0


def _steepness(cell: CellResults, seed: int) -> float | None:
    """None of a loss that hardly falls: how it trembles says nothing."""
    drop = _drop(cell, seed)
    if drop is None or drop.whole < LEAST_FALL:
        return None
    return drop.steepness if drop.share >= LEAST_SHARE else 0.0


ACCURACY = Measure(
    "accuracy", "accuracy", _of_cell(lambda cell, seed: cell.by_seed()[seed]), limits=_itself
)
COPIED = Measure(
    "share of strings all right",
    "strings",
    _of_cell(lambda cell, seed: cell.by_seed(STRINGS)[seed]),
    metric=STRINGS,
    limits=_itself,
)
PAIRS = Measure("pairs recalled", "pairs", _of_cell(_pairs), limits=_itself)
WINDOW = Measure(
    "window of working rates (decades)",
    "decades",
    _decades("valid_accuracy"),
    needs="a longer budget, so that some rate works",
)
COPYING_WINDOW = Measure(
    "window of rates that copy whole strings (decades)",
    "decades",
    _decades(STRINGS),
    metric=STRINGS,
    needs="a longer budget, so that whole strings are copied at some rate",
)
FALL = Measure("fall of the loss (nats)", "nats", _of_cell(_fall), limits=_itself)
STEEPNESS = Measure(
    "steepness of the loss where it drops most (1: a smooth curve)",
    "steepness",
    _of_cell(_steepness),
    needs="a longer budget, so that the loss falls",
)
GROWTH_OF_WIDTH = Measure(
    "growth of the smallest width that solves it, from the shortest to the longest examples",
    "growth of the needed width",
    _growth_of_width,
    group=lambda cell: (str(cell.settings[MIXER]),),
    needs="a longer budget, at which some width solves the shortest examples",
    undefined="no width solves the shortest examples",
)
