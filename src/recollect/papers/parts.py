"""A part of a claim: cells, a measure, and bounds.

Results give a number for each seed of every cell. A sign test (`papers.sign_tests`) compares each
number with each bound. The part is established if all tests are, and contradicted if the converse
of one test is, at a level divided by the number of tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, prod
from typing import Any, Literal

import pandas as pd

from recollect.analysis.sign_test import looks
from recollect.papers.bounds import Bound, Of, Side
from recollect.papers.claims import PartFinding, State
from recollect.papers.lines import Line, Numbers, Select
from recollect.papers.measures import Measure, Unit
from recollect.papers.remedies import remedy
from recollect.papers.results import PaperResults
from recollect.papers.selectors import Where, check, in_words, plain
from recollect.papers.sign_tests import SignTest

LISTED = 6
"""The most cells named in the evidence; contradicted and undecided ones come first."""


@dataclass(frozen=True)
class Rule:
    """How a part is judged; fixed before anything is run.

    Attributes:
        tests: the number of sign tests.
        looks: the numbers of seeds at which each test is made.
        level: the level of the strictest test that establishes a number.
        converse_level: the level of the strictest test of a converse.
    """

    tests: int
    looks: tuple[int, ...]
    level: float
    converse_level: float


@dataclass(frozen=True, kw_only=True)
class Part:
    """A measure of cells, and the bounds within which it must lie.

    Attributes:
        cells: the cells.
        measure: the measure.
        at_least: a lower bound, included.
        above: a lower bound, not included.
        below: an upper bound, not included.
        converse: the bound of the converse, if the bound contains a margin (such as no difference
            at all); None: the same bound.
        of: "each" cell, or the "best" by the validation score that chose its rate.
        why: the reason for the bounds.
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
        """The sides on which each number must lie."""
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
        """The part as plain values, for JSON."""
        return {
            "sentence": self.sentence,
            "cells": plain(self.cells),
            "of": self.of,
            "measure": self.measure.name,
            "sides": [side.record() for side in self.sides],
            "why": self.why,
        }

    def rule(self, planned: PaperResults, level: float, converse_level: float) -> Rule:
        """How the part will be judged.

        Args:
            planned: the cells, measured or not.
            level: the level of the test that establishes it.
            converse_level: the level of the test that establishes its converse.

        Raises:
            NotMeasured: if there is no such cell.
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

    def judge(self, results: PaperResults, level: float, converse_level: float) -> PartFinding:
        """Test the part, see `claims.Statement`."""
        candidates = self.measure.units(results.select(self.cells))
        units = candidates if self.of == "each" else [max(candidates, key=score)]
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
        numbers = _by_name([*lines, *spared])
        return PartFinding(
            state,
            self._sentences(tests, spared),
            {
                name: value
                for name, each in numbers.items()
                if (value := each.over_seeds) is not None
            },
            {name: each.unit for name, each in numbers.items()},
            found.words if found else needs,
            found.seeds if found else (),
            found.rates if found else (),
            found.steps if found else (),
        )

    @property
    def _condition(self) -> str:
        """The bounds in words."""
        above, below = self.at_least, self.below
        if isinstance(above, Of) and below == replace(above, plus=-above.plus):
            return f"within {abs(above.plus):g} of {replace(above, plus=0.0)}"
        return " and ".join(map(str, self.sides))

    def _lines(self, units: Sequence[Unit], results: PaperResults, select: Select) -> list[Line]:
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
        """The levels of a test and of its converse.

        If rates or the best cell were chosen on the judged seeds, numbers are biased upwards. So
        the level of a test that a number is high is divided by the number of candidates.
        """
        own = _choices(line.own.unit)
        if self.of == "best" and any(_choices(unit) > 1 for unit in candidates):
            own = sum(map(_choices, candidates))
        others = prod(
            _choices(numbers.unit) for numbers in line.beside if numbers.unit != line.own.unit
        )
        high, low = (own, others) if line.side.is_high else (others, own)
        return level / high, converse_level / lines / low

    def _sentences(self, tests: Sequence[SignTest], spared: Sequence[Line]) -> tuple[str, ...]:
        """A sentence for each cell, the last one with the bounds."""
        rank = {"contradicted": 0, "undecided": 1, "established": 2, "not run": 3}
        by_unit: dict[Unit, list[SignTest]] = {
            test.line.own.unit: [] for test in sorted(tests, key=lambda test: rank[test.state])
        }
        for test in tests:
            by_unit[test.line.own.unit].append(test)
        sentences = [
            f"{of_unit[0].line}, {' and '.join(dict.fromkeys(each.count for each in of_unit))}"
            for of_unit in [*by_unit.values()][:LISTED]
        ]
        if len(by_unit) > LISTED:
            sentences.append(f"{len(by_unit) - LISTED} more")
        left_out = [f"{line}, left out" for line in spared[:: len(self.sides)]]
        *others, last = [*sentences, *left_out]
        return (*others, f"{last} ({self._short_condition})")

    @property
    def _short_condition(self) -> str:
        """The bounds in words, without the names of compared cells."""
        return " and ".join(
            f"{side.sign} {side.bound.of('the compared value')}"
            if isinstance(side.bound, Of)
            else str(side)
            for side in self.sides
        )


def _by_name(lines: Sequence[Line]) -> dict[str, Numbers]:
    """The numbers by name, with the study if cells of several studies have the same name."""
    found: dict[str, Numbers] = {}
    for numbers in (numbers for line in lines for numbers in line.numbers):
        name = f"{numbers.name}: {numbers.measure.name}"
        if found.setdefault(name, numbers).unit != numbers.unit:
            found[f"{name} [{numbers.unit[0].study}]"] = numbers
    return found


def _state(tests: Sequence[SignTest]) -> State:
    states = {test.state for test in tests}
    if "contradicted" in states:
        return "contradicted"
    return "established" if states == {"established"} else "undecided"


def _are_alike(bound: Bound, converse: Bound) -> bool:
    """Return True if both are fixed, or measured on the same cells by the same measure."""
    if isinstance(bound, Of) and isinstance(converse, Of):
        return bound == replace(converse, times=bound.times, plus=bound.plus)
    return not isinstance(bound, Of) and not isinstance(converse, Of)


def score(unit: Unit) -> float:
    """The validation score of a unit; minus infinity if a model diverged at every rate."""
    scores = [cell.known("choice_merit") for cell in unit]
    return -inf if any(map(pd.isna, scores)) else float(sum(scores))


def _choices(unit: Unit) -> int:
    """In how many ways the rates of a unit may have been chosen on the reported seeds."""
    return prod(cell.choices for cell in unit)
