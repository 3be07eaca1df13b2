"""The base of all learning rate searches: a procedure over stored results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from pydantic import model_serializer

from recollect.analysis.learning_rate import SOLVED
from recollect.config import Config, without_defaults
from recollect.studies.replay import Missing, Plan, Replay, Trials


class Search(Config):
    """How the learning rate of a cell is found.

    Attributes:
        metric: the validation metric by which rates are judged; None: accuracy, or the loss for
            tasks that ask for it. A metric must be from 0 to 1 if higher is better, and at least 0
            if lower is better. A rate for which it is NaN counts as failed. Trials still end at
            `stop_accuracy`; set that to None to compare losses at the same step.
    """

    metric: str | None = None

    @model_serializer(mode="wrap")
    def _serialize(self, fields: Callable[[Search], dict[str, Any]]) -> dict[str, Any]:
        return without_defaults(self, fields, ("metric",))

    def plan(
        self,
        trials: Trials,
        *,
        seeds: Sequence[int],
        steps: int,
        eval_every: int,
        chance: float,
        solved: float = SOLVED,
        near: float | None = None,
    ) -> Plan:
        """Plan the trials that are needed next.

        Args:
            trials: stored trials of the cell.
            seeds: the study's seeds, on which the chosen rate runs.
            steps: optimiser steps of a trial.
            eval_every: steps between validations.
            chance: score of a model that has learnt nothing.
            solved: score at which a trial has solved its task.
            near: the rate chosen at the next smaller width; None if unknown.

        Returns:
            The next trials, and what the stored ones have established.
        """
        own = tuple(seeds)
        replay = Replay(trials, own, self.own_seeds or own, steps, eval_every, chance, solved, near)
        with suppress(Missing):
            self.follow(replay)
        return Plan(
            requests=tuple(replay.requests),
            used=replay.used,
            outcomes=replay.outcomes(replay.seeds),
            candidates=replay.candidates(),
            chosen=replay.chosen,
            rates=replay.rates,
            failed=replay.failed,
        )

    @property
    def own_seeds(self) -> tuple[int, ...]:
        """Search seeds, which choose the rate and are not reported; empty: the study's seeds
        choose."""
        return ()

    @property
    def measures_window(self) -> bool:
        """Whether the search measures the window of working rates."""
        return True

    @property
    def begins_near(self) -> bool:
        """Whether the search begins around the rate chosen at the next smaller width."""
        return False

    def follow(self, replay: Replay) -> None:
        """Run the procedure from its beginning; must set `replay.chosen`.

        Args:
            replay: the stored trials, and the record of those that are missing.
        """
        raise NotImplementedError

    def expected_trials(self, n_seeds: int) -> int:
        """Expected number of full-length trials of a cell, for the estimate of the time left.

        Args:
            n_seeds: number of seeds of the study.

        Returns:
            The number of trials.
        """
        raise NotImplementedError
