"""Accuracy as a function of model size, and the measured size of a model's state."""

from __future__ import annotations

import math

import pandas as pd
import torch

from recollect.models.config import ModelConfig
from recollect.referee.generators import kept
from recollect.referee.layers import has_step
from recollect.referee.state import Size, state_sizes
from recollect.referee.subject import Subject
from recollect.referee.verdict import Unmeasurable


def gain(cells: pd.DataFrame, along: str, per_doubling_of: str | None = None) -> float:
    """Gain in test accuracy from the smallest to the largest width or depth.

    Args:
        cells: one row per model of one mixer on one task, with columns `d_model`, `n_layers`,
            `test_accuracy` and the column `per_doubling_of`.
        along: "d_model" or "n_layers"; the other is held fixed.
        per_doubling_of: a column such as "parameters"; the gain is divided by the number of its
            doublings. None: the whole gain.

    Returns:
        The mean over the values of the other size; NaN if `along` has a single value.
    """
    other = {"d_model": "n_layers", "n_layers": "d_model"}[along]
    gains = []
    for _, line in cells.groupby(other):
        first, last = (line.sort_values(along).iloc[end] for end in (0, -1))
        if first[along] == last[along]:
            continue
        doublings = (
            math.log2(last[per_doubling_of] / first[per_doubling_of]) if per_doubling_of else 1
        )
        gains.append((last["test_accuracy"] - first["test_accuracy"]) / doublings)
    return sum(gains) / len(gains) if gains else math.nan


def state_size(config: ModelConfig, length: int) -> Size:
    """Measure the recurrent state of all layers of a model after `length` tokens, as a check does.

    Returns:
        The state that the step forms carry for one sequence in float32, of a model built for
        `length` tokens.

    Raises:
        UserError: if a mixer cannot be built.
        Misbehaviour: if a mixer has no step form, or its state cannot be measured.
    """
    layers = config.replace(mixer=config.layer_mixers())
    subject = Subject(layers, length, in_blocks=True)
    with kept():
        if not has_step(subject.build(dtype=torch.float32, perturbed=False)):
            raise Unmeasurable("no step form")
        *_, last = state_sizes(subject, length)
    return last
