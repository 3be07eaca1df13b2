"""The results of one cell of an experiment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from recollect.analysis.learning_rate import RateOutcome
from recollect.analysis.rate_window import Window, working_window
from recollect.models.config import ModelConfig
from recollect.papers.measured import MeasuredNumber, NotMeasured
from recollect.papers.selectors import SEQ_LEN, Where, fits, settings
from recollect.studies.cell import Cell
from recollect.studies.learnt import not_learnt
from recollect.studies.search import FixedGrid

Metric = Literal["test_accuracy", "test_example_accuracy"]
"""A column of `trials_frame` that a paper reports."""
ROUNDING = 0.005
"""Relative rounding error of learning rates, which have three digits."""
ENDED = ("complete", "diverged")
STRINGS: Metric = "test_example_accuracy"
"""Share of whole strings: an example is correct if every token is."""
VALID_STRINGS = "valid_example_accuracy"
"""The same on validation data, by which windows of rates are told."""


@dataclass(frozen=True, eq=False)
class CellResults:
    """A cell of an experiment with its results.

    Attributes:
        cell: the cell.
        study: the name of its study.
        row: its row of `cells_frame`; None if the store has none.
        trials: its rows of `trials_frame`.
        history: its rows of `history_frame`, if they were read.
        first_seeds: the number of seeds of the study; further ones were added to decide a claim.
        further: rows of `trials_frame` at further rates, added to decide a claim.
        before: the results before seeds were added; None if none were.
        longer: the same cell with twice the steps, run to decide a claim; None if it was not.
    """

    cell: Cell
    study: str
    row: Mapping[str, Any] | None = None
    trials: pd.DataFrame = field(default_factory=pd.DataFrame)
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    first_seeds: int = 1
    further: pd.DataFrame = field(default_factory=pd.DataFrame)
    before: CellResults | None = None
    longer: CellResults | None = None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings by which claims may select it."""
        return settings(self.cell, self.study)

    def fits(self, where: Where) -> bool:
        """Return True if it has these settings."""
        return fits(self.settings, where)

    @property
    def finished(self) -> bool:
        """True if all trials that its search needs are stored, and none of them failed."""
        return self.row is not None and bool(self.row["finished"])

    @property
    def failed(self) -> bool:
        """True if one of its trials failed."""
        return self.row is not None and bool(self.row["failed"])

    @property
    def was_run_longer(self) -> bool:
        """True if its results with twice the steps are complete."""
        return self.longer is not None and self.longer.finished

    def known(self, column: str) -> Any:
        """The value of a column of its row."""
        assert self.row is not None
        return self.row[column]

    @property
    def is_learnt(self) -> bool:
        """False if no reported trial has left the plateau; True if one has, or if it is unknown."""
        return bool(pd.isna(self.known("learnt")) or self.known("learnt"))

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return int(self.known("parameters"))

    @cached_property
    def layer_parameters(self) -> int:
        """Number of parameters without embedding and positions."""
        config = ModelConfig(**self.cell.template["model"])
        rows = self.settings["task.vocab_size"]
        rows += self.settings[SEQ_LEN] if config.learned_positions else 0
        return self.parameters - int(rows) * config.d_model

    def by_seed(self, metric: str = "test_accuracy") -> dict[int, float]:
        """A metric at the chosen rate, by seed, in the study's order."""
        if metric not in self._numbers:
            reported = self._reported
            numbers = dict(zip(reported["seed"], _values(reported, metric), strict=True))
            self._numbers[metric] = {
                seed: float(numbers[seed]) for seed in self.cell.seeds if seed in numbers
            }
        return self._numbers[metric]

    def first(self, metric: str = "test_accuracy") -> dict[int, float]:
        """As `by_seed`, without seeds that were added to the study."""
        return {
            seed: number
            for seed, number in self.by_seed(metric).items()
            if seed in self.cell.seeds[: self.first_seeds]
        }

    def tried(self, seed: int, metric: str, *, own: bool = False) -> dict[float, float]:
        """A metric by learning rate, for the trials of a seed that ended; 0 for a diverged one.

        Args:
            seed: the seed.
            metric: the metric.
            own: leave out rates that were added to decide a claim.
        """
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
        """How many rates compete on the reported seeds; 1 if the search has its own seeds."""
        search = self.cell.search
        if search.own_seeds:
            return 1
        return len(search.rates) if isinstance(search, FixedGrid) else search.most_rates

    def accuracy(self, metric: str = "test_accuracy") -> MeasuredNumber:
        """A metric at the chosen rate, over seeds."""
        return MeasuredNumber.over(self.by_seed(metric).values())

    @property
    def not_learnt(self) -> str:
        """The sentence about a model that has not learnt; empty for one that has."""
        if self.is_learnt:
            return ""
        lowest, highest = (_plain_rate(self.known(f"{end}_rate")) for end in ("lowest", "highest"))
        learnt, seeds = self.known("learnt_searching"), self.known("searching_seeds")
        return not_learnt(self.known("budget"), lowest, highest, learnt, seeds)

    def in_words(self, number: MeasuredNumber, label: str = "") -> str:
        """One of its numbers in words; for a model that has not learnt, after a sentence that says
        so."""
        text = f"{label} {number}".lstrip()
        return f"{self.not_learnt} [{text}]" if self.not_learnt else text

    @property
    def behind(self) -> pd.DataFrame:
        """All trials on the reported seeds, each once; `chosen` is True at the chosen rate."""
        further = self.further.assign(chosen=False)
        return pd.concat([self._own, further], ignore_index=True).drop_duplicates("key")

    def outcomes(self, metric: str = "valid_accuracy") -> tuple[RateOutcome, ...]:
        """The finished trials of each rate, on the study's seeds."""
        return _outcomes(self._own, metric, len(self.cell.seeds))

    def window(self, metric: str = "valid_accuracy") -> Window | None:
        """The window of rates around the chosen one that work on average over seeds; None if it
        does not."""
        rate = self.known("learning_rate")
        if pd.isna(rate):
            return None
        return working_window(self.outcomes(metric), self._chance(metric), rate)

    def seed_window(self, seed: int, metric: str = "valid_accuracy") -> Window | None:
        """The window of rates that work on one seed; None if no rate works."""
        if (seed, metric) not in self._seed_windows:
            outcomes = _outcomes(self._own[self._own["seed"] == seed], metric, 1)
            self._seed_windows[seed, metric] = working_window(outcomes, self._chance(metric))
        return self._seed_windows[seed, metric]

    @cached_property
    def _seed_windows(self) -> dict[tuple[int, str], Window | None]:
        return {}

    @cached_property
    def _numbers(self) -> dict[str, dict[int, float]]:
        return {}

    @cached_property
    def _tried(self) -> dict[tuple[str, bool], dict[int, dict[float, float]]]:
        return {}

    @cached_property
    def _own(self) -> pd.DataFrame:
        """Trials on the reported seeds."""
        return self.trials[~self.trials["searching"].astype(bool)]

    @cached_property
    def _reported(self) -> pd.DataFrame:
        """Trials at the chosen rate."""
        return self._own[self._own["chosen"].astype(bool)]

    def _chance(self, metric: str) -> float:
        """Chance level of a metric; about 0 for whole strings."""
        return 0.0 if metric in (STRINGS, VALID_STRINGS) else self.cell.chance

    def curve(self, seed: int) -> pd.DataFrame:
        """The training history of a seed at the chosen rate.

        Raises:
            NotMeasured: if it has no history.
        """
        history = self.history
        if not history.empty:
            history = history[history["chosen"] & (history["seed"] == seed)]
        if history.empty:
            raise NotMeasured(f"no history of {self}")
        return history.sort_values("step")

    def seconds_of_a_seed(self) -> float:
        """Estimated seconds of training for one more seed."""
        return float(self._own["seconds"].sum()) / len(self.cell.seeds)

    @property
    def seconds_of_the_search(self) -> float:
        """Seconds of training of all its trials."""
        return float(self.trials["seconds"].sum())

    def seconds_of_a_trial(self) -> float:
        """Estimated seconds of training for a full trial."""
        return float(self._reported["seconds"].mean())

    def __str__(self) -> str:
        layers = "1 layer" if self.cell.n_layers == 1 else f"{self.cell.n_layers} layers"
        recipe = f" [{self.cell.recipe}]" if self.cell.recipe else ""
        return (
            f"{self.cell.mixer}{recipe}, {layers} of d_model {self.cell.d_model}, {self.cell.task}"
        )


def _values(trials: pd.DataFrame, metric: str) -> pd.Series[float]:
    """A metric of each trial; 0 for a diverged one."""
    return trials[metric].where(trials["status"] != "diverged", 0.0)


def _plain_rate(rate: float) -> float:
    """Correct rounding errors of stepped rates: 1e-4 in place of 9.99e-5."""
    power = 10.0 ** round(math.log10(rate))
    return power if abs(rate / power - 1) < ROUNDING else rate


def _outcomes(trials: pd.DataFrame, metric: str, n_seeds: int) -> tuple[RateOutcome, ...]:
    """The results of ended trials by rate, in the order of seeds."""
    ended = trials[trials["status"].isin(ENDED)].sort_values("seed")
    return tuple(
        RateOutcome(rate, tuple(ended.loc[ended["learning_rate"] == rate, metric]), n_seeds)
        for rate in sorted(trials["learning_rate"].unique())
    )
