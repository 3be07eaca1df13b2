"""Observations of a study's trials, as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from recollect.analysis.attention_map import AttentionMap
from recollect.analysis.dynamics import COLUMNS, Observation
from recollect.analysis.observed_file import read_observations
from recollect.errors import UserError
from recollect.studies.cell_rows import CELL_COLUMNS
from recollect.studies.results import Listed, observed_trials

if TYPE_CHECKING:
    from recollect.studies.store import Store


@dataclass(frozen=True)
class StudyObservations:
    """Observations of a study's trials at the chosen rates.

    Attributes:
        dynamics: observations of all trials; every table also has `results.TRIAL_COLUMNS`.
        trials: the first observed trial of each cell: `results.TRIAL_COLUMNS`.
        maps: attention maps of these trials' final models, by key.
    """

    dynamics: Observation
    trials: pd.DataFrame
    maps: dict[str, AttentionMap]


def study_observations(store: Store, study: str | Listed) -> StudyObservations:
    """Read the observations of the trials at the chosen rates.

    Raises:
        UserError: if the store has no such study or none of the trials was observed.
    """
    trials = observed_trials(store, study)
    if trials.empty:
        name = study if isinstance(study, str) else study.name
        raise UserError(
            f"no trial of {name} was observed in training: run it with --observe"
            " (`Study(observe=True)`) to add observations"
        )
    seen = {key: read_observations(store.observations_path(key)) for key in trials["key"]}
    first = trials.drop_duplicates(list(CELL_COLUMNS))
    return StudyObservations(
        dynamics=Observation(
            **{
                table: pd.concat(
                    [getattr(own, table).assign(key=key) for key, (own, _) in seen.items()]
                ).merge(trials, on="key")
                for table in COLUMNS
            }
        ),
        trials=first,
        maps={key: seen[key][1] for key in first["key"]},
    )
