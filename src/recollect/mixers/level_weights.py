"""The weights of the blocks in log-linear attention (Guo et al., 2025, arXiv 2506.04761).

λ = softplus(l * (x W_l)), one for each level; l starts at 1

Training gives the levels of longer sequences no gradient. A longer test uses them untrained, for
the largest and oldest blocks.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.marks import keep_init, no_decay
from recollect.ops.log_linear import Memories, levels


def level_count(length: int, **_options: Any) -> int:
    """Return the number of levels in a sequence of `length` tokens (`mixers.length_weights`)."""
    return levels(length)


class LevelWeights(nn.Module):
    """λ of every head, for all levels of the longest sequence.

    Args:
        d_model: width.
        n_heads: number of heads.
        max_len: longest length, in tokens.
    """

    def __init__(self, d_model: int, n_heads: int, max_len: int) -> None:
        super().__init__()
        self.max_len = max_len
        self.proj = nn.Linear(d_model, n_heads * levels(max_len), bias=False)
        self.scale = nn.Parameter(torch.ones(n_heads, levels(max_len)))
        keep_init(self.scale)
        no_decay(self.scale)

    def forward(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... n_heads levels"]:
        """Return λ at each position."""
        return F.softplus(self.scale * self.proj(x).unflatten(-1, self.scale.shape))

    def check(self, length: int) -> None:
        """Refuse a sequence with more levels than this module has.

        Raises:
            UserError: if the sequence is longer than `max_len`.
        """
        if length > self.max_len:
            raise UserError(
                f"a sequence of {length} tokens, but the levels were built for {self.max_len};"
                " build the model with a larger max_len"
            )

    def check_next(self, memories: Memories) -> None:
        """Refuse a step after `max_len` tokens.

        Raises:
            UserError: if `max_len` tokens were read before.
        """
        self.check(1 + sum(1 << bit for bit in memories))
