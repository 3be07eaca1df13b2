"""What was observed in a study's trials: the file of each, and tables of a study's."""

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
    """What was observed at the chosen rates of a study.

    Attributes:
        dynamics: of all trials; every table has `results.TRIAL_COLUMNS` too.
        trials: the first observed trial of each cell: `results.TRIAL_COLUMNS`.
        maps: where the models of these look in the end, by the key of the trial.
    """

    dynamics: Observation
    trials: pd.DataFrame
    maps: dict[str, AttentionMap]


def study_observations(store: Store, study: str | Listed) -> StudyObservations:
    """The observations of the trials at the chosen rates.

    Raises:
        UserError: if the store has no such study, or if none of these trials was observed.
    """
    trials = observed_trials(store, study)
    if trials.empty:
        name = study if isinstance(study, str) else study.name
        raise UserError(
            f"no trial of {name} was observed in training: run it with --observe"
            " (`Study(observe=True)`), which adds what is missing"
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
