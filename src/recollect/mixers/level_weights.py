"""The weights of the blocks of a log-linear memory: λ = softplus(l * (x W_l)), one for each level
(Guo et al., 2025, arXiv 2506.04761). l starts at 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.marks import keep_init, no_decay
from recollect.ops.log_linear import Memories, levels


class LevelWeights(nn.Module):
    """λ of every head, for as many levels as the longest sequence has.

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
        """λ of each position."""
        return F.softplus(self.scale * self.proj(x).unflatten(-1, self.scale.shape))

    def check(self, length: int) -> None:
        """Refuse a length for which there are no levels.

        Raises:
            UserError: for a length above `max_len`.
        """
        if length > self.max_len:
            raise UserError(
                f"a sequence of {length} positions: the levels of this mixer are made for"
                f" {self.max_len}; build the model with a larger max_len"
            )

    def check_next(self, memories: Memories) -> None:
        """Refuse a step after `max_len` positions.

        Raises:
            UserError: for a step too many.
        """
        self.check(1 + sum(1 << bit for bit in memories))
