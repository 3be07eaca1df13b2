"""Comparisons of measured numbers with bounds, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median

from recollect.papers.bounds import Bound, Of, Place, Side
from recollect.papers.cell_results import CellResults
from recollect.papers.failure import Ceilings
from recollect.papers.margins import FAILED, SOLVED
from recollect.papers.measured import MeasuredNumber, NotMeasured
from recollect.papers.measures import Bounds, Ceiling, Measure, Unit, as_reached
from recollect.papers.results import PaperResults
from recollect.papers.selectors import D_MODEL, TASK, Where

Select = Callable[[Where], tuple[CellResults, ...]]
"""A function that returns the cells of a selector."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """The measured numbers of a unit of cells, one for each seed that all cells have."""

    unit: Unit
    measure: Measure

    @property
    def seeds(self) -> list[int]:
        """The common seeds, in the order in which they were added."""
        run = [cell.by_seed(self.measure.metric).keys() for cell in self.unit]
        return [seed for seed in self.unit[0].cell.seeds if all(seed in each for each in run)]

    def under(self, ceiling: Ceiling) -> Mapping[int, Bounds | None]:
        """The number of each seed under ceilings; None if it is undefined."""
        return {seed: self.measure.number(self.unit, seed, ceiling) for seed in self.seeds}

    @cached_property
    def reached(self) -> Mapping[int, Bounds | None]:
        """The number of each seed at the chosen rates."""
        return self.under(as_reached(self.measure.metric))

    @property
    def name(self) -> str:
        """The cells in words."""
        if len(self.unit) == 1:
            return str(self.unit[0])
        first = self.unit[0].cell
        tasks = {cell.cell.task for cell in self.unit}
        where = first.task if len(tasks) == 1 else f"{len(tasks)} tasks"
        return f"{first.mixer} at {len(self.unit) // len(tasks)} sizes, {where}"

    @property
    def over_seeds(self) -> MeasuredNumber | None:
        """The middles of the intervals, or their lower ends if they have no upper one, over seeds,
        from the lowest end to the highest; None without numbers."""
        found = [number for number in self.reached.values() if number is not None]
        if not found:
            return None
        closed = [(low, low if math.isinf(high) else high) for low, high in found]
        return MeasuredNumber(
            median(fmean(ends) for ends in closed),
            min(low for low, _ in closed),
            max(high for _, high in closed),
            at_least=any(math.isinf(high) for _, high in found),
        )

    def __str__(self) -> str:
        """The number in words, also if it is undefined or the model has not learnt."""
        cell, number, is_one = self.unit[0], self.over_seeds, len(self.unit) == 1
        if number is None:
            words = self.measure.undefined or f"no {self.measure.name}"
            reached = MeasuredNumber.median(cell.by_seed(self.measure.metric).values())
            return f"{words}, {cell.in_words(reached, 'accuracy')}" if is_one else words
        defined = sum(each is not None for each in self.reached.values())
        seeds = len(self.reached)
        of = "" if defined == seeds else f" on {defined} of {seeds} seeds"
        if is_one and self.measure.limits(self.unit):
            return cell.in_words(number, self.measure.label) + of
        return f"{self.measure.label} {number}{of}"


@dataclass(frozen=True, eq=False)
class Line:
    """A number and the bound it is compared with.

    Attributes:
        own: the number.
        side: the side of the bound on which it must lie.
        beside: the numbers from whose mean a measured bound is computed.
        results: the results among which other models are looked up.
    """

    own: Numbers
    side: Side
    beside: tuple[Numbers, ...]
    results: PaperResults

    @classmethod
    def of(
        cls, measure: Measure, unit: Unit, side: Side, results: PaperResults, select: Select
    ) -> Line:
        """Make the comparison of a unit.

        Raises:
            NotMeasured: if the cells of the bound are missing.
        """
        return cls(
            Numbers(unit, measure), side, _beside(measure, unit, side.bound, select), results
        )

    @cached_property
    def before(self) -> Line | None:
        """The comparison before seeds were added to decide it; None if none were."""
        if all(cell.before is None for cell in self.cells):
            return None
        own, *beside = (
            Numbers(tuple(cell.before or cell for cell in numbers.unit), numbers.measure)
            for numbers in self.numbers
        )
        return Line(own, self.side, tuple(beside), self.results.before)

    @property
    def numbers(self) -> tuple[Numbers, ...]:
        """Its own numbers, then those of its bound."""
        return (self.own, *self.beside)

    @property
    def cells(self) -> tuple[CellResults, ...]:
        """All cells of the comparison."""
        return tuple(dict.fromkeys(cell for numbers in self.numbers for cell in numbers.unit))

    @property
    def first_seeds(self) -> int:
        """The number of seeds before further ones were added."""
        return min(cell.first_seeds for cell in self.cells)

    @property
    def seeds(self) -> list[int]:
        """The seeds that all cells have.

        Raises:
            NotMeasured: if they have no seed in common.
        """
        of_others = [numbers.seeds for numbers in self.beside]
        shared = [seed for seed in self.own.seeds if all(seed in each for each in of_others)]
        if not shared:
            raise NotMeasured(f"no seed in common: {self.own.name}")
        return shared

    @cached_property
    def ceilings(self) -> Ceilings:
        """Ceilings for the numbers.

        A number compared with another model's is uncertain while it is nearer to guessing than to
        the solution; one compared with a fixed bound, until the task is solved.
        """
        compares = self.own.measure.compares or isinstance(self.side.bound, Of)
        return Ceilings(self.results, self.own.measure.metric, FAILED if compares else SOLVED)

    @cached_property
    def doubted(self) -> tuple[CellResults, ...]:
        """Cells whose accuracy might be higher at untried rates."""
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
        """Where each seed's number lies; on the wrong side only by `for_contradiction`."""
        found = self._places(ceilings)
        if "wrong" not in found:
            return found
        contradicted = self._places(ceilings.for_contradiction())
        return [
            strict if place == "wrong" else place
            for place, strict in zip(found, contradicted, strict=True)
        ]

    def _places(self, ceilings: Ceilings) -> list[Place]:
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
        own = f"{self.own.name}: {self.own}{self._over_all_rates}"
        beside = [
            f"{numbers}"
            if numbers.unit == self.own.unit
            else f"{self._name_of(numbers)}: {numbers}{self._over_own_rates(numbers)}"
            for numbers in self.beside
        ]
        return ", compared with ".join(dict.fromkeys([own, *beside]))

    def _name_of(self, beside: Numbers) -> str:
        """The name of numbers, with their study if the name is also the number's own."""
        study = beside.unit[0].study
        return f"{beside.name} of {study}" if beside.name == self.own.name else beside.name

    def _over_own_rates(self, beside: Numbers) -> str:
        """The best of a cell's own rates in words, if the bound is computed from it."""
        if not isinstance(self.side.bound, Of) or not self.side.bound.own_rates:
            return ""
        return _at_best(beside.under(self.ceilings.of_own_rates()).values())

    @property
    def _over_all_rates(self) -> str:
        """The best of all rates in words, if they were run for a low number."""
        if len(self.own.unit) > 1 or self.doubted or not self.own.measure.limits(self.own.unit):
            return ""
        at_all_rates, at_chosen = self.own.under(self.ceilings.best_tried), self.own.reached
        return "" if at_all_rates == at_chosen else _at_best(at_all_rates.values())


def _at_best(numbers: Iterable[Bounds | None]) -> str:
    highest = [number[1] for number in numbers if number is not None]
    return f", {MeasuredNumber.median(highest)} at the best rate of each seed"


def _ends(bound: Bound, found: list[Bounds | None]) -> Bounds | None:
    """The interval of a bound, given the numbers from whose mean it is computed."""
    if not isinstance(bound, Of):
        return bound, bound
    ends = [number for number in found if number is not None]
    if len(ends) < len(found):
        return None
    low, high = (bound.value(fmean(each[end] for each in ends)) for end in (0, 1))
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
