"""What was observed in a study's trials: the file of each, and tables of a study's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from recollect.analysis.attention_map import AttentionMap
from recollect.analysis.dynamics import COLUMNS, Dynamics, Observation, from_columns, to_columns
from recollect.errors import UserError
from recollect.studies.results import CELL_COLUMNS, Listed, observed_trials
from recollect.training.checkpoint import read_tensors, write_tensors

if TYPE_CHECKING:
    from recollect.models.language_model import LanguageModel
    from recollect.studies.store import Store

MAP = "map."
"""Tensors of these names are the attention map's; the others are columns of tables."""


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


def save_observations(dynamics: Dynamics, model: LanguageModel, path: Path) -> None:
    """Write what was seen of a trial, and where its trained model looks."""
    attention_map = dynamics.attention_map(model)
    tensors = {name: getattr(attention_map, name) for name in ("queries", "keys", "matrices")}
    write_tensors(
        path,
        to_columns(dynamics.observation) | {f"{MAP}{name}": t for name, t in tensors.items()},
        {"tokens": json.dumps(attention_map.tokens)},
    )


def read_observations(path: Path) -> tuple[Observation, AttentionMap]:
    """What `save_observations` has written.

    Raises:
        UserError: where the file is missing or damaged.
    """
    tensors, metadata = read_tensors(path)
    of_map = {
        name.removeprefix(MAP): tensors.pop(name) for name in list(tensors) if name.startswith(MAP)
    }
    tokens = tuple(json.loads(metadata["tokens"]))
    return from_columns(tensors), AttentionMap(tokens=tokens, **of_map)
