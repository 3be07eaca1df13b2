"""A measured number beside its bounds, seed by seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import inf
from statistics import fmean

from recollect.papers.failure import doubt
from recollect.papers.measured import Measured, NotMeasured
from recollect.papers.measures import Bounds, Measure, Unit
from recollect.papers.results import CellResults, Results
from recollect.papers.selectors import D_MODEL, TASK, Where, in_words


@dataclass(frozen=True, kw_only=True)
class Of:
    """A bound that is measured too, seed by seed.

    Attributes:
        cells: those with which each cell is compared, on the same task at the same width, by their
            mean; None: the cells themselves, by another measure.
        measure: of them; None: that of the part.
        times: a factor.
        plus: what is added.
    """

    cells: Where | None = None
    measure: Measure | None = None
    times: float = 1.0
    plus: float = 0.0

    def __post_init__(self) -> None:
        if self.cells is None and self.measure is None:
            raise ValueError("cells=None and measure=None: a number cannot be its own bound")

    def __str__(self) -> str:
        times = "" if self.times == 1 else f"{self.times:g} times "
        sign = "plus" if self.plus > 0 else "minus"
        plus = f" {sign} {abs(self.plus):g}" if self.plus else ""
        if self.cells is None:
            return f"{times}the {self.measure.name if self.measure else ''}{plus}"
        return f"{times}that of {in_words(self.cells)} on the same task at the same width{plus}"


Bound = float | Of
Sides = tuple[Bound | None, Bound | None]
"""What a number has to be above of, and below of."""


@dataclass(frozen=True, eq=False)
class Line:
    """A unit of cells, the bounds beside it, and those that these are measured of.

    Attributes:
        measure: what is measured.
        unit: of what.
        sides: the bounds.
        others: for each bound, the units of which it is measured.
        doubt: what a longer search could change of a low number; empty where it stands. Compared
            with another model's, only the number of one that has not learnt at all is in doubt.
    """

    measure: Measure
    unit: Unit
    sides: Sides
    others: tuple[tuple[Unit, ...], tuple[Unit, ...]]
    doubt: str

    @classmethod
    def of(cls, measure: Measure, unit: Unit, sides: Sides, results: Results) -> Line:
        """That of a unit.

        Raises:
            NotMeasured: if what it is compared with is missing.
        """
        others = tuple(_others(measure, unit, side, results) for side in sides)
        limits = measure.limits(unit)
        if not any(isinstance(side, float | int) for side in sides):
            limits = tuple(cell for cell in limits if not cell.is_learnt)
        doubts = (doubt(cell, results, measure.metric) for cell in limits)
        told = "; ".join(dict.fromkeys(filter(None, doubts)))
        return cls(measure, unit, sides, (others[0], others[1]), told)

    @property
    def compared(self) -> tuple[CellResults, ...]:
        """The cells that bounds are measured of."""
        return tuple(cell for units in self.others for unit in units for cell in unit)

    @property
    def cells(self) -> tuple[CellResults, ...]:
        """All that it is about."""
        return (*self.unit, *self.compared)

    @cached_property
    def seeds(self) -> list[int]:
        """Those on which every cell was measured, in the order in which they were added."""
        run = [set(cell.by_seed(self.measure.metric)) for cell in self.cells]
        return [seed for seed in self.unit[0].cell.seeds if all(seed in each for each in run)]

    @cached_property
    def slacks(self) -> dict[int, Bounds | None]:
        """For each seed how far the number is on the right side, the least and the most; None where
        it or a bound is not defined."""
        return {seed: self._slack(seed) for seed in self.seeds}

    def _slack(self, seed: int) -> Bounds | None:
        number = self.measure.number(self.unit, seed)
        above, below = (self._bound(i, seed) for i in range(2))
        if number is None or above is None or below is None:
            return None
        low, high = number
        high = inf if self.doubt else high
        return min(low - above[1], below[0] - high), min(high - above[0], below[1] - low)

    def _bound(self, side: int, seed: int) -> Bounds | None:
        bound = self.sides[side]
        if bound is None:
            return (inf, inf) if side else (-inf, -inf)
        if not isinstance(bound, Of):
            return bound, bound
        found = [(bound.measure or self.measure).number(unit, seed) for unit in self.others[side]]
        ends = [number for number in found if number is not None]
        if len(ends) < len(found):
            return None
        low, high = (bound.times * fmean(each[end] for each in ends) + bound.plus for end in (0, 1))
        return low, high

    @property
    def mean_slack(self) -> float:
        """How far it is on the right side at least, on average."""
        found = [slack[0] for slack in self.slacks.values() if slack is not None]
        return fmean(found) if found else inf

    @property
    def measured(self) -> dict[str, Measured]:
        """Its numbers by name."""
        pairs = [(self.unit, self.measure)]
        for side, units in zip(self.sides, self.others, strict=True):
            own = side.measure if isinstance(side, Of) and side.measure else self.measure
            pairs += [(unit, own) for unit in units]
        found = {}
        for unit, measure in pairs:
            numbers = [each for seed in self.seeds if (each := measure.number(unit, seed))]
            if numbers:
                name = f"{_name(unit)}: {measure.name}"
                found[name] = Measured.over(low for low, _ in numbers)
        return found

    def __str__(self) -> str:
        told = [_told(self.unit, self.measure, self.seeds)]
        for side, units in zip(self.sides, self.others, strict=True):
            own = side.measure if isinstance(side, Of) and side.measure else self.measure
            told += [_told(unit, own, self.seeds) for unit in units]
        return ", beside ".join(dict.fromkeys(told))


def _others(
    measure: Measure, unit: Unit, bound: Bound | None, results: Results
) -> tuple[Unit, ...]:
    if not isinstance(bound, Of):
        return ()
    if bound.cells is None:
        return (unit,)
    (cell,) = unit
    place = {TASK: cell.cell.task, D_MODEL: cell.cell.d_model}
    return tuple((bound.measure or measure).units(results.select({**bound.cells, **place})))


def _name(unit: Unit) -> str:
    if len(unit) == 1:
        return str(unit[0])
    first, last = unit[0].cell, unit[-1].cell
    return f"{first.mixer}, {len(unit)} sizes, {last.task}"


def _told(unit: Unit, measure: Measure, seeds: Iterable[int]) -> str:
    """The number over seeds, in words where it is not defined or the model has not learnt."""
    found = [number for seed in seeds if (number := measure.number(unit, seed)) is not None]
    name, cell = _name(unit), unit[0]
    if not found and len(unit) > 1:
        return f"{name}: nothing to gain"
    if not found:
        accuracy = cell.told(cell.accuracy(measure.metric))
        return f"{name}: no {measure.name}, accuracy {accuracy}"
    over_seeds = Measured.over(low for low, _ in found)
    sign = "at least " if any(low < high for low, high in found) else ""
    of_one = len(unit) == 1 and bool(measure.limits(unit))
    return f"{name}: {sign}{cell.told(over_seeds) if of_one else over_seeds}"


def together(lines: Iterable[Line]) -> list[Bounds | None]:
    """One number for each seed that all lines have: how far the line that is furthest behind is on
    the right side.

    Raises:
        NotMeasured: if they have no seed in common.
    """
    listed = list(lines)
    shared = [seed for seed in listed[0].seeds if all(seed in line.seeds for line in listed)]
    if not shared:
        raise NotMeasured(f"no seed in common: {listed[0]}")
    found: list[Bounds | None] = []
    for seed in shared:
        ends = [slack for line in listed if (slack := line.slacks[seed]) is not None]
        found.append((min(low for low, _ in ends), min(high for _, high in ends)) if ends else None)
    return found
