"""Sample size at which documents missing from the sample cannot change the sign of a mean.

A kind of document with share p of all documents is missing from a sample of n with probability
(1 - p)^n, and the sample contains no sign of it. So a mean counts only if every kind of document
that may be missing, up to a stated size of its effect, leaves its sign unchanged.
"""

from __future__ import annotations

import math

MISSED = 0.05
"""Probability below which a kind of document is assumed not to be missing."""
HIDDEN = 4.0
"""Largest opposite effect of a missing kind, in gaps. For a share compared with 1/2, these are
documents with eight times the gap of the others, all of it on the wrong side."""


def documents_needed(value: float, gap: float) -> float:
    """Number of documents after which a missing kind cannot change the sign of a number.

    Args:
        value: the number.
        gap: the unit of the effect of a missing kind.
    """
    if value == 0:
        return math.inf
    # share of a kind that would make the value 0
    share = abs(value) / (abs(value) + HIDDEN * abs(gap))
    return 1 if share == 1 else math.ceil(math.log(MISSED) / math.log1p(-share))
