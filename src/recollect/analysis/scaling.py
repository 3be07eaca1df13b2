"""Accuracy as a function of model size, and the measured size of a model's state."""

from __future__ import annotations

import math

import pandas as pd
import torch

from recollect.models.config import ModelConfig
from recollect.models.language_model import LanguageModel
from recollect.referee.state import storage


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


@torch.no_grad()
def state_bytes(config: ModelConfig, length: int) -> int | None:
    """Measure the size of a model's recurrent state after `length` tokens.

    Returns:
        The bytes that the step forms of all layers carry for one sequence in float32; None if a
        mixer has no step form.
    """
    model = LanguageModel(config, vocab_size=2, max_len=length, seed=0).eval()
    if not all(hasattr(block.mixer, "step") for block in model.layers):
        return None
    token, state = torch.zeros(1, dtype=torch.int64), model.initial_state(1)
    for _ in range(length):
        _, state = model.step(token, state)
    return storage(state).bytes
