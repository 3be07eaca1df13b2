"""A measured number beside its bounds, seed by seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
        if self.cells is None:
            return self.of(f"the {self.measure.name if self.measure else ''}")
        return self.of(f"that of {in_words(self.cells)} on the same task at the same width")

    def of(self, what: str) -> str:
        """The bound in words, where the number that it is measured of has some."""
        times = "" if self.times == 1 else f"{self.times:g} times "
        sign = "plus" if self.plus > 0 else "minus"
        return f"{times}{what}" + (f" {sign} {abs(self.plus):g}" if self.plus else "")


Bound = float | Of
Sides = tuple[Bound | None, Bound | None]
"""What a number has to be above of, and below of."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """What is measured of a unit of cells, a number for each seed that all of them have."""

    unit: Unit
    measure: Measure

    @cached_property
    def by_seed(self) -> Mapping[int, Bounds | None]:
        """In the order in which the seeds were added; None where the number is not defined."""
        run = [cell.by_seed(self.measure.metric).keys() for cell in self.unit]
        seeds = [seed for seed in self.unit[0].cell.seeds if all(seed in each for each in run)]
        return {seed: self.measure.number(self.unit, seed) for seed in seeds}

    @property
    def name(self) -> str:
        """What it is measured of."""
        if len(self.unit) == 1:
            return str(self.unit[0])
        first = self.unit[0].cell
        tasks = {cell.cell.task for cell in self.unit}
        where = first.task if len(tasks) == 1 else f"{len(tasks)} tasks"
        return f"{first.mixer} at {len(self.unit) // len(tasks)} sizes, {where}"

    @property
    def over_seeds(self) -> Measured | None:
        """The least that they can be; None where there are none."""
        least = [number[0] for number in self.by_seed.values() if number is not None]
        return Measured.over(least) if least else None

    def __str__(self) -> str:
        """In words where it is not defined, or the model has not learnt."""
        cell, number, is_one = self.unit[0], self.over_seeds, len(self.unit) == 1
        if number is None:
            told = self.measure.undefined or f"no {self.measure.name}"
            accuracy = cell.accuracy(self.measure.metric)
            return f"{told}, {cell.told(accuracy, 'accuracy')}" if is_one else told
        if is_one and self.measure.limits(self.unit):
            return cell.told(number, self.measure.label)
        is_open = any(each and each[0] < each[1] for each in self.by_seed.values())
        return f"{self.measure.label} {'at least ' if is_open else ''}{number}"


@dataclass(frozen=True, eq=False)
class Line:
    """A number and the bounds beside it.

    Attributes:
        own: the number.
        sides: the bounds.
        beside: for each bound, the numbers of which it is the mean.
        doubt: what a longer search could change of a low number; empty where it stands. Compared
            with another model's, only the number of one that has not learnt at all is in doubt.
    """

    own: Numbers
    sides: Sides
    beside: tuple[tuple[Numbers, ...], tuple[Numbers, ...]]
    doubt: str

    @classmethod
    def of(cls, measure: Measure, unit: Unit, sides: Sides, results: Results) -> Line:
        """That of a unit.

        Raises:
            NotMeasured: if what it is compared with is missing.
        """
        above, below = (_beside(measure, unit, side, results) for side in sides)
        limits = measure.limits(unit)
        if not any(isinstance(side, float | int) for side in sides):
            limits = tuple(cell for cell in limits if not cell.is_learnt)
        doubts = (doubt(cell, results, measure.metric) for cell in limits)
        told = " and ".join(dict.fromkeys(filter(None, doubts)))
        return cls(Numbers(unit, measure), sides, (above, below), told)

    @property
    def numbers(self) -> tuple[Numbers, ...]:
        """Its own, then those of its bounds."""
        return (self.own, *self.beside[0], *self.beside[1])

    @property
    def compared(self) -> tuple[CellResults, ...]:
        """The cells of which bounds are measured."""
        return tuple(cell for numbers in self.numbers[1:] for cell in numbers.unit)

    @property
    def cells(self) -> tuple[CellResults, ...]:
        """All that it is about."""
        return (*self.own.unit, *self.compared)

    @cached_property
    def slacks(self) -> Mapping[int, Bounds | None]:
        """For each seed that all cells have how far the number is on the right side, the least and
        the most; None where it or a bound is not defined."""
        shared = (
            seed
            for seed in self.own.by_seed
            if all(seed in numbers.by_seed for numbers in self.numbers)
        )
        return {seed: self._slack(seed) for seed in shared}

    @property
    def mean_slack(self) -> float:
        """How far it is on the right side at least, on average."""
        found = [slack[0] for slack in self.slacks.values() if slack is not None]
        return fmean(found) if found else inf

    def __str__(self) -> str:
        beside = [
            f"{numbers}" if numbers.unit == self.own.unit else f"{numbers.name}: {numbers}"
            for numbers in self.numbers[1:]
        ]
        return ", beside ".join(dict.fromkeys([f"{self.own.name}: {self.own}", *beside]))

    def _slack(self, seed: int) -> Bounds | None:
        number = self.own.by_seed[seed]
        above, below = self._bound(0, seed), self._bound(1, seed)
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
        found = [numbers.by_seed[seed] for numbers in self.beside[side]]
        ends = [number for number in found if number is not None]
        if len(ends) < len(found):
            return None
        low, high = (bound.times * fmean(each[end] for each in ends) + bound.plus for end in (0, 1))
        return low, high


def together(lines: Iterable[Line]) -> list[Bounds | None]:
    """One number for each seed that all lines have: how far the line that is furthest behind is on
    the right side.

    Raises:
        NotMeasured: if they have no seed in common.
    """
    listed = list(lines)
    shared = [seed for seed in listed[0].slacks if all(seed in line.slacks for line in listed)]
    if not shared:
        raise NotMeasured(f"no seed in common: {listed[0].own.name}")
    found: list[Bounds | None] = []
    for seed in shared:
        ends = [slack for line in listed if (slack := line.slacks[seed]) is not None]
        found.append((min(low for low, _ in ends), min(high for _, high in ends)) if ends else None)
    return found


def _beside(
    measure: Measure, unit: Unit, bound: Bound | None, results: Results
) -> tuple[Numbers, ...]:
    if not isinstance(bound, Of):
        return ()
    own = bound.measure or measure
    if bound.cells is None:
        return (Numbers(unit, own),)
    (cell,) = unit
    place = {TASK: cell.cell.task, D_MODEL: cell.cell.d_model}
    cells = results.select({**bound.cells, **place})
    return tuple(Numbers(each, own) for each in own.units(cells))
