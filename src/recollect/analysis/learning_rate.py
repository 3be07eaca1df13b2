"""Choice of a learning rate.

It uses validation accuracies. Where models are judged by loss, a score from 0 to 1 that grows as
the loss falls takes their place. A trial that diverged has accuracy 0. If some seeds of a rate are
not finished (stopped early or not run), only bounds of its mean are known: each missing accuracy
lies between 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import variance

SOLVED = 0.995
"""Accuracy at which a trial counts as having solved its task."""

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
        groups: scores of each finished trial on groups of the validation examples, in the same
            order, up to a constant that all rates share; empty if unknown for any of them. Trials
            of one seed are validated on the same examples.
    """

    learning_rate: float
    accuracies: tuple[float, ...]
    n_seeds: int
    errors: tuple[float, ...] = ()
    groups: tuple[tuple[float, ...], ...] = ()

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

    def on_first(self, n_seeds: int) -> RateOutcome:
        """The outcome on the first seeds that are finished."""
        return replace(
            self,
            accuracies=self.accuracies[:n_seeds],
            errors=self.errors[:n_seeds],
            groups=self.groups[:n_seeds],
            n_seeds=n_seeds,
        )

    @property
    def lowest(self) -> float:
        """Mean if all missing accuracies were 0."""
        return sum(self.accuracies) / self.n_seeds

    @property
    def highest(self) -> float:
        """Mean if all missing accuracies were 1."""
        return (sum(self.accuracies) + self.n_seeds - len(self.accuracies)) / self.n_seeds


def on_plateau(accuracy: float, chance: float) -> bool:
    """Whether an accuracy is hardly above chance level."""
    return accuracy <= chance + PLATEAU * (1 - chance)


def tied(outcomes: Iterable[RateOutcome], solved: float = SOLVED) -> list[RateOutcome]:
    """Rates that tie with the best, in ascending order; empty if no rate is finished.

    A rate ties if its mean is below the best by at most the error of their difference, or if it has
    solved the task on every seed.

    For losses, that is the standard error of the difference on the same examples. Examples differ
    much more than models do, so it is far smaller than the errors of the two means. For accuracies,
    and for trials whose groups are unknown, it is the error of the difference of two independent
    means, which is larger: rates of nearly equal accuracy should tie, so that the middle of a
    plateau is chosen. A loss has no such plateau.
    """
    known = [o for o in ascending(outcomes) if o.finished]
    best = max(known, key=lambda o: o.mean, default=None)
    if best is None:
        return []
    return [
        o for o in known if o.has_solved(solved) or best.mean - o.mean <= _difference_error(best, o)
    ]


def _difference_error(one: RateOutcome, other: RateOutcome) -> float:
    """Error of the difference between the means of two finished rates, see `tied`."""
    if not one.groups or not other.groups:
        return math.hypot(one.error, other.error)
    variances = []
    for ours, theirs in zip(one.groups, other.groups, strict=True):
        differences = [a - b for a, b in zip(ours, theirs, strict=True)]
        variances.append(variance(differences) / len(differences))
    return math.sqrt(sum(variances)) / one.n_seeds


def tied_range(outcomes: Iterable[RateOutcome], solved: float = SOLVED) -> list[RateOutcome]:
    """Widest (in log) series of neighbouring rates that tie, the lowest of equally wide ones; empty
    if no rate is finished."""
    tried = ascending(outcomes)
    good = tied(tried, solved)
    found = runs(tried, lambda o: o in good)
    return max(found, key=lambda run: round(_log_ratio(run[-1], run[0]), 6), default=[])


def ties_at_ends(outcomes: Iterable[RateOutcome], solved: float = SOLVED) -> tuple[bool, bool]:
    """Whether the lowest and the highest tried rate tie with the best; if so, a rate beyond may be
    better."""
    tried = ascending(outcomes)
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


def ascending(outcomes: Iterable[RateOutcome]) -> list[RateOutcome]:
    """The outcomes in the order of their rates."""
    return sorted(outcomes, key=lambda o: o.learning_rate)


def runs(
    tried: Sequence[RateOutcome], belongs: Callable[[RateOutcome], bool]
) -> list[list[RateOutcome]]:
    """Maximal series of neighbours that all belong, in order."""
    found: list[list[RateOutcome]] = [[]]
    for outcome in tried:
        if belongs(outcome):
            found[-1].append(outcome)
        elif found[-1]:
            found.append([])
    return [run for run in found if run]


def _log_ratio(high: RateOutcome, low: RateOutcome) -> float:
    return math.log10(high.learning_rate / low.learning_rate)
