"""The rates that a search may try: a coarse logarithmic grid, and how far it may go beyond it."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field, model_validator
from typing_extensions import Self

from recollect.errors import UserError
from recollect.studies.procedure import Search
from recollect.studies.rates import check_apart, check_end, three_digits

SEARCH_SEEDS = tuple(range(9001, 9011))
"""The seeds on which searches choose, from the first on; none of them is reported."""

FULL_RANGE = (1e-4, 1e-1)
"""Rates that are tried, at least, before a model is said not to learn."""

BEYOND = 10
"""A search goes no further than this factor beyond its grid and the full range."""

ROUNDING = 0.01
"""Coarse rates are rounded to three digits, so places among them are compared this roughly."""

TWO_SEARCHES = (
    "LearningRateSearch measures the window of working rates, BestRateSearch finds the best rate"
    " alone: take the one that is meant"
)
"""What somebody is told who looks for a switch between them."""


class RangeSearch(Search):
    """A search between two rates that may look beyond them.

    Attributes:
        low: lowest coarse rate.
        high: highest coarse rate, at least 1 % above.
        per_decade: coarse rates a decade.
        rungs: shares of the budget after which rates on the plateau are stopped, rounded up to a
            validation.
        refine: rounds of refinement.
        search_seeds: how many seeds of its own choose the rate; 0: the study's seeds choose it.
    """

    low: float = 1e-4
    high: float = 1e-1
    per_decade: int = Field(default=2, ge=1, le=10)
    rungs: tuple[float, ...] = (0.25, 0.5)
    refine: int = Field(default=1, ge=0, le=3)
    search_seeds: int = Field(default=2, ge=0, le=len(SEARCH_SEEDS))

    @model_validator(mode="before")
    @classmethod
    def _has_no_switch(cls, values: Any) -> Any:
        if isinstance(values, dict) and "window" in values:
            raise UserError(f"window={values['window']!r}: {TWO_SEARCHES}")
        return values

    @model_validator(mode="after")
    def _spans_a_range(self) -> Self:
        check_end("low", self.low)
        check_end("high", self.high)
        if self.low >= self.high:
            raise UserError(
                f"low={self.low} must lie below high={self.high}; for one rate, take"
                f" FixedGrid(rates=[{self.low}])"
            )
        check_apart("low and high", (self.low, self.high))
        if any(not 0 < rung < 1 for rung in self.rungs):
            raise UserError(f"rungs={list(self.rungs)}: expected shares between 0 and 1")
        return self

    @property
    def own_seeds(self) -> tuple[int, ...]:
        """As many as were asked for."""
        return SEARCH_SEEDS[: self.search_seeds]

    @property
    def begins_near(self) -> bool:
        """It does."""
        return True

    @property
    def coarse(self) -> tuple[float, ...]:
        """The coarse grid."""
        return tuple(map(self.rate, range(self.last + 1)))

    @property
    def last(self) -> int:
        """The number of the highest rate of the grid; the lowest has 0."""
        return max(1, round(math.log10(self.high / self.low) * self.per_decade))

    @property
    def is_narrow(self) -> bool:
        """Whether the grid is its two ends, and these are closer than coarse rates are."""
        return round(math.log10(self.high / self.low) * self.per_decade) == 0

    @property
    def limits(self) -> tuple[int, int]:
        """The numbers of the lowest and the highest coarse rate that may be tried."""
        low, high = FULL_RANGE
        below = math.floor(self._intervals(min(self.low, low) / BEYOND, self.low) + ROUNDING)
        above = math.floor(self._intervals(self.high, max(self.high, high) * BEYOND) + ROUNDING)
        first, last = self.full
        return min(-1, -below, first), max(self.last + 1, self.last + above, last)

    @property
    def full(self) -> tuple[int, int]:
        """The numbers of the coarse rates from one to another of which the full range is covered,
        and the grid."""
        low, high = FULL_RANGE
        below = math.ceil(self._intervals(low, self.low) - ROUNDING)
        above = math.ceil(self._intervals(self.high, high) - ROUNDING)
        return -max(0, below), self.last + max(0, above)

    def rate(self, i: int) -> float:
        """The coarse rate number `i`, counted from the lowest of the grid, which has 0. Numbers
        beyond both ends of the grid have rates too."""
        if self.is_narrow and not 0 <= i <= 1:
            end, steps = (self.low, i) if i < 0 else (self.high, i - 1)
            return three_digits(end * 10 ** (steps / self.per_decade))
        return three_digits(self.low * (self.high / self.low) ** (i / self.last))

    def place(self, rate: float) -> float:
        """The number of `rate` among the coarse ones, with a fraction where it lies between two.
        It is not defined for a narrow grid."""
        return round(math.log(rate / self.low) / math.log(self.high / self.low) * self.last, 2)

    def rung_steps(self, steps: int, eval_every: int) -> list[int]:
        """The validations of a trial at which rates may be stopped.

        Args:
            steps: the budget of a trial, in optimiser steps.
            eval_every: steps between validations.

        Returns:
            Steps below the budget, in ascending order.
        """
        found = {math.ceil(rung * steps / eval_every) * eval_every for rung in self.rungs}
        return sorted(step for step in found if step < steps)

    def _intervals(self, low: float, high: float) -> float:
        """How many intervals of the grid lie between two rates beyond one of its ends."""
        decades = 1 / self.per_decade
        if not self.is_narrow:
            decades = math.log10(self.high / self.low) / self.last
        return math.log10(high / low) / decades
