"""How accuracy goes with the size of a model: with width, depth, parameters, and the state that it
carries.

Each function takes a frame of one mixer on one task, with a row for each model: `d_model`,
`n_layers`, `test_accuracy`, and what is compared with.
"""

from __future__ import annotations

import math

import pandas as pd
import torch

from recollect.models.config import ModelConfig
from recollect.models.language_model import LanguageModel
from recollect.referee.state import storage


def gain(cells: pd.DataFrame, along: str, per_doubling_of: str | None = None) -> float:
    """What accuracy gains from the lowest value of a column to the highest, the other sizes fixed.

    Args:
        cells: of one mixer and task.
        along: "d_model" or "n_layers".
        per_doubling_of: a column, such as "parameters", for each doubling of which the gain is
            given; None: the whole of it.

    Returns:
        The mean over the values of the other size; NaN where the column has a single value.
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
    """The bytes that a model carries for one sequence, in float32, once it has read `length`
    tokens: measured on what its step form holds, all layers together.

    Returns:
        None if one of its mixers has no step form.
    """
    model = LanguageModel(config, vocab_size=2, max_len=length, seed=0).eval()
    if not all(hasattr(block.mixer, "step") for block in model.layers):
        return None
    token, state = torch.zeros(1, dtype=torch.int64), model.initial_state(1)
    for _ in range(length):
        _, state = model.step(token, state)
    return storage(state).bytes
