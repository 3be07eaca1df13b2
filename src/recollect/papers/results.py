"""What a store has of a few studies, as claims ask for it: by the settings of a cell.

Whatever is missing raises `NotMeasured`, so that no claim is judged on a part of its experiment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from recollect.analysis.dynamics import COLUMNS, Observation
from recollect.analysis.interval import window_interval
from recollect.analysis.learning_rate import RateOutcome, Window, working_window
from recollect.papers.language_results import LanguageResults
from recollect.papers.measured import Measured, NotMeasured
from recollect.studies.cell import CELL_NAMES, Cell
from recollect.studies.observations import study_observations
from recollect.studies.results import cells_frame, history_frame, observed_trials, trials_frame
from recollect.studies.store import Store
from recollect.studies.study import Study

STRINGS: Literal["test_example_accuracy"] = "test_example_accuracy"
"""The metric that counts whole strings: an example is right if all of it is."""


@dataclass(frozen=True)
class CellResults:
    """A cell of an experiment, and what was measured of it.

    Attributes:
        cell: what was asked.
        study: the name of its study.
        row: of `cells_frame`; None if the store has none.
        trials: of `trials_frame`.
        history: of `history_frame`, if it was read.
    """

    cell: Cell
    study: str
    row: Mapping[str, Any] | None = None
    trials: pd.DataFrame = field(default_factory=pd.DataFrame)
    history: pd.DataFrame = field(default_factory=pd.DataFrame)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Everything that a claim may select by: `study`, `task` (its label), `mixer` (its name,
        without options), the options of the first layer's mixer, and the settings of task and
        model."""
        model, task = self.cell.template["model"], dict(self.cell.template["task"])
        first = model["mixer"][0]
        mixer = first["mixer"] if len(model["mixer"]) == 1 else self.cell.mixer
        own = {"study": self.study, "task": self.cell.task, "mixer": mixer}
        return {**first["options"], **task, **model, **own}

    def fits(self, **where: Any) -> bool:
        """Whether it has these settings; a tuple stands for any of its values."""
        return all(
            name in self.settings
            and (
                self.settings[name] in value
                if isinstance(value, tuple)
                else self.settings[name] == value
            )
            for name, value in where.items()
        )

    @property
    def finished(self) -> bool:
        """Whether its search has all that it needs, and no trial of it failed."""
        return self.row is not None and bool(self.row["finished"])

    @property
    def failed(self) -> bool:
        """Whether some trial of it failed."""
        return self.row is not None and bool(self.row["failed"])

    @property
    def parameters(self) -> int:
        """Trained numbers of the model."""
        assert self.row is not None
        return int(self.row["parameters"])

    def by_seed(self, metric: str = "test_accuracy") -> list[float]:
        """At the chosen rate, a number for each seed, in the order of the seeds."""
        chosen = self.trials[self.trials["chosen"]].sort_values("seed")
        return list(chosen[metric])

    def accuracy(self, metric: str = "test_accuracy") -> Measured:
        """At the chosen rate, over seeds."""
        return Measured.over(self.by_seed(metric))

    def outcomes(self, metric: str = "valid_accuracy") -> tuple[RateOutcome, ...]:
        """Each tried rate with its finished trials, those of equal seeds in equal places."""
        is_ended = self.trials["status"].isin(["complete", "diverged"])
        ended = self.trials[is_ended].sort_values("seed")
        return tuple(
            RateOutcome(
                rate,
                tuple(ended.loc[ended["learning_rate"] == rate, metric]),
                len(self.cell.seeds),
            )
            for rate in sorted(self.trials["learning_rate"].unique())
        )

    def window(self, metric: str = "valid_accuracy") -> Window | None:
        """The working rates; None where there are none."""
        return working_window(self.outcomes(metric), self._chance(metric))

    def decades(self, metric: str = "valid_accuracy") -> Measured:
        """Width of the window with its 95 % bootstrap interval over seeds; 0 without a window."""
        window = self.window(metric)
        if window is None:
            return Measured(0.0, 0.0, 0.0)
        interval = window_interval(self.outcomes(metric), self._chance(metric))
        return Measured(window.decades, *(interval or (window.decades, window.decades)))

    def _chance(self, metric: str) -> float:
        """What guessing gets: of whole strings next to none."""
        return 0.0 if metric == STRINGS else self.cell.chance

    def curves(self) -> list[pd.DataFrame]:
        """The history of each seed at the chosen rate."""
        chosen = self.history[self.history["chosen"]]
        return [seed for _, seed in chosen.groupby("seed")]

    def __str__(self) -> str:
        layers = "1 layer" if self.cell.n_layers == 1 else f"{self.cell.n_layers} layers"
        recipe = f" [{self.cell.recipe}]" if self.cell.recipe else ""
        return (
            f"{self.cell.mixer}{recipe}, {layers} of d_model {self.cell.d_model}, {self.cell.task}"
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

    def select(self, **where: Any) -> tuple[CellResults, ...]:
        """The cells of these settings; a tuple stands for any of its values.

        Raises:
            NotMeasured: if one of them is not finished or has failed trials, or there is none.
        """
        found = tuple(cell for cell in self.all if cell.fits(**where))
        if not found:
            raise NotMeasured(f"no cell with {_listed(where)}")
        for lacking, cells in (
            ("trials failed", [cell for cell in found if cell.failed]),
            ("not finished", [cell for cell in found if not cell.finished]),
        ):
            if cells:
                more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
                raise NotMeasured(f"{lacking}: {cells[0]}{more}")
        return found

    def one(self, **where: Any) -> CellResults:
        """The one cell of these settings.

        Raises:
            NotMeasured: if it is not finished, or not there.
        """
        (found,) = self.select(**where)
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
    def history(self) -> pd.DataFrame:
        """As `history_frame` has it; empty if it was not read."""
        return pd.concat([cell.history for cell in self.all], ignore_index=True)

    @property
    def seconds(self) -> float:
        """Of training, each trial once, whatever studies share it."""
        trials = self.trials
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
    expected = study.cells()
    if study.name not in store.studies():
        return [CellResults(cell, study.name) for cell in expected]
    stored = {cell.label: (i, cell) for i, cell in enumerate(store.cells(study.name))}
    rows = cells_frame(store, study.name).to_dict(orient="records")
    names = [*CELL_NAMES]
    trials = dict(iter(trials_frame(store, study.name).groupby(names)))
    history = dict(iter(history_frame(store, study.name).groupby(names))) if with_history else {}
    found = []
    for cell in expected:
        place, as_stored = stored.get(cell.label, (None, None))
        if place is None or as_stored != cell:
            found.append(CellResults(cell, study.name))
            continue
        row = {str(name): value for name, value in rows[place].items()}
        key: Any = tuple(row[name] for name in names)
        none = pd.DataFrame()
        found.append(
            CellResults(cell, study.name, row, trials.get(key, none), history.get(key, none))
        )
    return found


def _listed(where: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in where.items())
