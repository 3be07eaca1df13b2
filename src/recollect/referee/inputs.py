"""What modules are fed with: random sequences."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

BATCH, PAIR, LONG = 3, 2, 64
"""Rows of a batch, and of one of sequences above the length `LONG`, which take most of the time."""
VOCAB = 7
"""Token ids, so few that they recur."""
Sequences = tuple[Float[Tensor, "batch L d_model"], Int64[Tensor, "batch L"]]
"""Inputs, and the ids of the tokens that they stand for."""


def random_sequences(batch: int, length: int, d_model: int, seed: int) -> Sequences:
    """Normal inputs in float64, and token ids."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(VOCAB, (batch, length), generator=generator)
    x = torch.randn((batch, length, d_model), generator=generator, dtype=torch.float64)
    return x, tokens
