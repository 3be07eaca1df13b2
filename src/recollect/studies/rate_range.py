"""Rates that a search may try: a coarse logarithmic grid and its extension."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field, model_validator
from typing_extensions import Self

from recollect.errors import UserError
from recollect.studies.procedure import Search
from recollect.studies.rates import check_apart, check_end, three_digits

SEARCH_SEEDS = tuple(range(9001, 9011))
"""Search seeds, of which a search uses the first ones; none of them is reported."""

FULL_RANGE = (1e-4, 1e-1)
"""Range of rates that must be tried before a model is said not to learn."""

BEYOND = 10
"""Largest factor by which a search extends its grid and the full range."""

ROUNDING = 0.01
"""Tolerance of places in the grid, because coarse rates are rounded to three digits."""

TWO_SEARCHES = (
    "LearningRateSearch measures the window of working rates, BestRateSearch finds only the best"
    " rate: choose one of them"
)
"""Hint for users who look for a switch between the two searches."""


class RangeSearch(Search):
    """A search between two rates that may extend beyond them.

    Attributes:
        low: lowest coarse rate.
        high: highest coarse rate, at least 1 % above `low`.
        per_decade: coarse rates per decade.
        rungs: fractions of the budget after which rates on the plateau are stopped; rounded up to a
            validation.
        refine: rounds of refinement.
        search_seeds: number of separate seeds that choose the rate; 0: the study's seeds choose it.
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
                f"low={self.low} must lie below high={self.high}; for one rate, use"
                f" FixedGrid(rates=[{self.low}])"
            )
        check_apart("low and high", (self.low, self.high))
        if any(not 0 < rung < 1 for rung in self.rungs):
            raise UserError(f"rungs={list(self.rungs)}: expected shares between 0 and 1")
        return self

    @property
    def own_seeds(self) -> tuple[int, ...]:
        """The first `search_seeds` of `SEARCH_SEEDS`."""
        return SEARCH_SEEDS[: self.search_seeds]

    @property
    def begins_near(self) -> bool:
        """Always True."""
        return True

    @property
    def coarse(self) -> tuple[float, ...]:
        """The coarse grid."""
        return tuple(map(self.rate, range(self.last + 1)))

    @property
    def last(self) -> int:
        """Number of the highest rate of the grid; the lowest has number 0."""
        return max(1, round(math.log10(self.high / self.low) * self.per_decade))

    @property
    def is_narrow(self) -> bool:
        """Whether the ends of the grid are closer than two coarse rates."""
        return round(math.log10(self.high / self.low) * self.per_decade) == 0

    @property
    def limits(self) -> tuple[int, int]:
        """Numbers of the lowest and the highest coarse rate that may be tried."""
        low, high = FULL_RANGE
        below = math.floor(self._intervals(min(self.low, low) / BEYOND, self.low) + ROUNDING)
        above = math.floor(self._intervals(self.high, max(self.high, high) * BEYOND) + ROUNDING)
        first, last = self.full
        return min(-1, -below, first), max(self.last + 1, self.last + above, last)

    @property
    def full(self) -> tuple[int, int]:
        """Numbers of the first and the last coarse rate needed to cover the full range and the
        grid."""
        low, high = FULL_RANGE
        below = math.ceil(self._intervals(low, self.low) - ROUNDING)
        above = math.ceil(self._intervals(self.high, high) - ROUNDING)
        return -max(0, below), self.last + max(0, above)

    def rate(self, i: int) -> float:
        """Coarse rate number i, also beyond the ends of the grid.

        Args:
            i: number of the rate; the lowest of the grid has 0.

        Returns:
            The rate, to three digits. Beyond the ends a narrow grid has the usual distances.
        """
        if self.is_narrow and not 0 <= i <= 1:
            end, steps = (self.low, i) if i < 0 else (self.high, i - 1)
            return three_digits(end * 10 ** (steps / self.per_decade))
        return three_digits(self.low * (self.high / self.low) ** (i / self.last))

    def place(self, rate: float) -> float:
        """Place of a rate among the coarse ones; not for narrow grids.

        Args:
            rate: a learning rate.

        Returns:
            Its number, with a fraction for a rate between two coarse ones.
        """
        return round(math.log(rate / self.low) / math.log(self.high / self.low) * self.last, 2)

    def rung_steps(self, steps: int, eval_every: int) -> list[int]:
        """Validations at which rates may be stopped.

        Args:
            steps: length of a trial, in optimiser steps.
            eval_every: steps between validations.

        Returns:
            Their steps in ascending order, each below `steps`.
        """
        found = {math.ceil(rung * steps / eval_every) * eval_every for rung in self.rungs}
        return sorted(step for step in found if step < steps)

    def _intervals(self, low: float, high: float) -> float:
        """Number of grid intervals between two rates beyond an end of the grid."""
        decades = 1 / self.per_decade
        if not self.is_narrow:
            decades = math.log10(self.high / self.low) / self.last
        return math.log10(high / low) / decades
