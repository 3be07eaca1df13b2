"""An exact test of the median seed that may look at the data more than once.

Each seed gives one number, which lies on the right side of a threshold or does not. If the median
is not on the right side, a seed is there with probability 1/2 at most, whatever the distribution;
a number on the threshold is on neither side. So the count of right seeds is held against coin
tosses: no normality, no variance, no large sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from math import comb

MOST_SEEDS = 10
"""Seeds are added to undecided claims up to so many."""
FEW_SEEDS = 5
"""The fewest that can establish anything at 5 %."""


def looks(first: int) -> tuple[int, ...]:
    """The numbers of seeds at which a study of `first` seeds is judged, if more are added."""
    return tuple(sorted({first, max(first, FEW_SEEDS), max(first, MOST_SEEDS)}))


@cache
def boundaries(looks: tuple[int, ...], level: float) -> tuple[int | None, ...]:
    """How many seeds must be right at each look to establish that the median is.

    Chosen greedily: at each look the fewest with which the error so far, of this look and all
    before, stays at most `level`.

    Args:
        looks: ascending numbers of seeds.
        level: how often at most the whole procedure may err.

    Returns:
        For each look; None where all seeds together are too few.

    Raises:
        ValueError: for looks that do not ascend from 1, or a level outside of 0 to 1.
    """
    if not looks or looks[0] < 1 or any(a >= b for a, b in pairwise(looks)):
        raise ValueError(f"looks={looks}: expected ascending numbers of seeds, from 1 on")
    if not 0 < level < 1:
        raise ValueError(f"level={level}: expected a number between 0 and 1")
    found: list[int | None] = []
    going_on, seen, error = {0: 1.0}, 0, 0.0
    for look in looks:
        here = _after(going_on, look - seen)
        needed: int | None = None
        for right in range(look, -1, -1):
            tail = sum(chance for count, chance in here.items() if count >= right)
            if error + tail > level:
                break
            needed = right
        if needed is not None:
            error += sum(chance for count, chance in here.items() if count >= needed)
            here = {count: chance for count, chance in here.items() if count < needed}
        found.append(needed)
        going_on, seen = here, look
    return tuple(found)


def deciding_look(right: Sequence[bool], looks: tuple[int, ...], level: float) -> int | None:
    """At how many seeds it is established that the median seed is right; None: at none so far.

    Args:
        right: whether each seed is, in the order in which they were added.
        looks: as in `boundaries`; those beyond the seeds that are there are yet to come.
        level: likewise.
    """
    for look, needed in zip(looks, boundaries(looks, level), strict=True):
        if needed is not None and look <= len(right) and sum(right[:look]) >= needed:
            return look
    return None


def is_established(right: Sequence[bool], looks: tuple[int, ...], level: float) -> bool:
    """Whether the median seed is right, see `deciding_look`."""
    return deciding_look(right, looks, level) is not None


def range_coverage(seeds: int) -> float:
    """How often at least the range over so many seeds holds the median."""
    return 1 - 2 * 0.5**seeds


def _after(counts: dict[int, float], tosses: int) -> dict[int, float]:
    """The chances of each count after more tosses of a fair coin."""
    after: dict[int, float] = {}
    for count, chance in counts.items():
        for heads in range(tosses + 1):
            more = chance * comb(tosses, heads) / 2**tosses
            after[count + heads] = after.get(count + heads, 0.0) + more
    return after
