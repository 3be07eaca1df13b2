"""A part of a claim: which cells, what is measured of them, and the bounds that it is held against.

Results give a number for each seed of every cell. Each number is held against each bound by a sign
test of its own (`papers.sign_tests`): the part is established if all of them are, and contradicted
if the converse of one is, at a level divided by how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isnan, prod
from typing import Any, Literal

from recollect.analysis.sign_test import looks
from recollect.papers.bounds import Bound, Of, Side
from recollect.papers.claims import PartFinding, State
from recollect.papers.lines import Line, Select
from recollect.papers.measured import Measured
from recollect.papers.measures import Measure, Unit
from recollect.papers.remedies import remedy
from recollect.papers.results import Results
from recollect.papers.selectors import Where, check, in_words, plain
from recollect.papers.sign_tests import SignTest

LISTED = 6
"""Of more cells only the first that are not established are told of."""


@dataclass(frozen=True)
class Rule:
    """How a part is judged, known before anything is run.

    Attributes:
        tests: how many sign tests there are.
        looks: at how many seeds each is held.
        level: of the strictest that establishes a number.
        converse_level: of the strictest of the converses.
    """

    tests: int
    looks: tuple[int, ...]
    level: float
    converse_level: float


@dataclass(frozen=True, kw_only=True)
class Part:
    """Something that is measured of cells, and where it has to lie.

    Attributes:
        cells: which.
        measure: what.
        at_least: it is so much or more.
        above: it is more.
        below: it is less.
        converse: where a margin is asked for, the bound on the other side of which the part is
            contradicted, as no difference at all; None: the same bound.
        of: whether every cell is meant, or the best by the validation accuracy that chose its rate.
        why: the reason for the bounds: what makes a difference that matters.
    """

    cells: Where
    measure: Measure
    at_least: Bound | None = None
    above: Bound | None = None
    below: Bound | None = None
    converse: Bound | None = None
    of: Literal["each", "best"] = "each"
    why: str

    def __post_init__(self) -> None:
        if not self.sides:
            raise ValueError("at_least=None, above=None and below=None: give a bound")
        check(self.cells)
        for side in self.sides:
            if isinstance(side.bound, Of) and side.bound.cells is not None:
                check(side.bound.cells)
            if not _are_alike(side.bound, side.converse):
                raise ValueError(f"converse={side.converse}: expected a bound as {side.bound} is")
        if self.converse is not None and len(self.sides) > 1:
            raise ValueError("converse: expected a single bound; two have converses of their own")

    @property
    def sides(self) -> tuple[Side, ...]:
        """What each number has to be."""
        signs = {"at least": self.at_least, "above": self.above, "below": self.below}
        return tuple(
            Side(sign, bound, bound if self.converse is None else self.converse)  # type: ignore[arg-type]
            for sign, bound in signs.items()
            if bound is not None
        )

    @property
    def sentence(self) -> str:
        """What is tested."""
        cells = in_words(self.cells)
        which = f"each {cells}" if self.of == "each" else f"the {cells} that validates best"
        return f"{which}: {self.measure.name} {self._condition}"

    def record(self) -> dict[str, Any]:
        """Everything about it as plain values, for JSON."""
        return {
            "sentence": self.sentence,
            "cells": plain(self.cells),
            "of": self.of,
            "measure": self.measure.name,
            "sides": [side.record() for side in self.sides],
            "why": self.why,
        }

    def rule(self, planned: Results, level: float, converse_level: float) -> Rule:
        """How it will be judged.

        Args:
            planned: the cells, measured or not.
            level: of what establishes it.
            converse_level: of what establishes its converse.

        Raises:
            NotMeasured: where there is no such cell.
        """
        candidates = self.measure.units(planned.listed(self.cells))
        units = candidates if self.of == "each" else candidates[:1]
        lines = self._lines(units, planned, planned.listed)
        levels = [
            self._levels(line, candidates, len(lines), level, converse_level) for line in lines
        ]
        return Rule(
            tests=len(lines),
            looks=looks(min(line.first_seeds for line in lines)),
            level=min(of_right for of_right, _ in levels),
            converse_level=min(of_wrong for _, of_wrong in levels),
        )

    def judge(self, results: Results, level: float, converse_level: float) -> PartFinding:
        """Hold results against it, see `claims.Statement`."""
        candidates = self.measure.units(results.select(self.cells))
        units = candidates if self.of == "each" else [max(candidates, key=_merit)]
        judged = [unit for unit in units if not self.measure.is_spared(unit)]
        lines = self._lines(judged, results, results.select)
        tests = [
            SignTest(line, self._levels(line, candidates, len(lines), level, converse_level))
            for line in lines
        ]
        state = _state(tests)
        spared = self._lines(
            [unit for unit in units if unit not in judged], results, results.select
        )
        found = remedy(tests) if tests and state == "undecided" else None
        needs = "" if tests else self.measure.needs
        return PartFinding(
            state,
            self._evidence(tests, spared),
            _measured(lines),
            found.words if found else needs,
            found.seeds if found else (),
            found.rates if found else (),
        )

    @property
    def _condition(self) -> str:
        """Where the number has to lie, in words."""
        above, below = self.at_least, self.below
        if isinstance(above, Of) and below == replace(above, plus=-above.plus):
            return f"within {abs(above.plus):g} of {replace(above, plus=0.0)}"
        return " and ".join(map(str, self.sides))

    def _lines(self, units: Sequence[Unit], results: Results, select: Select) -> list[Line]:
        return [
            Line.of(self.measure, unit, side, results, select)
            for unit in units
            for side in self.sides
        ]

    def _levels(
        self,
        line: Line,
        candidates: Sequence[Unit],
        lines: int,
        level: float,
        converse_level: float,
    ) -> tuple[float, float]:
        """Of a test and its converse. Where rates, or the best cell, were chosen by the seeds that
        are judged, a number is higher than it should be: the level of what says that it is high is
        divided by how many competed."""
        own = _choices(line.own.unit)
        if self.of == "best" and any(_choices(unit) > 1 for unit in candidates):
            own = sum(map(_choices, candidates))
        others = prod(
            _choices(numbers.unit) for numbers in line.beside if numbers.unit != line.own.unit
        )
        high, low = (own, others) if line.side.is_high else (others, own)
        return level / high, converse_level / lines / low

    def _evidence(self, tests: Sequence[SignTest], spared: Sequence[Line]) -> str:
        rank = {"contradicted": 0, "undecided": 1, "established": 2, "not run": 3}
        by_unit: dict[Unit, list[SignTest]] = {
            test.line.own.unit: [] for test in sorted(tests, key=lambda test: rank[test.state])
        }
        for test in tests:
            by_unit[test.line.own.unit].append(test)
        told = [
            f"{of_unit[0].line}, {' and '.join(dict.fromkeys(each.count for each in of_unit))}"
            for of_unit in [*by_unit.values()][:LISTED]
        ]
        if len(by_unit) > LISTED:
            told.append(f"{len(by_unit) - LISTED} more")
        left_out = [f"{line}, left out" for line in spared[:: len(self.sides)]]
        return f"{'; '.join([*told, *left_out])} ({self._short_condition})"

    @property
    def _short_condition(self) -> str:
        """With what it is compared left to the numbers before it."""
        return " and ".join(
            f"{side.sign} {side.bound.of('what is beside it')}"
            if isinstance(side.bound, Of)
            else str(side)
            for side in self.sides
        )


def _measured(lines: Sequence[Line]) -> dict[str, Measured]:
    """By name; that of a study too, where cells of several have the same."""
    found: dict[str, tuple[Unit, Measured]] = {}
    for numbers in (numbers for line in lines for numbers in line.numbers):
        over_seeds, name = numbers.over_seeds, f"{numbers.name}: {numbers.measure.name}"
        if over_seeds is None:
            continue
        if found.setdefault(name, (numbers.unit, over_seeds))[0] != numbers.unit:
            found[f"{name} [{numbers.unit[0].study}]"] = numbers.unit, over_seeds
    return {name: number for name, (_, number) in found.items()}


def _state(tests: Sequence[SignTest]) -> State:
    states = {test.state for test in tests}
    if "contradicted" in states:
        return "contradicted"
    return "established" if states == {"established"} else "undecided"


def _are_alike(bound: Bound, converse: Bound) -> bool:
    """Whether both are fixed, or measured of the same."""
    if isinstance(bound, Of) and isinstance(converse, Of):
        return bound == replace(converse, times=bound.times, plus=bound.plus)
    return not isinstance(bound, Of) and not isinstance(converse, Of)


def _merit(unit: Unit) -> float:
    """What the best goes by; a model that diverged at every rate has none."""
    merits = [float(cell.known("choice_merit")) for cell in unit]
    return -inf if any(map(isnan, merits)) else sum(merits)


def _choices(unit: Unit) -> int:
    """In how many ways their rates may have been chosen on the seeds that are reported."""
    return prod(cell.choices for cell in unit)
