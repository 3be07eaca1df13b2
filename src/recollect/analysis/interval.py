"""How sure the width of a learning-rate window is, given that few seeds were run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations_with_replacement
from math import factorial, prod

import numpy as np

from recollect.analysis.learning_rate import RateOutcome, working_window


def window_interval(
    outcomes: Iterable[RateOutcome], chance: float, *, confidence: float = 0.95
) -> tuple[float, float] | None:
    """Bootstrap interval of a window's width over seeds, in decades.

    The seeds are drawn anew with replacement, the same for all rates; every possible draw counts by
    its probability. A draw without a window has width 0. Rates that lack seeds stay as they are.

    Args:
        outcomes: of every tried rate, stopped ones too.
        chance: accuracy of guessing.
        confidence: share of the draws within the interval.

    Returns:
        Its ends; None where there is no window, or a single seed.
    """
    tried = list(outcomes)
    finished = [o for o in tried if o.finished]
    if working_window(tried, chance) is None or finished[0].n_seeds < 2:
        return None
    widths, weights = [], []
    for draw, weight in _draws(finished[0].n_seeds):
        drawn = [
            replace(o, accuracies=tuple(o.accuracies[i] for i in draw)) if o.finished else o
            for o in tried
        ]
        window = working_window(drawn, chance)
        widths.append(0.0 if window is None else window.decades)
        weights.append(weight)
    return _quantile(widths, weights, (1 - confidence) / 2), _quantile(
        widths, weights, (1 + confidence) / 2
    )


def _draws(n: int) -> Iterable[tuple[tuple[int, ...], float]]:
    """Every multiset of n of n seeds, with its probability."""
    for draw in combinations_with_replacement(range(n), n):
        counts = [draw.count(i) for i in range(n)]
        yield draw, factorial(n) / prod(map(factorial, counts)) / n**n


def _quantile(values: list[float], weights: list[float], share: float) -> float:
    """The smallest value that at least so large a share of the weight does not exceed."""
    order = np.argsort(values)
    reached = np.cumsum(np.asarray(weights)[order])
    return values[int(order[np.searchsorted(reached, share).clip(max=len(values) - 1)])]
