"""Whether a whole model mixes the examples of a batch, tried before it is trained.

A class of another library that reads (length, batch, d_model) takes the examples for positions: it
trains without an error, and what it answers depends on the other examples of the batch.
"""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from recollect.models.look_ahead import TOLERANCE, Logits


@torch.no_grad()
def mixed_rows(logits: Logits, tokens: Int64[Tensor, "batch L"], vocab_size: int) -> float:
    """Return how much logits of an example change when the tokens of another one change.

    Args:
        logits: the model in evaluation mode.
        tokens: an input of at least two examples.
        vocab_size: number of token ids.

    Returns:
        The largest change relative to the largest logit; 0 if it is rounding, or if the logits of
        the same input vary by themselves.
    """
    expected, largest = logits(tokens).nan_to_num(), 0.0
    if not torch.equal(logits(tokens).nan_to_num(), expected):
        return 0.0
    scale = float(expected.abs().max())
    for row in {0, len(tokens) - 1}:  # a recurrence over the batch goes one way
        changed = tokens.clone()
        changed[row] = (changed[row] + 1) % vocab_size
        difference = logits(changed).nan_to_num() - expected
        difference[row] = 0
        largest = max(largest, float(difference.abs().max()))
    return largest / scale if largest > TOLERANCE * scale else 0.0
