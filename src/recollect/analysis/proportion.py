"""Confidence interval of an accuracy when one example has several answers."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from jaxtyping import Int64

FEW = 10
"""Fewest examples with a right answer, and with a wrong one, from which a variance between examples
is estimated."""


def proportion_interval(
    right: Int64[np.ndarray, " n"], answers: Int64[np.ndarray, " n"], *, confidence: float = 0.95
) -> tuple[float, float]:
    """Wilson's score interval (1927; Brown, Cai and DasGupta, 2001) of sum(right) / sum(answers).

    The answers of one example are correlated, so the number of answers is replaced by the number of
    independent answers that would have the variance observed between examples (the effective sample
    size of Korn and Graubard, 1998; for Wilson's interval Dean and Pagano, 2015). If few examples
    have a right answer, or few have a wrong one, it is at most the number of examples, which makes
    the interval rather wide. With one answer per example the result is Wilson's interval.

    Args:
        right: number of right answers of each example.
        answers: number of answers of each example, at least one.
        confidence: probability with which the interval contains the true accuracy.

    Returns:
        The ends of the interval, from 0 to 1.
    """
    total = int(answers.sum())
    share = int(right.sum()) / total
    count = _independent(right, answers, share)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = share + z**2 / (2 * count)
    reach = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    scale = 1 + z**2 / count
    # the end is exact if no answer or every answer is right; rounding would miss it
    low = 0.0 if share == 0 else (middle - reach) / scale
    high = 1.0 if share == 1 else (middle + reach) / scale
    return low, high


def _independent(
    right: Int64[np.ndarray, " n"], answers: Int64[np.ndarray, " n"], share: float
) -> float:
    """Effective number of independent answers, by the variance of a ratio."""
    total = int(answers.sum())
    variance = float(((right - share * answers) ** 2).sum()) / total**2
    seen = min(np.count_nonzero(right), np.count_nonzero(right < answers))
    most = len(answers) if seen < FEW else total
    return most if variance == 0 else min(share * (1 - share) / variance, most)
