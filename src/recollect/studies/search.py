"""The searches of a study: two adaptive ones and a fixed grid."""

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
    """Runs every rate on every seed of the study to the end, as papers do; these seeds choose, too.

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
        """Request all trials at once, and choose the best of the finished ones."""
        try:
            replay.ask((rate, seed) for seed in replay.seeds for rate in self.rates)
        finally:
            replay.chosen = choose_rate(replay.candidates(), replay.solved)

    def expected_trials(self, n_seeds: int) -> int:
        """Number of rates times seeds."""
        return len(self.rates) * n_seeds


AnySearch = LearningRateSearch | BestRateSearch | FixedGrid
"""Any search; `kind` distinguishes the two adaptive ones."""
