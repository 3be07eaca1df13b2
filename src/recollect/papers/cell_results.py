"""A cell of an experiment, and what was measured of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from recollect.analysis.learning_rate import RateOutcome, Window, working_window
from recollect.papers.measured import Measured, NotMeasured
from recollect.papers.selectors import Where, fits, settings
from recollect.studies.cell import Cell
from recollect.studies.learnt import not_learnt
from recollect.studies.search import FixedGrid

Metric = Literal["test_accuracy", "test_example_accuracy"]
"""A column of `trials_frame` that a paper reports."""
ROUNDING = 0.005
"""Rates have three digits."""
ENDED = ("complete", "diverged")
STRINGS: Metric = "test_example_accuracy"
"""Counts whole strings: an example is right if all of it is."""


@dataclass(frozen=True, eq=False)
class CellResults:
    """A cell of an experiment, and what was measured of it.

    Attributes:
        cell: what was asked.
        study: the name of its study.
        row: of `cells_frame`; None if the store has none.
        trials: of `trials_frame`.
        history: of `history_frame`, if it was read.
        first_seeds: how many seeds the study has; others were added to decide a claim.
        further: of `trials_frame`, the trials at further rates that were added to decide a claim.
    """

    cell: Cell
    study: str
    row: Mapping[str, Any] | None = None
    trials: pd.DataFrame = field(default_factory=pd.DataFrame)
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    first_seeds: int = 1
    further: pd.DataFrame = field(default_factory=pd.DataFrame)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Everything that a claim may select by."""
        return settings(self.cell, self.study)

    def fits(self, where: Where) -> bool:
        """Whether it has these settings."""
        return fits(self.settings, where)

    @property
    def finished(self) -> bool:
        """Whether its search has all that it needs, and no trial of it failed."""
        return self.row is not None and bool(self.row["finished"])

    @property
    def failed(self) -> bool:
        """Whether some trial of it failed."""
        return self.row is not None and bool(self.row["failed"])

    def known(self, column: str) -> Any:
        """A column of its row."""
        assert self.row is not None
        return self.row[column]

    @property
    def is_learnt(self) -> bool:
        """Whether it is not known that no reported trial has left the plateau."""
        return bool(pd.isna(self.known("learnt")) or self.known("learnt"))

    @property
    def parameters(self) -> int:
        """Trained numbers of the model."""
        return int(self.known("parameters"))

    def by_seed(self, metric: str = "test_accuracy") -> dict[int, float]:
        """At the chosen rate, a number for each seed of the study, in their order."""
        if metric not in self._numbers:
            reported = self._reported
            numbers = dict(zip(reported["seed"], _values(reported, metric), strict=True))
            self._numbers[metric] = {
                seed: float(numbers[seed]) for seed in self.cell.seeds if seed in numbers
            }
        return self._numbers[metric]

    def first(self, metric: str = "test_accuracy") -> dict[int, float]:
        """The same for the seeds that the study has, without those that were added."""
        return {
            seed: number
            for seed, number in self.by_seed(metric).items()
            if seed in self.cell.seeds[: self.first_seeds]
        }

    def tried(self, seed: int, metric: str, *, own: bool = False) -> dict[float, float]:
        """The rates that were run on a seed to the end, or those of its own search alone, with
        their numbers; 0 of one that diverged."""
        if (metric, own) not in self._tried:
            trials = self._own if own else pd.concat([self._own, self.further])
            ended = trials[trials["status"].isin(ENDED)]
            columns = (ended["seed"], ended["learning_rate"], _values(ended, metric))
            by_seed: dict[int, dict[float, float]] = {}
            for of, rate, number in zip(*columns, strict=True):
                by_seed.setdefault(int(of), {})[float(rate)] = float(number)
            self._tried[metric, own] = by_seed
        return self._tried[metric, own].get(seed, {})

    @property
    def choices(self) -> int:
        """How many rates may compete on the seeds that are reported, by its search."""
        search = self.cell.search
        if search.own_seeds:
            return 1
        return len(search.rates) if isinstance(search, FixedGrid) else search.most_rates

    def accuracy(self, metric: str = "test_accuracy") -> Measured:
        """At the chosen rate, over seeds."""
        return Measured.over(self.by_seed(metric).values())

    @property
    def not_learnt(self) -> str:
        """The words for a model that has not learnt; empty for one that has."""
        if self.is_learnt:
            return ""
        lowest, highest = (_plain_rate(self.known(f"{end}_rate")) for end in ("lowest", "highest"))
        learnt, seeds = self.known("learnt_searching"), self.known("searching_seeds")
        return not_learnt(self.known("budget"), lowest, highest, learnt, seeds)

    def told(self, number: Measured, label: str = "") -> str:
        """A number of it; of a model that has not learnt behind the words that say so."""
        text = f"{label} {number}".lstrip()
        return f"{self.not_learnt} [{text}]" if self.not_learnt else text

    def outcomes(self, metric: str = "valid_accuracy") -> tuple[RateOutcome, ...]:
        """Each rate that was tried on the study's seeds, with its finished trials."""
        return _outcomes(self._own, metric, len(self.cell.seeds))

    def window(self, metric: str = "valid_accuracy") -> Window | None:
        """The rates that work on average over seeds; None where there are none."""
        return working_window(self.outcomes(metric), self._chance(metric))

    def seed_window(self, seed: int, metric: str = "valid_accuracy") -> Window | None:
        """The rates that work on one seed; None where there are none."""
        outcomes = _outcomes(self._own[self._own["seed"] == seed], metric, 1)
        return working_window(outcomes, self._chance(metric))

    @cached_property
    def _numbers(self) -> dict[str, dict[int, float]]:
        return {}

    @cached_property
    def _tried(self) -> dict[tuple[str, bool], dict[int, dict[float, float]]]:
        return {}

    @cached_property
    def _own(self) -> pd.DataFrame:
        """Trials on the study's seeds, those that are reported."""
        return self.trials[~self.trials["searching"].astype(bool)]

    @cached_property
    def _reported(self) -> pd.DataFrame:
        """Those at the chosen rate."""
        return self._own[self._own["chosen"].astype(bool)]

    def _chance(self, metric: str) -> float:
        """What guessing gets: of whole strings next to none."""
        return 0.0 if metric == STRINGS else self.cell.chance

    def curve(self, seed: int) -> pd.DataFrame:
        """The history of a seed at the chosen rate.

        Raises:
            NotMeasured: if there is none.
        """
        history = self.history
        if not history.empty:
            history = history[history["chosen"] & (history["seed"] == seed)]
        if history.empty:
            raise NotMeasured(f"no history of {self}")
        return history.sort_values("step")

    def seconds_of_a_seed(self) -> float:
        """Of training that one more seed takes, about."""
        return float(self._own["seconds"].sum()) / len(self.cell.seeds)

    def seconds_of_a_trial(self) -> float:
        """Of one that is run to its end, about."""
        return float(self._reported["seconds"].mean())

    def __str__(self) -> str:
        layers = "1 layer" if self.cell.n_layers == 1 else f"{self.cell.n_layers} layers"
        recipe = f" [{self.cell.recipe}]" if self.cell.recipe else ""
        return (
            f"{self.cell.mixer}{recipe}, {layers} of d_model {self.cell.d_model}, {self.cell.task}"
        )


def _values(trials: pd.DataFrame, metric: str) -> pd.Series[float]:
    """Of each trial; 0 of one that diverged."""
    return trials[metric].where(trials["status"] != "diverged", 0.0)


def _plain_rate(rate: float) -> float:
    """1e-4 in place of 9.99e-5, which it is when it is reached from another rate in few digits."""
    power = 10.0 ** round(math.log10(rate))
    return power if abs(rate / power - 1) < ROUNDING else rate


def _outcomes(trials: pd.DataFrame, metric: str, n_seeds: int) -> tuple[RateOutcome, ...]:
    """Each rate of these trials with what came of those that have ended, by seed."""
    ended = trials[trials["status"].isin(ENDED)].sort_values("seed")
    return tuple(
        RateOutcome(rate, tuple(ended.loc[ended["learning_rate"] == rate, metric]), n_seeds)
        for rate in sorted(trials["learning_rate"].unique())
    )
