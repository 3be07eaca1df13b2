"""Learning rates as numbers: which a table tells apart, and which lie between others."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

from recollect.errors import UserError

LEAST_RATIO = 1.01
"""Rates that are closer are one rate: they look alike in three digits, and train alike."""
LEAST, MOST = 1e-30, 1e30
"""A search lies between these, so that all of its numbers are finite."""
ROUNDING = 1e-9
"""Relative error of a ratio of numbers as they are typed."""


def check_apart(name: str, rates: Iterable[float]) -> None:
    """See that rates can be told apart.

    Args:
        name: what they are called in the message.
        rates: ascending.

    Raises:
        UserError: where two of them are closer than 1 %, or one is not positive.
    """
    rates = list(rates)
    if rates[0] <= 0:
        raise UserError(f"{name}={rates}: expected positive numbers")
    for low, high in pairwise(rates):
        if high < low * LEAST_RATIO * (1 - ROUNDING):
            raise UserError(
                f"{name}={rates}: {low!r} and {high!r} are nearly the same learning rate;"
                " expected rates that differ by at least 1 %"
            )


def check_end(name: str, rate: float) -> None:
    """See that a search can begin or end at a rate.

    Raises:
        UserError: where it cannot.
    """
    if not LEAST <= rate <= MOST:
        raise UserError(
            f"{name}={rate:g}: expected a positive learning rate up to {MOST:g}, and not below"
            f" {LEAST:g}"
        )


def middle(low: float, high: float) -> float:
    """The rate in the middle, in log."""
    return three_digits(math.sqrt(low * high))


def three_digits(rate: float) -> float:
    """Rates have three digits, so that a table shows them as they are."""
    return float(f"{rate:.3g}")
