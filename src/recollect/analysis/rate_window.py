"""The window of working learning rates around a rate.

It uses validation accuracies, as the choice of a rate does (`learning_rate`). If some seeds of a
rate are not finished, only bounds of its mean are known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from recollect.analysis.learning_rate import (
    PLATEAU,
    RateOutcome,
    ascending,
    choose_rate,
    runs,
)

WORKING_SHARE = 0.9
"""A rate works if it reaches this fraction of the reference accuracy."""

LEAST_LEARNT = 0.5
"""No window is given if the reference accuracy is less than this fraction of the way from chance
level to 1."""


@dataclass(frozen=True)
class Window:
    """A window of working learning rates.

    Attributes:
        low: the lowest tried rate of the window.
        high: the highest.
        below: the next lower tried rate, which is known not to work; None if that is not known, so
            that the window may extend further down.
        above: the next higher tried rate, likewise.
        low_edge: the lower edge, interpolated (accuracy over log rate) between `low` and `below`;
            `low` itself without `below`.
        high_edge: the upper edge, likewise.
    """

    low: float
    high: float
    below: float | None
    above: float | None
    low_edge: float
    high_edge: float

    @property
    def low_is_edge(self) -> bool:
        """Whether the window is known to end below `low`."""
        return self.below is not None

    @property
    def high_is_edge(self) -> bool:
        """Whether the window is known to end above `high`."""
        return self.above is not None

    @property
    def decades(self) -> float:
        """Width from edge to edge, in decades.

        If accuracy falls off a cliff between two tried rates, interpolation puts the edge next to
        the working one, wherever the cliff is. `decades_between` has no such bias.
        """
        return math.log10(self.high_edge / self.low_edge)

    @property
    def decades_between(self) -> tuple[float, float]:
        """Smallest and largest possible width, in decades: between the outermost working rates, and
        between the failing rates around them; the second is infinite if an end is open."""
        least = _decades(self.low, self.high)
        if self.below is None or self.above is None:
            return least, math.inf
        return least, _decades(self.below, self.above)

    def __str__(self) -> str:
        sign = "" if self.low_is_edge and self.high_is_edge else ">="
        return f"{sign}{self.decades:.1f}"


def allows_window(best: float, chance: float) -> bool:
    """Whether a reference accuracy is high enough to define a window."""
    return best >= chance + LEAST_LEARNT * (1 - chance)


def least_working(best: float, chance: float) -> float:
    """Accuracy from which a rate works; above the plateau, even if the chance level is high."""
    return max(WORKING_SHARE * best, chance + PLATEAU * (1 - chance))


def best_mean(outcomes: Iterable[RateOutcome]) -> float | None:
    """Highest mean accuracy among rates whose seeds are all finished."""
    return max((o.mean for o in outcomes if o.finished), default=None)


def fails(outcome: RateOutcome, best: float, chance: float) -> bool:
    """Whether a rate certainly does not work, whatever the missing seeds give."""
    return outcome.highest < least_working(best, chance)


def fails_on_every_seed(
    outcome: RateOutcome, outcomes: Iterable[RateOutcome], chance: float
) -> bool:
    """Whether a rate is finished and works on no seed. Each seed is compared with its own best
    accuracy; seeds too poor for a window are left out."""
    worth = [
        (i, best) for i, best in enumerate(best_by_seed(outcomes)) if allows_window(best, chance)
    ]
    return outcome.finished and all(
        outcome.accuracies[i] < least_working(best, chance) for i, best in worth
    )


def best_by_seed(outcomes: Iterable[RateOutcome]) -> list[float]:
    """Highest accuracy on each seed among rates whose seeds are all finished."""
    finished = [o.accuracies for o in outcomes if o.finished]
    return [max(of_seed) for of_seed in zip(*finished, strict=True)]


def working_window(
    outcomes: Iterable[RateOutcome], chance: float, chosen: float | None = None
) -> Window | None:
    """Window of neighbouring working rates around the chosen one.

    Args:
        outcomes: results of every tried rate, stopped ones included.
        chance: chance level.
        chosen: a rate chosen by other results; its mean accuracy is then the reference. None: the
            rate is chosen by these outcomes, and the best mean is the reference.

    Returns:
        None if the reference is less than halfway from chance level to 1, or unknown, or if the
        rate in the centre does not reach it.
    """
    tried = ascending(outcomes)
    centre = choose_rate(tried) if chosen is None else _finished(tried, chosen)
    best = best_mean(tried if chosen is None else filter(None, [centre]))
    if best is None or centre is None or not allows_window(best, chance):
        return None
    least = least_working(best, chance)
    found = runs(tried, lambda o: o.lowest >= least)
    window = next((run for run in found if centre in run), None)
    if window is None:  # the centre ties with the best only because both are noisy
        return None
    low, high = window[0], window[-1]
    below, above = around(tried, low.learning_rate, high.learning_rate)
    below = below if below is not None and fails(below, best, chance) else None
    above = above if above is not None and fails(above, best, chance) else None
    return Window(
        low=low.learning_rate,
        high=high.learning_rate,
        below=None if below is None else below.learning_rate,
        above=None if above is None else above.learning_rate,
        low_edge=_edge(low, below, least),
        high_edge=_edge(high, above, least),
    )


def _finished(outcomes: Iterable[RateOutcome], rate: float) -> RateOutcome | None:
    return next((o for o in outcomes if o.learning_rate == rate and o.finished), None)


def _edge(working: RateOutcome, failing: RateOutcome | None, share: float) -> float:
    """Rate between a working and a failing one at which the interpolated accuracy is `share`."""
    if failing is None:
        return working.learning_rate
    here, there = (sum(o.accuracies) / len(o.accuracies) for o in (working, failing))
    way = (here - share) / (here - there)
    return working.learning_rate * (failing.learning_rate / working.learning_rate) ** way


def around(
    outcomes: Iterable[RateOutcome], low: float, high: float
) -> tuple[RateOutcome | None, RateOutcome | None]:
    """The next tried rate below `low` and the next above `high`; None if there is none."""
    tried = ascending(outcomes)
    below = [o for o in tried if o.learning_rate < low]
    above = [o for o in tried if o.learning_rate > high]
    return (below[-1] if below else None), (above[0] if above else None)


def _decades(low: float, high: float) -> float:
    """Decades between two rates; rounded, since rates have three digits."""
    return round(math.log10(high / low), 2)
