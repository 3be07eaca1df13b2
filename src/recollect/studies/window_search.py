"""The search for the best rate and the window of working rates around it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from recollect.analysis.learning_rate import (
    around,
    best_by_seed,
    fails_on_every_seed,
    merits_window,
    working_window,
)
from recollect.errors import UserError
from recollect.studies.best_rate import choose, trials_to_choose
from recollect.studies.rate_range import RangeSearch
from recollect.studies.rates import middle
from recollect.studies.replay import Replay


class LearningRateSearch(RangeSearch):
    """Chooses a rate as `BestRateSearch` does, then measures which rates work, on the seeds of the
    study.

    1. Walk: from the chosen rate outwards, the coarse rates on both sides, each on every seed to
       its end, until on each side one fails on every seed; up to a decade beyond the grid and
       beyond 1e-4 to 1e-1.
    2. Refinement: the middles (in log) of the gaps at both edges of the window.

    There is no window where the model is too poor on every seed (`merits_window`). A rate a trial
    of which failed is unknown: the walk goes on beyond it.

    At most `most_rates` rates are tried.
    """

    kind: Literal["window"] = "window"

    @model_validator(mode="before")
    @classmethod
    def _has_no_switch(cls, values: Any) -> Any:
        if isinstance(values, dict) and "window" in values:
            raise UserError(
                f"window={values['window']!r}: LearningRateSearch always measures the window of"
                " working rates; take BestRateSearch for the best rate alone"
            )
        return values

    @property
    def most_rates(self) -> int:
        """How many rates are tried at most."""
        lowest, highest = self.limits
        return highest - lowest + 1 + 4 * self.refine

    def follow(self, replay: Replay) -> None:
        """The choice, then the window."""
        choose(self, replay)
        if replay.chosen is None:
            return
        _walk(self, replay, replay.chosen.learning_rate)
        for _ in range(self.refine):
            _refine_edges(replay)

    def expected_trials(self, n_seeds: int) -> int:
        """Half of the grid works, and one rate on each side does not."""
        walked = self.last // 2 + 2 + 2 * self.refine
        return trials_to_choose(self, n_seeds) + walked * n_seeds


def _walk(search: RangeSearch, replay: Replay, chosen: float) -> None:
    """Outwards from the chosen rate, over the coarse rates and those tried on these seeds."""
    lowest, highest = search.limits
    ends = [chosen, chosen]
    while any(merits_window(best, replay.chance) for best in _bests(replay)):
        tried = {o.learning_rate: o for o in replay.outcomes(replay.seeds)}
        rates = {*tried, *map(search.rate, range(lowest, highest + 1))}
        lower = max((rate for rate in rates if rate < ends[0]), default=None)
        higher = min((rate for rate in rates if rate > ends[1]), default=None)
        more = []
        for side, following in enumerate((lower, higher)):
            is_over = fails_on_every_seed(tried[ends[side]], tried.values(), replay.chance)
            if following is not None and not is_over:
                ends[side] = following
                more.append(following)
        if not more:
            return
        replay.ask((rate, seed) for rate in more for seed in replay.seeds)


def _bests(replay: Replay) -> list[float]:
    return best_by_seed(replay.outcomes(replay.seeds))


def _refine_edges(replay: Replay) -> None:
    """The middles of the gaps at both edges of the window."""
    outcomes = replay.outcomes(replay.seeds)
    window = working_window(outcomes, replay.chance)
    if window is None:
        return
    below, above = around(outcomes, window.low, window.high)
    gaps = [(below, window.low), (above, window.high)]
    middles = [middle(o.learning_rate, rate) for o, rate in gaps if o is not None]
    replay.ask((rate, seed) for rate in middles for seed in replay.seeds)
