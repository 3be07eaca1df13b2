"""Learning rates as numbers: their smallest distance, rounding and midpoints."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

from recollect.errors import UserError

LEAST_RATIO = 1.01
"""Smallest ratio of two different rates; closer ones look equal in three digits."""
LEAST, MOST = 1e-30, 1e30
"""Limits of a search's rates, so that all its numbers are finite."""
ROUNDING = 1e-9
"""Relative tolerance of the ratio of two typed numbers."""


def check_apart(name: str, rates: Iterable[float]) -> None:
    """Check that rates differ by at least 1 %.

    Args:
        name: their name in messages.
        rates: ascending rates.

    Raises:
        UserError: if two of them are closer than 1 %, or one is not positive.
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
    """Check that a rate is within the limits of a search.

    Raises:
        UserError: if it is not.
    """
    if not LEAST <= rate <= MOST:
        raise UserError(
            f"{name}={rate:g}: expected a positive learning rate up to {MOST:g}, and not below"
            f" {LEAST:g}"
        )


def middle(low: float, high: float) -> float:
    """Midpoint of two rates in log."""
    return three_digits(math.sqrt(low * high))


def three_digits(rate: float) -> float:
    """Round a rate to three digits, so that tables show it exactly."""
    return float(f"{rate:.3g}")
