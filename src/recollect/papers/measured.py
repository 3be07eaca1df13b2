"""Numbers that results give, and what is raised where they are missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean


class NotMeasured(Exception):
    """Something that a claim needs is not in the store, or not finished."""


@dataclass(frozen=True)
class Measured:
    """A number and its spread.

    Attributes:
        value: the mean over seeds, or what else is said of it.
        low: the lowest seed, or the lower end of an interval.
        high: the highest seed, or the upper end.
    """

    value: float
    low: float
    high: float

    @classmethod
    def over(cls, values: Iterable[float]) -> Measured:
        """Mean, minimum and maximum."""
        numbers = list(values)
        low, high = min(numbers), max(numbers)
        return cls(min(max(fmean(numbers), low), high), low, high)

    def __str__(self) -> str:
        if f"{self.low:.3f}" == f"{self.high:.3f}":
            return f"{self.value:.3f}"
        to = " to " if self.low < 0 else "–"  # no dash beside a minus
        return f"{self.value:.3f} ({self.low:.3f}{to}{self.high:.3f})"
