"""Observations of a trial as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from recollect.analysis.attention_map import AttentionMap
from recollect.analysis.dynamics import Dynamics, Observation, from_columns, to_columns
from recollect.training.checkpoint import read_tensors, write_tensors

if TYPE_CHECKING:
    from recollect.models.language_model import LanguageModel

MAP = "map."
"""Name prefix of the attention map's tensors; the others are columns of tables."""


def save_observations(dynamics: Dynamics, model: LanguageModel, path: Path) -> None:
    """Write the observations of a trial and the attention map of its trained model."""
    attention_map = dynamics.attention_map(model)
    tensors = {name: getattr(attention_map, name) for name in ("queries", "keys", "matrices")}
    write_tensors(
        path,
        to_columns(dynamics.observation) | {f"{MAP}{name}": t for name, t in tensors.items()},
        {"tokens": json.dumps(attention_map.tokens)},
    )


def read_observations(path: Path) -> tuple[Observation, AttentionMap]:
    """Read a file written by `save_observations`.

    Raises:
        UserError: if the file is missing or damaged.
    """
    tensors, metadata = read_tensors(path)
    of_map = {
        name.removeprefix(MAP): tensors.pop(name) for name in list(tensors) if name.startswith(MAP)
    }
    tokens = tuple(json.loads(metadata["tokens"]))
    return from_columns(tensors), AttentionMap(tokens=tokens, **of_map)
