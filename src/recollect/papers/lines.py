"""A measured number beside a bound, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from recollect.papers.bounds import Bound, Of, Place, Side
from recollect.papers.cell_results import CellResults
from recollect.papers.failure import Ceilings
from recollect.papers.margins import FAILED, SOLVED
from recollect.papers.measured import Measured, NotMeasured
from recollect.papers.measures import Bounds, Ceiling, Measure, Unit, as_reached
from recollect.papers.results import Results
from recollect.papers.selectors import D_MODEL, TASK, Where

Select = Callable[[Where], tuple[CellResults, ...]]
"""Gives the cells of a selector."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """What is measured of a unit of cells, a number for each seed that all of them have."""

    unit: Unit
    measure: Measure

    @property
    def seeds(self) -> list[int]:
        """In the order in which they were added."""
        run = [cell.by_seed(self.measure.metric).keys() for cell in self.unit]
        return [seed for seed in self.unit[0].cell.seeds if all(seed in each for each in run)]

    def under(self, ceiling: Ceiling) -> Mapping[int, Bounds | None]:
        """For each seed; None where the number is not defined."""
        return {seed: self.measure.number(self.unit, seed, ceiling) for seed in self.seeds}

    @cached_property
    def reached(self) -> Mapping[int, Bounds | None]:
        """At the chosen rates."""
        return self.under(as_reached(self.measure.metric))

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
        found = [number for number in self.reached.values() if number is not None]
        if not found:
            return None
        return Measured.median(
            (low for low, _ in found), at_least=any(low < high for low, high in found)
        )

    def __str__(self) -> str:
        """In words where it is not defined, or the model has not learnt."""
        cell, number, is_one = self.unit[0], self.over_seeds, len(self.unit) == 1
        if number is None:
            told = self.measure.undefined or f"no {self.measure.name}"
            reached = Measured.median(cell.by_seed(self.measure.metric).values())
            return f"{told}, {cell.told(reached, 'accuracy')}" if is_one else told
        defined = sum(each is not None for each in self.reached.values())
        seeds = len(self.reached)
        of = "" if defined == seeds else f" on {defined} of {seeds} seeds"
        if is_one and self.measure.limits(self.unit):
            return cell.told(number, self.measure.label) + of
        return f"{self.measure.label} {number}{of}"


@dataclass(frozen=True, eq=False)
class Line:
    """A number and a bound beside it.

    Attributes:
        own: the number.
        side: what it has to be.
        beside: the numbers of whose mean the bound is measured.
        results: among which it is told whether a model has failed.
    """

    own: Numbers
    side: Side
    beside: tuple[Numbers, ...]
    results: Results

    @classmethod
    def of(cls, measure: Measure, unit: Unit, side: Side, results: Results, select: Select) -> Line:
        """That of a unit.

        Raises:
            NotMeasured: if what it is compared with is missing.
        """
        return cls(
            Numbers(unit, measure), side, _beside(measure, unit, side.bound, select), results
        )

    @property
    def numbers(self) -> tuple[Numbers, ...]:
        """Its own, then those of its bound."""
        return (self.own, *self.beside)

    @property
    def cells(self) -> tuple[CellResults, ...]:
        """All that it is about."""
        return tuple(dict.fromkeys(cell for numbers in self.numbers for cell in numbers.unit))

    @property
    def first_seeds(self) -> int:
        """How many seeds its cells had before any were added."""
        return min(cell.first_seeds for cell in self.cells)

    @property
    def seeds(self) -> list[int]:
        """Those that all cells have.

        Raises:
            NotMeasured: if there are none.
        """
        of_others = [numbers.seeds for numbers in self.beside]
        shared = [seed for seed in self.own.seeds if all(seed in each for each in of_others)]
        if not shared:
            raise NotMeasured(f"no seed in common: {self.own.name}")
        return shared

    @cached_property
    def ceilings(self) -> Ceilings:
        """A number that is compared with another model's is in doubt where it is nearer to guessing
        than to the solution; one that is held against a fixed bound, until the task is solved."""
        compares = self.own.measure.compares or isinstance(self.side.bound, Of)
        return Ceilings(self.results, self.own.measure.metric, FAILED if compares else SOLVED)

    @cached_property
    def doubted(self) -> tuple[CellResults, ...]:
        """The cells whose accuracy is not known to be as low as at the chosen rates."""
        bound = self.side.bound
        resting = [*self.own.measure.limits(self.own.unit)]
        if not (isinstance(bound, Of) and bound.own_rates):
            resting += [cell for each in self.beside for cell in each.measure.limits(each.unit)]
        return tuple(
            cell
            for cell in dict.fromkeys(resting)
            if any(math.isinf(self.ceilings(cell, seed)) for seed in self.seeds)
        )

    def places(self, ceilings: Ceilings) -> list[Place]:
        """Where each seed is."""
        of_bound = ceilings
        if isinstance(self.side.bound, Of) and self.side.bound.own_rates:
            of_bound = ceilings.of_own_rates()
        own = self.own.under(ceilings)
        beside = [numbers.under(of_bound) for numbers in self.beside]
        return [
            self.side.place(
                own[seed],
                *(
                    _ends(bound, [numbers[seed] for numbers in beside])
                    for bound in (self.side.bound, self.side.converse)
                ),
            )
            for seed in self.seeds
        ]

    def __str__(self) -> str:
        told = f"{self.own.name}: {self.own}{self._over_all_rates}"
        beside = [
            f"{numbers}"
            if numbers.unit == self.own.unit
            else f"{self._name_of(numbers)}: {numbers}"
            for numbers in self.beside
        ]
        return ", beside ".join(dict.fromkeys([told, *beside]))

    def _name_of(self, beside: Numbers) -> str:
        """With its study, where its own name is that of the line."""
        study = beside.unit[0].study
        return f"{beside.name} of {study}" if beside.name == self.own.name else beside.name

    @property
    def _over_all_rates(self) -> str:
        """The best of all rates, where a number is low and they were run."""
        if len(self.own.unit) > 1 or self.doubted or not self.own.measure.limits(self.own.unit):
            return ""
        highest = [each[1] for each in self.own.under(self.ceilings).values() if each is not None]
        reached = [each[1] for each in self.own.reached.values() if each is not None]
        if highest == reached:
            return ""
        return f", at the best rate of each seed {Measured.median(highest)}"


def _ends(bound: Bound, found: list[Bounds | None]) -> Bounds | None:
    """The least and the most that a bound can be, given the numbers that it is the mean of."""
    if not isinstance(bound, Of):
        return bound, bound
    ends = [number for number in found if number is not None]
    if len(ends) < len(found):
        return None
    low, high = (bound.times * fmean(each[end] for each in ends) + bound.plus for end in (0, 1))
    return low, high


def _beside(measure: Measure, unit: Unit, bound: Bound, select: Select) -> tuple[Numbers, ...]:
    if not isinstance(bound, Of):
        return ()
    own = bound.measure or measure
    if bound.cells is None:
        return (Numbers(unit, own),)
    (cell,) = unit
    place = {TASK: cell.cell.task, D_MODEL: cell.cell.d_model}
    return tuple(Numbers(each, own) for each in own.units(select({**bound.cells, **place})))
