"""What a store has of a few studies, as claims ask for it: by selectors (`papers.selectors`).

Whatever is missing raises `NotMeasured`, so that no claim is judged on a part of its experiment.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from recollect.analysis.dynamics import COLUMNS, Observation
from recollect.analysis.learning_rate import RateOutcome, Window, working_window
from recollect.papers.deciding import deciding, with_all_rates
from recollect.papers.language_results import LanguageResults
from recollect.papers.measured import Measured, NotMeasured
from recollect.papers.selectors import MOST, Where, check, extremes, fits, in_words, settings
from recollect.studies.cell import CELL_NAMES, Cell
from recollect.studies.learnt import not_learnt
from recollect.studies.observations import study_observations
from recollect.studies.results import cells_frame, history_frame, observed_trials, trials_frame
from recollect.studies.search import FixedGrid
from recollect.studies.store import Store
from recollect.studies.study import Study

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
        """Whether it is not known that no trial has left the plateau."""
        return bool(pd.isna(self.known("learnt")) or self.known("learnt"))

    @property
    def parameters(self) -> int:
        """Trained numbers of the model."""
        return int(self.known("parameters"))

    def by_seed(self, metric: str = "test_accuracy") -> dict[int, float]:
        """At the chosen rate, a number for each seed of the study, in their order."""
        if metric not in self._numbers:
            numbers = dict(zip(self._reported["seed"], self._reported[metric], strict=True))
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
            columns = (ended["seed"], ended["learning_rate"], ended[metric].fillna(0.0))
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
        ends = (self.known("lowest_rate"), self.known("highest_rate"))
        return not_learnt(self.known("budget"), *map(_plain_rate, ends))

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


@dataclass(frozen=True)
class Results:
    """All cells of a few studies, measured or not.

    Attributes:
        all: in the order of the studies.
        dynamics: what was observed at the chosen rates in training, if the history was read and
            there is something.
        language: of the language models that were trained on a text, by the plan.
    """

    all: tuple[CellResults, ...] = ()
    dynamics: Observation | None = None
    language: tuple[LanguageResults, ...] = ()

    @classmethod
    def read(
        cls,
        store: Store,
        studies: Iterable[Study],
        *,
        history: bool = False,
        language: tuple[LanguageResults, ...] = (),
    ) -> Results:
        """What the store has; cells that it has with other settings count as missing.

        Args:
            store: what to read.
            studies: what is asked for.
            history: whether the course of every trial too, which takes longest to read.
            language: what language models have given.
        """
        asked = tuple(studies)
        cells = tuple(cell for study in asked for cell in _read(store, study, history))
        return cls(cells, _observed(store, asked) if history else None, language)

    @classmethod
    def planned(cls, studies: Iterable[Study]) -> Results:
        """All cells of studies before anything is run."""
        return cls(
            tuple(
                CellResults(cell, study.name, first_seeds=len(study.seeds))
                for study in studies
                for cell in study.cells()
            )
        )

    def select(self, where: Where) -> tuple[CellResults, ...]:
        """The cells of a selector, measured.

        Raises:
            NotMeasured: if one of them is not finished or has failed trials, or there is none.
            UserError: for a selector that names what does not exist.
        """
        found = self.listed(where)
        for lacking, cells in (
            ("trials failed", [cell for cell in found if cell.failed]),
            ("not finished", [cell for cell in found if not cell.finished]),
        ):
            if cells:
                more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
                raise NotMeasured(f"{lacking}: {cells[0]}{more}")
        return found

    def listed(self, where: Where) -> tuple[CellResults, ...]:
        """The cells of a selector, measured or not.

        Raises:
            NotMeasured: if there is none.
            UserError: for a selector that names what does not exist.
        """
        check(where)
        found = tuple(cell for cell in self.all if cell.fits(where))
        for key, end in extremes(where):
            values = [cell.settings[key] for cell in found if key in cell.settings]
            wanted = (max if end is MOST else min)(values, default=None)
            found = tuple(cell for cell in found if cell.settings.get(key) == wanted)
        if not found:
            raise NotMeasured(f"no cell with {in_words(where)}")
        return found

    def one(self, where: Where) -> CellResults:
        """The one cell of a selector.

        Raises:
            NotMeasured: if it is not finished, or not there.
        """
        (found,) = self.select(where)
        return found

    @property
    def cells(self) -> pd.DataFrame:
        """A row for each cell in the store, as `cells_frame` has it."""
        return pd.DataFrame([cell.row for cell in self.all if cell.row is not None])

    @property
    def trials(self) -> pd.DataFrame:
        """As `trials_frame` has it; of language models `LanguageResults.tables`."""
        of_models = [each.tables["trials"] for each in self.language if each.tables]
        frames = [*(cell.trials for cell in self.all), *of_models]
        return pd.concat(frames or [pd.DataFrame()], ignore_index=True)

    @property
    def has_more(self) -> bool:
        """Whether seeds or rates were added to decide claims."""
        return any(
            len(cell.cell.seeds) > cell.first_seeds or not cell.further.empty
            for cell in self.all
            if cell.row is not None
        )

    @property
    def run(self) -> pd.DataFrame:
        """As `trials`, with those that were added to decide claims."""
        return pd.concat([self.trials, *(cell.further for cell in self.all)], ignore_index=True)

    @property
    def history(self) -> pd.DataFrame:
        """As `history_frame` has it; empty if it was not read."""
        return pd.concat([cell.history for cell in self.all], ignore_index=True)

    @property
    def seconds(self) -> float:
        """Of training, each trial once, whatever studies share it."""
        trials = self.run
        return 0.0 if trials.empty else float(trials.drop_duplicates("key")["seconds"].sum())


def _observed(store: Store, studies: Iterable[Study]) -> Observation | None:
    names = [study.name for study in studies if study.name in store.studies()]
    seen = [
        study_observations(store, name).dynamics
        for name in names
        if not observed_trials(store, name).empty
    ]
    if not seen:
        return None
    tables = {name: [getattr(each, name) for each in seen] for name in COLUMNS}
    return Observation(**{name: pd.concat(parts) for name, parts in tables.items()})


def _read(store: Store, study: Study, with_history: bool) -> list[CellResults]:
    """The cells of a study; those that were given more seeds or rates, with these."""
    found, stored = _stored(store, study, study, with_history), store.studies()
    extended = deciding(study)
    if extended.name in stored:
        more = _stored(store, extended, study, with_history)
        found = [
            of_more if of_more.finished else cell for cell, of_more in zip(found, more, strict=True)
        ]
    for all_rates in (with_all_rates(study), with_all_rates(extended)):
        if all_rates.name in stored:
            of_rates = _stored(store, all_rates, study, with_history=False)
            found = [
                replace(cell, further=pd.concat([cell.further, more.trials], ignore_index=True))
                for cell, more in zip(found, of_rates, strict=True)
            ]
    return found


def _stored(store: Store, study: Study, of: Study, with_history: bool) -> list[CellResults]:
    """The cells of a study that is another one with more seeds or rates, or this one."""
    expected = study.cells()
    if study.name not in store.studies():
        return [CellResults(cell, of.name) for cell in expected]
    stored = {cell.label: (i, cell) for i, cell in enumerate(store.cells(study.name))}
    frames = [cells_frame(store, study.name), trials_frame(store, study.name)]
    frames.append(history_frame(store, study.name) if with_history else frames[1].head(0))
    rows, trials, history = (frame.assign(study=of.name) for frame in frames)
    of_trials, of_history = (dict(iter(each.groupby([*CELL_NAMES]))) for each in (trials, history))
    records = rows.to_dict(orient="records")
    found = []
    for cell in expected:
        place, as_stored = stored.get(cell.label, (None, None))
        if place is None or as_stored != cell:
            found.append(CellResults(cell, of.name))
            continue
        row = {str(name): value for name, value in records[place].items()}
        key: Any = tuple(row[name] for name in CELL_NAMES)
        own, course = (each.get(key, pd.DataFrame()) for each in (of_trials, of_history))
        found.append(CellResults(cell, of.name, row, own, course, len(of.seeds)))
    return found
