"""Causal top-k selection: the positions whose score is among the best so far.

Position t, counted from 1, is chosen if its score is among the k(t) largest of scores 1 ... t.
k(t) is the square root of t or a fraction of t, rounded up. Of equal scores the earlier ranks
higher.

Dimensions: L length. All leading dimensions broadcast.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def among_best_definition(
    scores: Float[Tensor, "... L"], share: float | None = None
) -> Bool[Tensor, "... L"]:
    """Return the chosen positions, by sorting all scores so far at each position."""
    chosen = []
    for t in range(1, scores.shape[-1] + 1):
        order = scores[..., :t].sort(dim=-1, descending=True, stable=True).indices
        chosen.append((order[..., : number_of_best(t, share)] == t - 1).any(-1))
    return torch.stack(chosen, dim=-1)


def among_best(scores: Float[Tensor, "... L"], share: float | None = None) -> Bool[Tensor, "... L"]:
    """Return the chosen positions, by comparing every score with all before it.

    Args:
        scores: one for each position.
        share: fraction of the positions so far to choose, above 0 and at most 1; None: the square
            root of their number.
    """
    length = scores.shape[-1]
    better = (scores[..., None, :] >= scores[..., :, None]).tril(-1).sum(-1)
    best = [number_of_best(t, share) for t in range(1, length + 1)]
    return better < torch.tensor(best, device=scores.device)


def among_best_step(
    score_t: Float[Tensor, ...], earlier: Float[Tensor, "... n"], share: float | None = None
) -> Bool[Tensor, ...]:
    """Return whether the next position is chosen, given all earlier scores."""
    better = (earlier >= score_t[..., None]).sum(-1)
    return better < number_of_best(earlier.shape[-1] + 1, share)


def number_of_best(length: int, share: float | None = None) -> int:
    """k for `length` positions."""
    if share is None:
        return math.isqrt(length - 1) + 1
    return math.ceil(share * length - 1e-9)  # in floating point 0.1 * 30 exceeds 3
