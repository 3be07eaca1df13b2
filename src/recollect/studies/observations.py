"""What was observed in a study's trials: the file of each, and tables of a study's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from recollect.analysis.attention_map import AttentionMap
from recollect.analysis.dynamics import Dynamics, Observation, from_columns, to_columns
from recollect.errors import UserError
from recollect.studies.results import TRIAL_COLUMNS, trials_frame
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
        maps: where each trained model looks, by the key of its trial.
    """

    dynamics: Observation
    maps: dict[str, AttentionMap]


def study_observations(store: Store, study: str) -> StudyObservations:
    """The observations of the trials at the chosen rates.

    Raises:
        UserError: if the store has no such study, or if none of these trials was observed.
    """
    trials = trials_frame(store, study)
    observed = {
        trial["key"]: (trial[list(TRIAL_COLUMNS)], *read_observations(path))
        for _, trial in trials[trials["chosen"]].iterrows()
        if (path := store.observations_path(trial["key"])).exists()
    }
    if not observed:
        raise UserError(
            f"no trial of {study} was observed in training: run it with --observe"
            " (`Study(observe=True)`), which adds what is missing"
        )
    return StudyObservations(
        dynamics=Observation(
            **{
                table: pd.concat(
                    [getattr(seen, table).assign(**names) for names, seen, _ in observed.values()],
                    ignore_index=True,
                )
                for table in ("scores", "gaps", "pairs")
            }
        ),
        maps={key: attention_map for key, (_, _, attention_map) in observed.items()},
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
