"""Measures for claims: a number for each seed, of one cell or of several cells together.

A number is an interval of possible values: the edges of a window lie between tried rates, and a
model that fails at its chosen rate might do better at another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

import pandas as pd

from recollect.analysis.phase_change import LEAST_FALL, LEAST_SHARE, PhaseChange, steepest_drop
from recollect.analysis.scaling import gain
from recollect.papers.cell_results import STRINGS, VALID_STRINGS, CellResults, Metric
from recollect.papers.margins import SOLVED
from recollect.papers.selectors import MIXER, SEQ_LEN

Bounds = tuple[float, float]
"""The smallest and the largest possible value."""
Unit = tuple[CellResults, ...]
"""The cells that give one number."""
Ceiling = Callable[[CellResults, int], float]
"""Gives the largest possible accuracy of a cell on a seed (`papers.failure`)."""


MORE_RATES = "more learning rates around and beyond the edges of each seed's window"


def as_reached(metric: str) -> Ceiling:
    """The ceiling that assumes that no rate is better than the chosen one."""
    return lambda cell, seed: cell.by_seed(metric)[seed]


@dataclass(frozen=True)
class Measure:
    """A measure of results, with a number for each seed.

    Attributes:
        name: its name in a sentence.
        label: its short name before a number.
        number: gives the number of a unit and a seed, under ceilings; None if it is undefined.
        metric: the accuracy metric that it uses.
        group: gives what the cells of a unit share; None: each cell is a unit.
        needs: what would make an undefined number defined.
        opens: what would give an upper limit to a number that has none, although all rates were
            tried.
        undefined: the words for an undefined number; empty: "no" and the name.
        limits: gives the cells of a unit whose accuracy the number depends on.
        compares: True if it compares these cells with each other.
        is_spared: returns True for a unit that is left out because it cannot show anything.
    """

    name: str
    label: str
    number: Callable[[Unit, int, Ceiling], Bounds | None]
    metric: Metric = "test_accuracy"
    group: Callable[[CellResults], tuple[str, ...]] | None = None
    needs: str = ""
    opens: str = ""
    undefined: str = ""
    limits: Callable[[Unit], Unit] = lambda _: ()
    compares: bool = False
    is_spared: Callable[[Unit], bool] = lambda _: False

    def units(self, cells: Iterable[CellResults]) -> list[Unit]:
        """Group cells into units."""
        if self.group is None:
            return [(cell,) for cell in cells]
        found: dict[tuple[str, ...], list[CellResults]] = {}
        for cell in cells:
            found.setdefault(self.group(cell), []).append(cell)
        return [tuple(unit) for unit in found.values()]


def gain_along(key: str, *, per_doubling: bool = False) -> Measure:
    """The gain in accuracy from the narrowest (or shallowest) to the widest (or deepest) models.

    The other size is fixed. The gain is undefined on seeds on which the smallest models already
    solve the task, and a unit is left out if its median seed is one of them.

    Args:
        key: "d_model" or "n_layers".
        per_doubling: divide the gain by the doublings of the layers' parameters.
    """

    def ends(unit: Unit) -> tuple[Unit, Unit]:
        """The smallest models and the largest."""
        sizes = [getattr(cell.cell, key) for cell in unit]
        small, large = (
            tuple(cell for cell, size in zip(unit, sizes, strict=True) if size == end)
            for end in (min(sizes), max(sizes))
        )
        return small, large

    def number(unit: Unit, seed: int, ceiling: Ceiling) -> Bounds | None:
        small, large = ends(unit)
        if all(cell.by_seed()[seed] >= SOLVED for cell in small):
            return None
        least, most = (
            _gain(key, per_doubling, seed, high={*high}, unit=(*small, *large), ceiling=ceiling)
            for high in (small, large)
        )
        return None if math.isnan(least) else (least, most)

    def is_solved(unit: Unit) -> bool:
        return all(median(cell.first().values()) >= SOLVED for cell in ends(unit)[0])

    axis = {"d_model": "width", "n_layers": "depth"}[key]
    each = " per doubling of the layers' parameters" if per_doubling else ""
    return Measure(
        f"gain in accuracy by {axis}{each}",
        f"gain by {axis}{' per doubling' if per_doubling else ''}",
        number,
        group=lambda cell: (str(cell.settings[MIXER]), cell.cell.task),
        needs="a task that the smallest models do not solve",
        undefined="nothing to gain",
        limits=lambda unit: tuple(dict.fromkeys(cell for end in ends(unit) for cell in end)),
        compares=True,
        is_spared=is_solved,
    )


def _gain(
    key: str, per_doubling: bool, seed: int, *, high: set[CellResults], unit: Unit, ceiling: Ceiling
) -> float:
    """The gain on a seed, with the cells in `high` at their ceilings."""
    frame = pd.DataFrame(
        {
            "d_model": cell.cell.d_model,
            "n_layers": cell.cell.n_layers,
            "test_accuracy": ceiling(cell, seed) if cell in high else cell.by_seed()[seed],
            "layer_parameters": cell.layer_parameters,
        }
        for cell in unit
    )
    return gain(frame, key, "layer_parameters" if per_doubling else None)


def _growth_of_width(unit: Unit, seed: int, ceiling: Ceiling) -> Bounds | None:
    """The width needed for the longest examples divided by that for the shortest."""
    shortest, longest = _ends_of_length(unit)
    before = _needed_width(shortest, seed, ceiling)
    after = _needed_width(longest, seed, ceiling)
    return None if math.isinf(before[1]) else (after[0] / before[1], after[1] / before[0])


def _ends_of_length(unit: Unit) -> tuple[Unit, Unit]:
    lengths = [cell.settings[SEQ_LEN] for cell in unit]
    shortest, longest = (
        tuple(cell for cell in unit if cell.settings[SEQ_LEN] == end)
        for end in (min(lengths), max(lengths))
    )
    return shortest, longest


def _needed_width(cells: Unit, seed: int, ceiling: Ceiling) -> Bounds:
    """The smallest width that may solve the task, and the smallest that does.

    If no width may, the first is the next one, twice the largest; if none does, the second is
    infinite.
    """
    may = [cell.cell.d_model for cell in cells if ceiling(cell, seed) >= SOLVED]
    does = [cell.cell.d_model for cell in cells if cell.by_seed()[seed] >= SOLVED]
    widest = max(cell.cell.d_model for cell in cells)
    return min(may, default=2 * widest), min(does, default=math.inf)


def _of_accuracy(
    metric: Metric, times: Callable[[CellResults], float] = lambda _: 1.0
) -> Callable[[Unit, int, Ceiling], Bounds | None]:
    """The accuracy of a single cell, multiplied by `times`."""

    def number(unit: Unit, seed: int, ceiling: Ceiling) -> Bounds:
        (cell,) = unit
        return times(cell) * cell.by_seed(metric)[seed], times(cell) * ceiling(cell, seed)

    return number


def _decades(metric: str) -> Callable[[Unit, int, Ceiling], Bounds | None]:
    def number(unit: Unit, seed: int, _: Ceiling) -> Bounds | None:
        (cell,) = unit
        window = cell.seed_window(seed, metric)
        return None if window is None else window.decades_between

    return number


def _itself(unit: Unit) -> Unit:
    return unit


def _pairs(cell: CellResults) -> float:
    return int(cell.settings["task.num_kv_pairs"])


def _drop(cell: CellResults, seed: int) -> PhaseChange | None:
    curve = cell.curve(seed).dropna(subset="valid_loss")
    steps, losses = list(curve["step"]), list(curve["valid_loss"])
    return steepest_drop(steps, losses, cell.cell.marginal_loss, budget=cell.cell.steps)


def _fall(unit: Unit, seed: int, ceiling: Ceiling) -> Bounds:
    """The fall of the loss; a lower bound if the model might learn at another rate."""
    (cell,) = unit
    drop = _drop(cell, seed)
    fall = drop.whole if drop else 0.0
    return fall, fall if math.isfinite(ceiling(cell, seed)) else math.inf


def _steepness(unit: Unit, seed: int, _: Ceiling) -> Bounds | None:
    """The steepness of the largest drop; None if the loss hardly falls, where it is only noise."""
    (cell,) = unit
    drop = _drop(cell, seed)
    if drop is None or drop.whole < LEAST_FALL:
        return None
    steepness = drop.steepness if drop.share >= LEAST_SHARE else 0.0
    return steepness, steepness


ACCURACY = Measure("accuracy", "accuracy", _of_accuracy("test_accuracy"), limits=_itself)
COPIED = Measure(
    "share of correct strings", "strings", _of_accuracy(STRINGS), metric=STRINGS, limits=_itself
)
PAIRS = Measure(
    "pairs recalled", "pairs", _of_accuracy("test_accuracy", times=_pairs), limits=_itself
)
WINDOW = Measure(
    "window of working rates (decades)",
    "decades",
    _decades("valid_accuracy"),
    needs="a longer budget, until a rate works",
    opens=MORE_RATES,
)
COPYING_WINDOW = Measure(
    "window of rates that copy whole strings (decades)",
    "decades",
    _decades(VALID_STRINGS),
    metric=STRINGS,
    needs="a longer budget, until whole strings are copied at a rate",
    opens=MORE_RATES,
)
FALL = Measure("fall of the loss (nats)", "nats", _fall, limits=_itself)
STEEPNESS = Measure(
    "steepness of the largest drop of the loss (1: a smooth curve)",
    "steepness",
    _steepness,
    needs="a longer budget, until the loss falls",
)
GROWTH_OF_WIDTH = Measure(
    "growth of the smallest width that solves the task, from the shortest to the longest examples",
    "growth of the required width",
    _growth_of_width,
    group=lambda cell: (str(cell.settings[MIXER]),),
    needs="a longer budget, until a width solves the shortest examples",
    opens="wider models, until one solves the longest examples",
    undefined="no width solves the shortest examples",
    limits=lambda unit: tuple(cell for end in _ends_of_length(unit) for cell in end),
)
