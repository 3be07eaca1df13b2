"""What a store has of a few studies, as claims ask for it: by selectors (`papers.selectors`).

Whatever is missing raises `NotMeasured`, so that no claim is judged on a part of its experiment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from recollect.analysis.dynamics import COLUMNS, Observation
from recollect.papers.cell_results import CellResults
from recollect.papers.deciding import deciding, with_all_rates
from recollect.papers.language_results import LanguageResults
from recollect.papers.measured import NotMeasured
from recollect.papers.selectors import MOST, Where, check, extremes, in_words
from recollect.studies.cell import CELL_NAMES
from recollect.studies.observations import study_observations
from recollect.studies.results import cells_frame, history_frame, observed_trials, trials_frame
from recollect.studies.store import Store
from recollect.studies.study import Study


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
