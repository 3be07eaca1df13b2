"""Which learning rate to choose, and how wide the window of working rates is.

Both read validation accuracies, or what stands for them where loss says how good a model is: a
number from 0 to 1 that grows as the loss falls. A trial that diverged has accuracy 0. A rate some
of whose seeds are not finished (its trials were stopped early, or never asked for) is known by
bounds alone: a missing seed lies between 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

SOLVED = 0.995
"""A trial of this accuracy leaves nothing to improve."""

WORKING_SHARE = 0.9
"""A rate works if it reaches this share of the accuracy that it is held against."""

LEAST_ACCURACY = 0.5
"""No window is given where that accuracy is below."""

PLATEAU = 0.1
"""Share of the way from chance to 1 that a trial on its initial plateau has not passed."""


@dataclass(frozen=True)
class RateOutcome:
    """What is known about one learning rate.

    Attributes:
        learning_rate: the rate.
        accuracies: at the end of each finished trial.
        n_seeds: how many trials would make the rate fully known.
        errors: standard errors of the accuracies over the examples they were measured on, in the
            same order; none given: they are exact.
    """

    learning_rate: float
    accuracies: tuple[float, ...]
    n_seeds: int
    errors: tuple[float, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether all seeds are."""
        return len(self.accuracies) == self.n_seeds

    @property
    def mean(self) -> float:
        """Mean accuracy over the seeds, all of which are finished."""
        assert self.finished
        return self.lowest

    @property
    def error(self) -> float:
        """Standard error of the mean, over examples; seeds are taken as they are."""
        return math.hypot(*self.errors) / self.n_seeds

    def has_solved(self, solved: float) -> bool:
        """Whether every seed is finished and leaves nothing to improve."""
        return self.finished and min(self.accuracies) >= solved

    @property
    def lowest(self) -> float:
        """The mean, were the missing seeds all wrong."""
        return sum(self.accuracies) / self.n_seeds

    @property
    def highest(self) -> float:
        """The mean, were the missing seeds all right."""
        return (sum(self.accuracies) + self.n_seeds - len(self.accuracies)) / self.n_seeds


@dataclass(frozen=True)
class Window:
    """The working rates around one of them.

    Attributes:
        low: the lowest tried rate of the window.
        high: the highest.
        low_is_edge: whether the next tried rate below is known not to work; otherwise the window
            may reach further down.
        high_is_edge: likewise above.
        low_edge: where rates cease to work: between `low` and the tried rate below it, by a
            straight line between their accuracies over log rate; `low` itself where that is no
            edge.
        high_edge: likewise above.
    """

    low: float
    high: float
    low_is_edge: bool
    high_is_edge: bool
    low_edge: float
    high_edge: float

    @property
    def decades(self) -> float:
        """Width, in powers of ten, from edge to edge."""
        return math.log10(self.high_edge / self.low_edge)

    def __str__(self) -> str:
        sign = "" if self.low_is_edge and self.high_is_edge else ">="
        return f"{sign}{self.decades:.1f}"


def on_plateau(accuracy: float, chance: float) -> bool:
    """Whether a model has hardly got beyond guessing."""
    return accuracy <= chance + PLATEAU * (1 - chance)


def merits_window(best: float, chance: float) -> bool:
    """Whether an accuracy is good enough to speak of working rates at all."""
    return best >= LEAST_ACCURACY and not on_plateau(best, chance)


def best_mean(outcomes: Iterable[RateOutcome]) -> float | None:
    """The highest mean accuracy of a rate whose seeds are all finished."""
    return max((o.mean for o in outcomes if o.finished), default=None)


def fails(outcome: RateOutcome, best: float) -> bool:
    """Whether a rate is known not to work, whatever its missing seeds would give."""
    return outcome.highest < WORKING_SHARE * best


def fails_on_every_seed(
    outcome: RateOutcome, outcomes: Iterable[RateOutcome], chance: float
) -> bool:
    """Whether a rate is finished and does not work on any seed that is worth a window, each seed
    being compared with its own best."""
    worth = [
        (i, best) for i, best in enumerate(best_by_seed(outcomes)) if merits_window(best, chance)
    ]
    return outcome.finished and all(
        outcome.accuracies[i] < WORKING_SHARE * best for i, best in worth
    )


def best_by_seed(outcomes: Iterable[RateOutcome]) -> list[float]:
    """The highest accuracy on each seed, of the rates whose seeds are all finished."""
    finished = [o.accuracies for o in outcomes if o.finished]
    return [max(of_seed) for of_seed in zip(*finished, strict=True)]


