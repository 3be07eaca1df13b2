"""Measured numbers with their spread, and the exception for missing ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean, median

from recollect.studies.learnt import rounded


class NotMeasured(Exception):
    """A result that a claim needs is missing or not finished."""


@dataclass(frozen=True)
class MeasuredNumber:
    """A number and its spread.

    Attributes:
        value: the median seed, or the mean over seeds where the docs say so.
        low: the lowest seed, or the lower end of an interval.
        high: the highest seed, or the upper end.
        at_least: True if the number of a seed is only a lower bound.
    """

    value: float
    low: float
    high: float
    at_least: bool = field(default=False, kw_only=True)

    @classmethod
    def over(cls, values: Iterable[float]) -> MeasuredNumber:
        """Mean, minimum and maximum."""
        numbers = list(values)
        low, high = min(numbers), max(numbers)
        return cls(min(max(fmean(numbers), low), high), low, high)

    @classmethod
    def median(cls, values: Iterable[float]) -> MeasuredNumber:
        """Median, minimum and maximum."""
        numbers = list(values)
        return cls(median(numbers), min(numbers), max(numbers))

    def __str__(self) -> str:
        least = "at least " if self.at_least else ""
        value, low, high = map(rounded, (self.value, self.low, self.high))
        if low == high:
            return f"{least}{value}"
        to = " to " if self.low < 0 else "–"  # no dash next to a minus sign
        return f"{least}{value} ({low}{to}{high})"
