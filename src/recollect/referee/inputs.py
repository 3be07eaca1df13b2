"""Random sequences as inputs of the judged modules."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

BATCH, PAIR, LONG = 3, 2, 64
"""Rows of a batch: `BATCH`, or `PAIR` for sequences longer than `LONG`, which take most time."""
CROWD = 64
"""Rows of a large batch: a mixer may mix rows only in batches of some size, or in pairs."""
FEW, MANY = 7, 8192
"""Numbers of token ids. Half of all ids are below `FEW`, so that they recur; the others are below
`MANY`, unless the mixer has room for fewer ids."""
Sequences = tuple[Float[Tensor, "batch L d_model"], Int64[Tensor, "batch L"]]
"""Inputs and their token ids."""


def random_sequences(batch: int, length: int, d_model: int, seed: int, vocab: int) -> Sequences:
    """Draw normal inputs in float64, and token ids below `vocab`."""
    generator = torch.Generator().manual_seed(seed)
    frequent = torch.randint(FEW, (batch, length), generator=generator)
    x = torch.randn((batch, length, d_model), generator=generator, dtype=torch.float64)
    others = torch.randint(vocab, (batch, length), generator=generator)
    is_frequent = torch.rand((batch, length), generator=generator) < 0.5
    return x, torch.where(is_frequent, frequent, others)