def tied(outcomes: Iterable[RateOutcome], solved: float = SOLVED) -> list[RateOutcome]:
    """The rates that are as good as the best, ascending; empty if no rate is finished.

    A rate is as good if its mean is not below the best by more than the standard error of their
    difference, or if it has solved the task on every seed.
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
    """The widest (in log) run of neighbouring rates that tie; empty if no rate is finished. Of runs
    of equal width it is the lowest."""
    tried = _ascending(outcomes)
    good = tied(tried, solved)
    runs = _runs(tried, lambda o: o in good)
    return max(runs, key=lambda run: round(_log_ratio(run[-1], run[0]), 6), default=[])


def ties_at_ends(outcomes: Iterable[RateOutcome], solved: float = SOLVED) -> tuple[bool, bool]:
    """Whether the lowest rate is one of those that tie with the best, and whether the highest is,
    wherever the others are; then a rate beyond may be better."""
    tried = _ascending(outcomes)
    good = tied(tried, solved)
    return (False, False) if not good else (good[0] == tried[0], good[-1] == tried[-1])


def choose_rate(outcomes: Iterable[RateOutcome], solved: float = SOLVED) -> RateOutcome | None:
    """The rate in the middle (in log) of the tied range, the lower of two; None if no rate is
    finished."""
    tied = tied_range(outcomes, solved)
    if not tied:
        return None
    middle = (math.log10(tied[0].learning_rate) + math.log10(tied[-1].learning_rate)) / 2
    # rounded: of two rates as far from the middle the first is taken, whatever their last bits say
    return min(tied, key=lambda o: round(abs(math.log10(o.learning_rate) - middle), 6))


def working_window(
    outcomes: Iterable[RateOutcome], chance: float, chosen: float | None = None
) -> Window | None:
    """The run of working rates around the chosen one, from the lowest of them to the highest.

    Args:
        outcomes: of every tried rate, stopped ones too.
        chance: accuracy of guessing.
        chosen: the rate that was chosen, elsewhere than by these outcomes: rates that reach 90 % of
            its mean work. None: of these outcomes the best is chosen, and rates that reach 90 % of
            the best mean work.

    Returns:
        None where that mean is below 0.5 or hardly above chance, or not known.
    """
    tried = _ascending(outcomes)
    centre = choose_rate(tried) if chosen is None else _finished(tried, chosen)
    best = best_mean(tried if chosen is None else filter(None, [centre]))
    if best is None or centre is None or not merits_window(best, chance):
        return None
    runs = _runs(tried, lambda o: o.lowest >= WORKING_SHARE * best)
    window = next(run for run in runs if centre in run)
    low, high = window[0], window[-1]
    below, above = around(tried, low.learning_rate, high.learning_rate)
    below = below if below is not None and fails(below, best) else None
    above = above if above is not None and fails(above, best) else None
    return Window(
        low=low.learning_rate,
        high=high.learning_rate,
        low_is_edge=below is not None,
        high_is_edge=above is not None,
        low_edge=_edge(low, below, WORKING_SHARE * best),
        high_edge=_edge(high, above, WORKING_SHARE * best),
    )


def _finished(outcomes: Iterable[RateOutcome], rate: float) -> RateOutcome | None:
    return next((o for o in outcomes if o.learning_rate == rate and o.finished), None)


def _edge(working: RateOutcome, failing: RateOutcome | None, share: float) -> float:
    """Where accuracy falls to `share` on the way from a working rate to a failing one."""
    if failing is None:
        return working.learning_rate
    here, there = (sum(o.accuracies) / len(o.accuracies) for o in (working, failing))
    way = (here - share) / (here - there)
    return working.learning_rate * (failing.learning_rate / working.learning_rate) ** way


def around(
    outcomes: Iterable[RateOutcome], low: float, high: float
) -> tuple[RateOutcome | None, RateOutcome | None]:
    """The next tried rate below `low` and the next above `high`, where there are any."""
    tried = _ascending(outcomes)
    below = [o for o in tried if o.learning_rate < low]
    above = [o for o in tried if o.learning_rate > high]
    return (below[-1] if below else None), (above[0] if above else None)


def _ascending(outcomes: Iterable[RateOutcome]) -> list[RateOutcome]:
    return sorted(outcomes, key=lambda o: o.learning_rate)


def _log_ratio(high: RateOutcome, low: RateOutcome) -> float:
    return math.log10(high.learning_rate / low.learning_rate)


def _runs(
    tried: Sequence[RateOutcome], belongs: Callable[[RateOutcome], bool]
) -> list[list[RateOutcome]]:
    """The runs of neighbours that all belong, in order."""
    runs: list[list[RateOutcome]] = [[]]
    for outcome in tried:
        if belongs(outcome):
            runs[-1].append(outcome)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
