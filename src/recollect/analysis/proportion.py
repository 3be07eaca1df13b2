"""How sure a share of right answers is, where several answers come from one example."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from jaxtyping import Int64

FEW = 10
"""Fewer examples than this with a right answer, or with a wrong one, do not show how they vary."""


def proportion_interval(
    right: Int64[np.ndarray, " n"], answers: Int64[np.ndarray, " n"], *, confidence: float = 0.95
) -> tuple[float, float]:
    """Wilson's score interval (1927; Brown, Cai and DasGupta, 2001) of sum(right) / sum(answers).

    Answers of one example may be right or wrong together, so they count as fewer independent ones:
    as many as would give the variance that is seen between examples (the effective sample size of
    Korn and Graubard, 1998; for Wilson's interval Dean and Pagano, 2015). Where few examples have a
    right answer, or few a wrong one, no more than there are examples: the interval is then rather
    wide. With one answer for each example it is Wilson's interval itself.

    Args:
        right: right answers of each example.
        answers: all answers of each example, at least one.
        confidence: how often the interval holds the true share.

    Returns:
        Its ends, from 0 to 1.
    """
    total = int(answers.sum())
    share = int(right.sum()) / total
    count = _independent(right, answers, share)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = share + z**2 / (2 * count)
    reach = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    scale = 1 + z**2 / count
    # either end is exact where all answers or none are right; rounding would miss it
    low = 0.0 if share == 0 else (middle - reach) / scale
    high = 1.0 if share == 1 else (middle + reach) / scale
    return low, high


def _independent(
    right: Int64[np.ndarray, " n"], answers: Int64[np.ndarray, " n"], share: float
) -> float:
    """As many independent answers would vary as much; by the variance of a ratio."""
    total = int(answers.sum())
    variance = float(((right - share * answers) ** 2).sum()) / total**2
    seen = min(np.count_nonzero(right), np.count_nonzero(right < answers))
    most = len(answers) if seen < FEW else total
    return most if variance == 0 else min(share * (1 - share) / variance, most)
