"""What every search for a learning rate is: a procedure over stored results."""

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
        metric: what rates are judged by on validation examples; None: accuracy, or the loss where a
            task says so. One of which higher is better must be from 0 to 1, one of which lower is
            better 0 or more; a rate at which it is NaN counts as failed.
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
        """What is needed next.

        Args:
            trials: what is stored of the cell.
            seeds: of the study: every one of which the chosen rate is run on.
            steps: the budget of a trial.
            eval_every: steps between validations.
            chance: accuracy of guessing.
            solved: accuracy of a trial that leaves nothing to improve.
            near: the rate chosen at the next smaller width, if that is known.

        Returns:
            The trials to run next, and what is known from those that are stored.
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
        """The seeds that choose the rate and are not reported; none: those of the study choose."""
        return ()

    @property
    def measures_window(self) -> bool:
        """Whether enough is tried to know the window of working rates."""
        return True

    @property
    def begins_near(self) -> bool:
        """Whether it begins around the rate chosen at the next smaller width."""
        return False

    def follow(self, replay: Replay) -> None:
        """The procedure, from its beginning to its end.

        Args:
            replay: the stored trials; the procedure asks it for others, and sets its `chosen`.
        """
        raise NotImplementedError

    def expected_trials(self, n_seeds: int) -> int:
        """About how many trials of full length a cell takes, for an estimate of the time left.

        Args:
            n_seeds: the number of seeds of the study.

        Returns:
            The number of trials.
        """
        raise NotImplementedError
