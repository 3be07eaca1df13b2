"""Upper limits on the accuracy of a model that has not solved a task.

A learning rate is chosen on few seeds. If seeds leave the plateau by luck, the choice may be poor,
and another rate might solve the task on most seeds. So the accuracy on each seed lies between the
result of the chosen rate and a ceiling: the best of all rates from 1e-4 to 1e-1 on this seed. There
is no ceiling if these rates were not run, or if the budget may be too short for any model: unless
another model solves the task within it, or twice the budget brings no gain. The second only
supports a claim and contradicts none: a plateau may end later still.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import inf
from statistics import median

from recollect.papers.cell_results import CellResults
from recollect.papers.margins import GAIN, SOLVED
from recollect.papers.measured import NotMeasured
from recollect.papers.results import PaperResults
from recollect.studies.learnt import rates_text
from recollect.studies.rate_range import FULL_RANGE

ROUNDING = 1.02
"""Tolerance for learning rates, which have three digits."""
APART = 10**0.5 * ROUNDING
"""The largest ratio of neighbouring rates in a full range, which has two rates per decade."""

RATES = f"the rates {rates_text(*FULL_RANGE)} on every seed"
LONGER = "a longer budget, at which it or another model solves the task"


@dataclass(frozen=True, eq=False)
class Ceilings:
    """The largest possible accuracy of a cell on a seed.

    Attributes:
        results: the results among which other models are looked up.
        metric: the accuracy metric.
        low: an accuracy of at least this is its own ceiling.
        taken: cells whose untried rates are assumed not to be better.
        own_rates: take the best of a cell's own rates, ignoring untried ones.
        by_siblings: a budget is long enough only if another model solves the task within it.
    """

    results: PaperResults
    metric: str
    low: float
    taken: Collection[CellResults] = ()
    own_rates: bool = False
    by_siblings: bool = False
    _longer: dict[int, bool] = field(default_factory=dict)

    def __call__(self, cell: CellResults, seed: int) -> float:
        """The ceiling; infinite if it is unknown."""
        reached = cell.by_seed(self.metric)[seed]
        if self.own_rates:
            return max(reached, *cell.tried(seed, self.metric, own=True).values())
        if reached >= self.low:
            return reached
        tried = cell.tried(seed, self.metric)
        is_taken = cell in self.taken and not (self.by_siblings and self.may_need_longer(cell))
        if is_taken or (covers_all_rates(tried) and not self.may_need_longer(cell)):
            return max(reached, *tried.values())
        return inf

    def best_tried(self, cell: CellResults, seed: int) -> float:
        """The best accuracy at any rate that was run on the seed."""
        return max(cell.by_seed(self.metric)[seed], *cell.tried(seed, self.metric).values())

    def taking(self, cells: Collection[CellResults]) -> Ceilings:
        """Ceilings that assume that no untried rate of these cells is better."""
        return replace(self, taken=cells)

    def of_own_rates(self) -> Ceilings:
        """Ceilings for claims about the tried rates themselves."""
        return replace(self, own_rates=True)

    def for_contradiction(self) -> Ceilings:
        """Ceilings that may contradict a claim."""
        return replace(self, by_siblings=True, _longer={})

    def may_need_longer(self, cell: CellResults) -> bool:
        """Return True if a longer budget might help.

        Raises:
            NotMeasured: if a sibling is not finished.
        """
        if id(cell) not in self._longer:
            self._longer[id(cell)] = not (
                (not self.by_siblings and _longer_brings_no_gain(cell, self.metric))
                or _sibling_solves(cell, self.results, self.metric)
            )
        return self._longer[id(cell)]


def covers_all_rates(tried: Mapping[float, float]) -> bool:
    """Return True if rates cover the full range densely enough."""
    rates = sorted(tried)
    return (
        len(rates) > 1
        and rates[0] <= FULL_RANGE[0] * ROUNDING
        and rates[-1] >= FULL_RANGE[1] / ROUNDING
        and all(high / low <= APART for low, high in pairwise(rates))
    )


def _sibling_solves(cell: CellResults, results: PaperResults, metric: str) -> bool:
    siblings = [other for other in results.all if _is_sibling(other, cell)]
    if any(other.finished and median(other.first(metric).values()) >= SOLVED for other in siblings):
        return True
    waiting = [other for other in siblings if not other.finished and not other.failed]
    if waiting:
        raise NotMeasured(f"not finished: {waiting[0]}, which may solve what {cell} does not")
    return False


def _is_sibling(other: CellResults, cell: CellResults) -> bool:
    """Return True for another model with the same task and training."""
    one, two = other.cell.template, cell.cell.template
    return one["model"] != two["model"] and all(one[of] == two[of] for of in ("task", "train"))


def _longer_brings_no_gain(cell: CellResults, metric: str) -> bool:
    """Return True if twice the steps, all else equal, improve no seed."""
    if not cell.was_run_longer:
        return False
    assert cell.longer is not None
    longer, own = cell.longer.by_seed(metric), cell.first(metric)
    return all(seed in longer and longer[seed] < own[seed] + GAIN for seed in own)
