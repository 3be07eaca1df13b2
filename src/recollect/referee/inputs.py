"""Random sequences as inputs of the judged modules."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

BATCH, PAIR, LONG = 3, 2, 64
"""Rows of a batch: `BATCH`, or `PAIR` for sequences longer than `LONG`, which take most time."""
VOCAB = 7
"""Number of token ids, small so that tokens recur."""
Sequences = tuple[Float[Tensor, "batch L d_model"], Int64[Tensor, "batch L"]]
"""Inputs and their token ids."""


def random_sequences(batch: int, length: int, d_model: int, seed: int) -> Sequences:
    """Draw normal inputs in float64, and token ids."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(VOCAB, (batch, length), generator=generator)
    x = torch.randn((batch, length, d_model), generator=generator, dtype=torch.float64)
    return x, tokens
