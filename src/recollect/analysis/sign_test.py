"""An exact sequential sign test of the median over seeds.

Each seed gives one number, which is on the claimed side of a threshold or not; a number on the
threshold is not. If the median is not on the claimed side, a seed is there with probability at most
1/2, whatever the distribution. So the number of such seeds is compared with fair coin tosses. The
test assumes neither normality nor a large sample, and stays valid when seeds are added and it is
repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from math import comb

MOST_SEEDS = 10
"""Seeds are added to undecided claims up to this number."""
FEW_SEEDS = 5
"""Fewest seeds that can establish a claim at the 5 % level."""


def looks(first: int) -> tuple[int, ...]:
    """Numbers of seeds at which a study that begins with `first` seeds is tested."""
    return tuple(sorted({first, max(first, FEW_SEEDS), max(first, MOST_SEEDS)}))


@cache
def boundaries(looks: tuple[int, ...], level: float) -> tuple[int | None, ...]:
    """Number of right seeds that each look requires to establish that the median is right.

    Chosen greedily: at each look the smallest number with which the probability of an error at this
    or an earlier look is at most `level`.

    Args:
        looks: ascending numbers of seeds.
        level: error probability of the whole procedure.

    Returns:
        One number per look; None if even all seeds right would not suffice.

    Raises:
        ValueError: if looks do not ascend from at least 1, or the level is not between 0 and 1.
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


def deciding_look(
    right: Sequence[bool], looks: tuple[int, ...], level: float, first: Sequence[bool] = ()
) -> int | None:
    """Number of seeds at which the test establishes that the median is right; None if it has not.

    Args:
        right: whether each seed is right, in the order in which seeds were added.
        looks: as in `boundaries`; looks at more seeds than there are have not happened.
        level: as in `boundaries`.
        first: whether each of the first seeds was right before others were added, if that may have
            changed; the look at so many seeds used these.
    """
    for look, needed in zip(looks, boundaries(looks, level), strict=True):
        seen = first if look == len(first) else right[:look]
        if needed is not None and look <= len(seen) and sum(seen) >= needed:
            return look
    return None


def range_coverage(seeds: int) -> float:
    """Smallest probability that the range over `seeds` seeds contains the median."""
    return 1 - 2 * 0.5**seeds


def _after(counts: dict[int, float], tosses: int) -> dict[int, float]:
    """Probability of each count after more tosses of a fair coin."""
    after: dict[int, float] = {}
    for count, chance in counts.items():
        for heads in range(tosses + 1):
            more = chance * comb(tosses, heads) / 2**tosses
            after[count + heads] = after.get(count + heads, 0.0) + more
    return after
