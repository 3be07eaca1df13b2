"""How many documents must be read before those that were not read cannot turn a mean.

A kind of document that makes a share p of all is missing from n of them with a probability of
(1 - p)^n, and no statistic of those that were read tells of it. So a mean counts only if it keeps
its side of 0 whatever kind may be missing, as far as that kind is not extreme beyond a stated size.
"""

from __future__ import annotations

import math

MISSED = 0.05
"""How often a kind may be missing without being reckoned with: rarer ones are small."""
HIDDEN = 4.0
"""What such a kind may have on the other side of 0, in gaps: documents with eight times the gap of
the others, all of it on the wrong side of a half."""


def documents_needed(value: float, gap: float) -> float:
    """How many documents must be read before a kind that is missing cannot turn a number.

    Args:
        value: the number, on one side of 0.
        gap: by whose size a document may differ.
    """
    if value == 0:
        return math.inf
    share = abs(value) / (abs(value) + HIDDEN * abs(gap))  # of a kind that would make it 0
    return 1 if share == 1 else math.ceil(math.log(MISSED) / math.log1p(-share))
