"""Stored results of studies, selected by settings (`papers.selectors`).

Missing results raise `NotMeasured`, so that no claim is judged on a part of its experiment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from recollect.analysis.dynamics import COLUMNS, Observation
from recollect.papers.cell_results import CellResults
from recollect.papers.deciding import extensions
from recollect.papers.language_results import LanguageResults
from recollect.papers.measured import NotMeasured
from recollect.papers.selectors import MOST, Where, check, extremes, in_words
from recollect.studies.cell import CELL_NAMES
from recollect.studies.listing import are_equal
from recollect.studies.observations import study_observations
from recollect.studies.results import cells_frame, history_frame, observed_trials, trials_frame
from recollect.studies.store import Store
from recollect.studies.study import Study


@dataclass(frozen=True)
class PaperResults:
    """All cells of a few studies, measured or not.

    Attributes:
        all: the cells, in the order of the studies.
        dynamics: observations during training at the chosen rates, if they were read and exist.
        language: the results of language models.
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
    ) -> PaperResults:
        """Read the results of studies; cells stored with other settings count as missing.

        Args:
            store: the store to read.
            studies: the studies.
            history: also read the training history of every trial, which takes longest.
            language: the results of language models.
        """
        asked = tuple(studies)
        cells = tuple(cell for study in asked for cell in _read(store, study, history))
        return cls(cells, _observed(store, asked) if history else None, language)

    @classmethod
    def planned(cls, studies: Iterable[Study]) -> PaperResults:
        """All cells of studies, without results."""
        return cls(
            tuple(
                CellResults(cell, study.name, first_seeds=len(study.seeds))
                for study in studies
                for cell in study.cells()
            )
        )

    def select(self, where: Where) -> tuple[CellResults, ...]:
        """The cells of a selector, which must be measured.

        Raises:
            NotMeasured: if one of them is not finished or has failed trials, or if there is none.
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

    @cached_property
    def before(self) -> PaperResults:
        """The results before seeds were added to decide claims."""
        return replace(self, all=tuple(cell.before or cell for cell in self.all))

    @property
    def cells(self) -> pd.DataFrame:
        """One row per stored cell, as in `cells_frame`."""
        return pd.DataFrame([cell.row for cell in self.all if cell.row is not None])

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial, as in `trials_frame`, and those of language models."""
        of_models = [each.tables["trials"] for each in self.language if each.tables]
        frames = [*(cell.trials for cell in self.all), *of_models]
        return pd.concat(frames or [pd.DataFrame()], ignore_index=True)

    @property
    def has_more(self) -> bool:
        """True if seeds, rates or steps were added to decide claims."""
        return any(
            len(cell.cell.seeds) > cell.first_seeds or not cell.further.empty or cell.longer
            for cell in self.all
            if cell.row is not None
        )

    @property
    def run(self) -> pd.DataFrame:
        """`trials` and the trials that were added to decide claims."""
        more = [cell.further for cell in self.all]
        more += [cell.longer.trials for cell in self.all if cell.longer]
        return pd.concat([self.trials, *more], ignore_index=True)

    @property
    def history(self) -> pd.DataFrame:
        """One row per validation, as in `history_frame`; empty if it was not read."""
        return pd.concat([cell.history for cell in self.all], ignore_index=True)

    @property
    def seconds(self) -> float:
        """Seconds of training; trials that studies share count once."""
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
    """The cells of a study, with the seeds and rates that were added to decide claims."""
    stored = store.studies()
    extended, *full_ranges, longer = extensions(study)
    further = [
        [of_rates.trials for of_rates in _stored(store, all_rates, study, with_history=False)]
        for all_rates in full_ranges
        if all_rates.name in stored
    ]
    of_longer = _stored(store, longer, study, with_history=False)
    found = _with_further(_stored(store, study, study, with_history), further, of_longer)
    if extended.name not in stored:
        return found
    more = _with_further(_stored(store, extended, study, with_history), further, of_longer)
    return [
        replace(of_more, before=cell if cell.finished else None) if of_more.finished else cell
        for cell, of_more in zip(found, more, strict=True)
    ]


def _with_further(
    cells: list[CellResults], further: list[list[pd.DataFrame]], longer: list[CellResults]
) -> list[CellResults]:
    """The cells with their trials at further rates, given by study and then by cell, and with their
    results after more steps."""
    return [
        replace(
            cell,
            further=pd.concat([cell.further, *own], ignore_index=True) if own else cell.further,
            longer=None if of_longer.row is None else of_longer,
        )
        for cell, of_longer, *own in zip(cells, longer, *further, strict=True)
    ]


def _stored(store: Store, study: Study, of: Study, with_history: bool) -> list[CellResults]:
    """The cells of `study`, which is `of` or an extension of it by seeds or rates."""
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
        if place is None or as_stored is None or not are_equal(as_stored, cell):
            found.append(CellResults(cell, of.name))
            continue
        row = {str(name): value for name, value in records[place].items()}
        key: Any = tuple(row[name] for name in CELL_NAMES)
        own, course = (each.get(key, pd.DataFrame()) for each in (of_trials, of_history))
        found.append(CellResults(cell, of.name, row, own, course, len(of.seeds)))
    return found
