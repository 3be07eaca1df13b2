"""A part of a claim: which cells, what is measured of them, and the bounds that it is held against.

Results give one number for each seed: how far the cell that is furthest behind is on the right side
of the bounds. `analysis.sign_test` says what the seeds establish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf, isnan
from typing import Any, Literal

from recollect.analysis.sign_test import is_established, looks
from recollect.papers.claims import PartFinding, State
from recollect.papers.lines import Bound, Line, Of, together
from recollect.papers.measures import Bounds, Measure, Unit
from recollect.papers.results import CellResults, Results
from recollect.papers.selectors import Where, check, in_words, plain

LISTED = 6
"""Of more cells only those furthest behind are told of."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Something that is measured of cells, and where it has to lie.

    Attributes:
        cells: which.
        measure: what.
        above: it is above that.
        below: it is below that.
        of: whether every cell is meant, or the best by the validation accuracy that chose its rate.
        why: the reason for the bounds: what makes a difference that matters.
    """

    cells: Where
    measure: Measure
    above: Bound | None = None
    below: Bound | None = None
    of: Literal["each", "best"] = "each"
    why: str

    def __post_init__(self) -> None:
        if self.above is None and self.below is None:
            raise ValueError("above=None and below=None: give a bound")
        check(self.cells)
        for bound in (self.above, self.below):
            if isinstance(bound, Of) and bound.cells is not None:
                check(bound.cells)

    @property
    def sentence(self) -> str:
        """What is tested."""
        cells = in_words(self.cells)
        which = f"each {cells}" if self.of == "each" else f"the {cells} that validates best"
        return f"{which}: {self.measure.name} {self._condition(str)}"

    def record(self) -> dict[str, Any]:
        """Everything about it as plain values, for JSON."""
        return {
            "sentence": self.sentence,
            "cells": plain(self.cells),
            "of": self.of,
            "measure": self.measure.name,
            "above": _plain_bound(self.above),
            "below": _plain_bound(self.below),
            "why": self.why,
        }

    def judge(self, results: Results, level: float, converse_level: float) -> PartFinding:
        """Hold results against it, see `claims.Statement`."""
        candidates = self.measure.units(results.select(self.cells))
        units = candidates if self.of == "each" else [max(candidates, key=_merit)]
        lines = [Line.of(self.measure, unit, (self.above, self.below), results) for unit in units]
        lines.sort(key=lambda line: line.mean_slack)
        test = _Test(
            numbers=together(lines),
            looks=looks(min(cell.first_seeds for line in lines for cell in line.cells)),
            levels=self._levels(candidates, lines, level, converse_level),
        )
        measured = {
            f"{numbers.name}: {numbers.measure.name}": numbers.over_seeds
            for line in lines
            for numbers in line.numbers
            if numbers.over_seeds is not None
        }
        return PartFinding(
            test.state,
            self._evidence(lines, test),
            measured,
            *(_what_decides(lines, test) if test.state == "undecided" else ()),
        )

    def _condition(self, in_words: Callable[[Of], str]) -> str:
        """Where the number has to lie, given the words for a bound that is measured."""
        above, below = self.above, self.below
        if isinstance(above, Of) and below == replace(above, plus=-above.plus):
            return f"within {abs(above.plus):g} of {in_words(replace(above, plus=0.0))}"
        bounds = [
            f"{side} {in_words(bound) if isinstance(bound, Of) else f'{bound:g}'}"
            for side, bound in (("above", above), ("below", below))
            if bound is not None
        ]
        return " and ".join(bounds)

    def _levels(
        self, candidates: Sequence[Unit], lines: Sequence[Line], level: float, converse: float
    ) -> tuple[float, float]:
        """Where rates, or the best cell, were chosen by the seeds that are judged, a number is
        higher than it should be: the level of what says that it is high is divided by how many
        competed."""
        choices = [max(_choices(unit)) for unit in candidates]
        competed = sum(choices) if self.of == "best" and max(choices) > 1 else max(choices)
        others = max((each for line in lines for each in _choices(line.compared)), default=1)
        is_high, is_low = self.above is not None, self.below is not None
        return (
            level / max(competed if is_high else 1, others if is_low else 1),
            converse / max(competed if is_low else 1, others if is_high else 1),
        )

    def _evidence(self, lines: Sequence[Line], test: _Test) -> str:
        told = [str(line) for line in lines[:LISTED]]
        if len(lines) > LISTED:
            told.append(f"{len(lines) - LISTED} more")
        condition = self._condition(lambda bound: bound.of("what is beside it"))
        count = f"{sum(test.right)} of {len(test.numbers)} seeds"
        return f"{'; '.join(told)} ({condition}: {count})"


@dataclass(frozen=True)
class _Test:
    """The sign test of one number for each seed, both ways.

    Attributes:
        numbers: how far each seed is on the right side, the least and the most; None: not defined.
        looks: at how many seeds it is held.
        levels: of the part and of its converse.
    """

    numbers: Sequence[Bounds | None]
    looks: tuple[int, ...]
    levels: tuple[float, float]

    @property
    def right(self) -> list[bool]:
        """Which seeds are on the right side beyond doubt."""
        return [number is not None and number[0] > 0 for number in self.numbers]

    @property
    def wrong(self) -> list[bool]:
        """Which are on the wrong side beyond doubt."""
        return [number is not None and number[1] < 0 for number in self.numbers]

    @property
    def state(self) -> State:
        """What they establish."""
        return self._after()

    @property
    def missing(self) -> int:
        """How many seeds can be added."""
        return max(0, self.looks[-1] - len(self.numbers))

    @property
    def can_be_decided(self) -> bool:
        """Whether these seeds, all on one side, would establish something."""
        return any(self._after(more) != "undecided" for more in ((True, False), (False, True)))

    def _after(self, more: tuple[bool, bool] | None = None) -> State:
        sides = (self.right, self.wrong)
        if more is not None:
            sides = (sides[0] + [more[0]] * self.missing, sides[1] + [more[1]] * self.missing)
        for side, level, state in zip(
            sides, self.levels, ("established", "contradicted"), strict=True
        ):
            if is_established(side, self.looks, level):
                return "established" if state == "established" else "contradicted"
        return "undecided"


def _what_decides(lines: Sequence[Line], test: _Test) -> tuple[str, tuple[CellResults, ...]]:
    """In words, and the cells whose further seeds could."""
    doubts: dict[str, list[str]] = {}
    for line in filter(lambda line: line.doubt, lines):
        doubts.setdefault(line.doubt, []).append(line.own.name)
    is_open = any(n is not None and n[0] <= 0 <= n[1] and n[0] < n[1] for n in test.numbers)
    if all(number is None for number in test.numbers):
        return lines[0].own.measure.needs, ()
    if doubts and is_open:
        told = [f"{what} ({names[0]}{_more(names)})" for what, names in doubts.items()]
        return "; ".join(told), ()
    if is_open:
        return "a wider range of rates, so that no window is open at its ends", ()
    if not test.missing or not test.can_be_decided:
        seeds = max(len(test.numbers), test.looks[-1])
        return f"nothing up to {seeds} seeds: they lie on both sides of the margin", ()
    cells = tuple({id(cell): cell for line in lines for cell in line.cells}.values())
    models = f"{len(cells)} model{'s' if len(cells) > 1 else ''}"
    time = sum(cell.seconds_of_a_seed() for cell in cells) * test.missing
    minutes = f"about {max(1, round(time / 60)):,} min of training"
    return f"{test.missing} more seeds of {models} (--decide), {minutes}", cells


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _merit(unit: Unit) -> float:
    """What the best goes by; a model that diverged at every rate has none."""
    merits = [float(cell.known("choice_merit")) for cell in unit]
    return -inf if any(map(isnan, merits)) else sum(merits)


def _choices(cells: Iterable[CellResults]) -> list[int]:
    return [int(cell.known("choices")) for cell in cells]


def _plain_bound(bound: Bound | None) -> Any:
    if not isinstance(bound, Of):
        return bound
    return {
        "cells": None if bound.cells is None else plain(bound.cells),
        "measure": None if bound.measure is None else bound.measure.name,
        "times": bound.times,
        "plus": bound.plus,
    }
