"""Which positions are among the best so far: a choice of the top k that never looks ahead.

Position t, counted from 1, is chosen if its score is among the best k(t) of scores 1 ... t, where
k(t) is the root of t or a share of it, rounded up; of equal scores the earlier is the better.

Letters: L length. All leading dimensions broadcast.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def among_best_definition(
    scores: Float[Tensor, "... L"], share: float | None = None
) -> Bool[Tensor, "... L"]:
    """Position by position: the scores so far in order, and who is in front."""
    chosen = []
    for t in range(1, scores.shape[-1] + 1):
        order = scores[..., :t].sort(dim=-1, descending=True, stable=True).indices
        chosen.append((order[..., : number_of_best(t, share)] == t - 1).any(-1))
    return torch.stack(chosen, dim=-1)


def among_best(scores: Float[Tensor, "... L"], share: float | None = None) -> Bool[Tensor, "... L"]:
    """The same by comparing every score with all before it.

    Args:
        scores: one for each position.
        share: of the positions so far, above 0 and at most 1; None: their root.
    """
    length = scores.shape[-1]
    better = (scores[..., None, :] >= scores[..., :, None]).tril(-1).sum(-1)
    best = [number_of_best(t, share) for t in range(1, length + 1)]
    return better < torch.tensor(best, device=scores.device)


def among_best_step(
    score_t: Float[Tensor, ...], earlier: Float[Tensor, "... n"], share: float | None = None
) -> Bool[Tensor, ...]:
    """Whether the next position is chosen, given the scores of those before it."""
    better = (earlier >= score_t[..., None]).sum(-1)
    return better < number_of_best(earlier.shape[-1] + 1, share)


def number_of_best(length: int, share: float | None = None) -> int:
    """How many positions are the best of `length`: k."""
    if share is None:
        return math.isqrt(length - 1) + 1
    return math.ceil(share * length - 1e-9)  # 0.1 * 30 is above 3
