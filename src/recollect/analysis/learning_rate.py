"""Choice of a learning rate, and width of the window of working rates.

Both use validation accuracies. Where models are judged by loss, a score from 0 to 1 that grows as
the loss falls takes their place. A trial that diverged has accuracy 0. If some seeds of a rate are
not finished (stopped early or not run), only bounds of its mean are known: each missing accuracy
lies between 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

SOLVED = 0.995
"""Accuracy at which a trial counts as having solved its task."""

WORKING_SHARE = 0.9
"""A rate works if it reaches this fraction of the reference accuracy."""

LEAST_LEARNT = 0.5
"""No window is given if the reference accuracy is less than this fraction of the way from chance
level to 1."""

PLATEAU = 0.1
"""A trial is on its initial plateau until it passes this fraction of the way from chance level to
1."""


@dataclass(frozen=True)
class RateOutcome:
    """Results of one learning rate.

    Attributes:
        learning_rate: the rate.
        accuracies: final accuracy of each finished trial.
        n_seeds: number of seeds, finished or not.
        errors: standard errors of the accuracies over examples, in the same order; empty: the
            accuracies are exact.
    """

    learning_rate: float
    accuracies: tuple[float, ...]
    n_seeds: int
    errors: tuple[float, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether all seeds are finished."""
        return len(self.accuracies) == self.n_seeds

    @property
    def mean(self) -> float:
        """Mean accuracy over the seeds; all must be finished."""
        assert self.finished
        return self.lowest

    @property
    def error(self) -> float:
        """Standard error of the mean over examples; the variation between seeds is not included."""
        return math.hypot(*self.errors) / self.n_seeds

    def has_solved(self, solved: float) -> bool:
        """Whether every seed is finished and has solved the task."""
        return self.finished and min(self.accuracies) >= solved

    @property
    def lowest(self) -> float:
        """Mean if all missing accuracies were 0."""
        return sum(self.accuracies) / self.n_seeds

    @property
    def highest(self) -> float:
        """Mean if all missing accuracies were 1."""
        return (sum(self.accuracies) + self.n_seeds - len(self.accuracies)) / self.n_seeds


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


def on_plateau(accuracy: float, chance: float) -> bool:
    """Whether an accuracy is hardly above chance level."""
    return accuracy <= chance + PLATEAU * (1 - chance)


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


def tied(outcomes: Iterable[RateOutcome], solved: float = SOLVED) -> list[RateOutcome]:
    """Rates that tie with the best, in ascending order; empty if no rate is finished.

    A rate ties if its mean is below the best by at most the standard error of their difference, or
    if it has solved the task on every seed.
    """
    known = [o for o in _ascending(outcomes) if o.finished]
    best = max(known, key=lambda o: o.mean, default=None)
    if best is None:
        return []
    return [
        o
        for o in known
        if o.has_solved(solved) or best.mean - o.mean <= math.hypot(best.error, o.error)
    ]


def tied_range(outcomes: Iterable[RateOutcome], solved: float = SOLVED) -> list[RateOutcome]:
    """Widest (in log) series of neighbouring rates that tie, the lowest of equally wide ones; empty
    if no rate is finished."""
    tried = _ascending(outcomes)
    good = tied(tried, solved)
    runs = _runs(tried, lambda o: o in good)
    return max(runs, key=lambda run: round(_log_ratio(run[-1], run[0]), 6), default=[])


def ties_at_ends(outcomes: Iterable[RateOutcome], solved: float = SOLVED) -> tuple[bool, bool]:
    """Whether the lowest and the highest tried rate tie with the best; if so, a rate beyond may be
    better."""
    tried = _ascending(outcomes)
    good = tied(tried, solved)
    return (False, False) if not good else (good[0] == tried[0], good[-1] == tried[-1])


def choose_rate(outcomes: Iterable[RateOutcome], solved: float = SOLVED) -> RateOutcome | None:
    """Rate in the middle (in log) of the tied range, the lower of two; None if no rate is
    finished."""
    tied = tied_range(outcomes, solved)
    if not tied:
        return None
    middle = (math.log10(tied[0].learning_rate) + math.log10(tied[-1].learning_rate)) / 2
    # rounded, so that the first of two equally distant rates is taken whatever their last bits
    return min(tied, key=lambda o: round(abs(math.log10(o.learning_rate) - middle), 6))


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
    tried = _ascending(outcomes)
    centre = choose_rate(tried) if chosen is None else _finished(tried, chosen)
    best = best_mean(tried if chosen is None else filter(None, [centre]))
    if best is None or centre is None or not allows_window(best, chance):
        return None
    least = least_working(best, chance)
    runs = _runs(tried, lambda o: o.lowest >= least)
    window = next((run for run in runs if centre in run), None)
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
    tried = _ascending(outcomes)
    below = [o for o in tried if o.learning_rate < low]
    above = [o for o in tried if o.learning_rate > high]
    return (below[-1] if below else None), (above[0] if above else None)


def _ascending(outcomes: Iterable[RateOutcome]) -> list[RateOutcome]:
    return sorted(outcomes, key=lambda o: o.learning_rate)


def _decades(low: float, high: float) -> float:
    """Decades between two rates; rounded, since rates have three digits."""
    return round(math.log10(high / low), 2)


def _log_ratio(high: RateOutcome, low: RateOutcome) -> float:
    return math.log10(high.learning_rate / low.learning_rate)


def _runs(
    tried: Sequence[RateOutcome], belongs: Callable[[RateOutcome], bool]
) -> list[list[RateOutcome]]:
    """Maximal series of neighbours that all belong, in order."""
    runs: list[list[RateOutcome]] = [[]]
    for outcome in tried:
        if belongs(outcome):
            runs[-1].append(outcome)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
