"""The search for the best learning rate and the window of working rates around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from recollect.analysis.learning_rate import RateOutcome
from recollect.analysis.rate_window import (
    allows_window,
    around,
    best_by_seed,
    fails,
    fails_on_every_seed,
    working_window,
)
from recollect.studies.best_rate import choose, trials_to_choose
from recollect.studies.rate_range import RangeSearch
from recollect.studies.rates import middle
from recollect.studies.replay import Replay


class LearningRateSearch(RangeSearch):
    """Chooses a rate like `BestRateSearch`, then measures which rates work on the study's seeds.

    1. Walk: from the chosen rate outwards, the coarse rates on both sides run on every seed to
    their
       ends, until on each side one works neither on any seed nor on average; up to a decade beyond
       the grid and beyond 1e-4 to 1e-1.
    2. Refinement: the midpoints (in log) at both edges of the window are tried.

    The window is the series of rates around the chosen one that reach 90 % of its mean. On a single
    seed, a rate works if it reaches 90 % of the best rate there. The walk is skipped if the model
    is too poor on every seed (`allows_window`). A rate with a failed trial is unknown, and the walk
    continues beyond it.

    At most `most_rates` rates are tried.
    """

    kind: Literal["window"] = "window"

    @property
    def most_rates(self) -> int:
        """Largest number of rates that are tried."""
        lowest, highest = self.limits
        return highest - lowest + 1 + 4 * self.refine

    def follow(self, replay: Replay) -> None:
        """Choose the rate, then measure the window."""
        choose(self, replay)
        if replay.chosen is None:
            return
        _walk(self, replay, replay.chosen.learning_rate)
        for _ in range(self.refine):
            _refine_edges(replay, replay.chosen.learning_rate)

    def expected_trials(self, n_seeds: int) -> int:
        """Expected trials, if half of the grid works and one rate on each side does not."""
        walked = self.last // 2 + 2 + 2 * self.refine
        return trials_to_choose(self, n_seeds) + walked * n_seeds


def _walk(search: RangeSearch, replay: Replay, chosen: float) -> None:
    """Walk outwards from the chosen rate, over coarse rates and those already tried on the
    seeds."""
    lowest, highest = search.limits
    ends = [chosen, chosen]
    while any(allows_window(best, replay.chance) for best in _bests(replay)):
        tried = {o.learning_rate: o for o in replay.outcomes(replay.seeds)}
        rates = {*tried, *map(search.rate, range(lowest, highest + 1))}
        lower = max((rate for rate in rates if rate < ends[0]), default=None)
        higher = min((rate for rate in rates if rate > ends[1]), default=None)
        more = []
        for side, following in enumerate((lower, higher)):
            is_over = _is_beyond(tried[ends[side]], tried, chosen, replay.chance)
            if following is not None and not is_over:
                ends[side] = following
                more.append(following)
        if not more:
            return
        replay.ask((rate, seed) for rate in more for seed in replay.seeds)


def _is_beyond(
    end: RateOutcome, tried: Mapping[float, RateOutcome], chosen: float, chance: float
) -> bool:
    """Whether a rate works neither on any seed nor as well as the chosen one on average."""
    return fails_on_every_seed(end, tried.values(), chance) and fails(
        end, tried[chosen].mean, chance
    )


def _bests(replay: Replay) -> list[float]:
    return best_by_seed(replay.outcomes(replay.seeds))


def _refine_edges(replay: Replay, chosen: float) -> None:
    """Try the midpoints at both edges of the window."""
    outcomes = replay.outcomes(replay.seeds)
    window = working_window(outcomes, replay.chance, chosen)
    if window is None:
        return
    below, above = around(outcomes, window.low, window.high)
    gaps = [(below, window.low), (above, window.high)]
    middles = [middle(o.learning_rate, rate) for o, rate in gaps if o is not None]
    replay.ask((rate, seed) for rate in middles for seed in replay.seeds)
