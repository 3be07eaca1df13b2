"""The searches that a study may have: two that look for rates, and a fixed grid."""

from __future__ import annotations

from pydantic import field_validator

from recollect.analysis.learning_rate import choose_rate
from recollect.errors import UserError
from recollect.studies.best_rate import FINALISTS, BestRateSearch
from recollect.studies.procedure import Search
from recollect.studies.rates import check_apart
from recollect.studies.replay import Replay
from recollect.studies.window_search import LearningRateSearch

__all__ = [
    "FINALISTS",
    "AnySearch",
    "BestRateSearch",
    "FixedGrid",
    "LearningRateSearch",
    "Search",
]


class FixedGrid(Search):
    """Every rate on every seed of the study to the end, as papers do it; these seeds choose, too.

    Attributes:
        rates: the learning rates, at least 1 % apart.

    Raises:
        UserError: for no rates, rates that are not positive, or rates closer than 1 %.
    """

    rates: tuple[float, ...]

    @field_validator("rates")
    @classmethod
    def _are_rates(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if not rates:
            raise UserError("rates=[]: expected at least one learning rate")
        ascending = tuple(sorted(rates))
        check_apart("rates", ascending)
        return ascending

    def follow(self, replay: Replay) -> None:
        """Ask for everything at once; of what is there already, the best is chosen."""
        try:
            replay.ask((rate, seed) for seed in replay.seeds for rate in self.rates)
        finally:
            replay.chosen = choose_rate(replay.candidates(), replay.solved)

    def expected_trials(self, n_seeds: int) -> int:
        """All of them."""
        return len(self.rates) * n_seeds


AnySearch = LearningRateSearch | BestRateSearch | FixedGrid
"""What a study may have as its search; `kind` tells the two that look for rates apart."""
