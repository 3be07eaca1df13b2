"""The scores of PaTH attention (`path_attention.py`) without a loop over chunks.

Chunks become blocks that double, as in `chunks.weakened_products`: the maps of a block are a matrix
M, by which the keys before it have moved at its end. Queries are moved back to the start of their
block, and keys on to its end, so that where two blocks meet a score is one product.

Letters: L length, C length of a chunk, n number of blocks, B length of one, d width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from recollect.ops.chunks import halves, power_of_two

CHUNK = 64
"""Longest chunk; the systems of one have so many unknowns."""


class Blocks(NamedTuple):
    """Scores within each block, its queries at its start, and its keys at its end over its M."""

    scores: Float[Tensor, "... n B B"]
    queries: Float[Tensor, "... n B d"]
    moved: Float[Tensor, "... n B_and_d d"]


def path_scores(
    q: Float[Tensor, "... L d"],
    k: Float[Tensor, "... L d"],
    w: Float[Tensor, "... L d"],
    beta: Float[Tensor, "... L"],
) -> Float[Tensor, "... L L"]:
    """q_t' H_t ... H_{s+1} k_s for s <= t, 0 elsewhere; all leading dimensions are alike."""
    length = q.shape[-2]
    chunk, missing = min(CHUNK, power_of_two(length)), power_of_two(length) - length
    inputs = [q, k, w, beta[..., None]]
    if missing:
        inputs = [F.pad(x, (0, 0, 0, missing)) for x in inputs]
    blocks = _chunks(*(x.unflatten(-2, (-1, chunk)) for x in inputs))
    while blocks.scores.shape[-3] > 1:
        blocks = _joined(blocks)
    return blocks.scores.squeeze(-3)[..., :length, :length]


def _chunks(
    q: Float[Tensor, "... n C d"],
    k: Float[Tensor, "... n C d"],
    w: Float[Tensor, "... n C d"],
    beta: Float[Tensor, "... n C 1"],
) -> Blocks:
    """Within a chunk the UT transform makes a product of maps the identity less a matrix."""
    chunk, d = q.shape[-2:]
    products = torch.cat([w, q], dim=-2) @ torch.cat([w, k], dim=-2).mT
    products = products.unflatten(-1, (2, -1)).unflatten(-3, (2, -1)).transpose(-3, -2).tril()
    (ww, wk), (qw, qk) = (x.unbind(-3) for x in products.unbind(-4))
    removed = torch.linalg.solve_triangular(
        beta * ww, beta * torch.cat([wk.tril(-1), w], dim=-1), upper=False, unitriangular=True
    )
    scores, queries = (torch.cat([qk, q], dim=-1) - qw @ removed).split([chunk, d], dim=-1)
    moved = torch.cat([k, torch.eye(d).to(k).expand(*k.shape[:-2], d, d)], dim=-2)
    return Blocks(scores, queries, moved - removed.mT @ w)


def _joined(blocks: Blocks) -> Blocks:
    """Each pair of neighbours as one block."""
    early, late = (Blocks(*half) for half in zip(*(halves(x) for x in blocks), strict=True))
    sizes = early.queries.shape[-2:]
    late_keys, late_maps = late.moved.split(sizes, dim=-2)
    across, late_queries = (late.queries @ early.moved.mT).split(sizes, dim=-1)
    early_keys, maps = (early.moved @ late_maps).split(sizes, dim=-2)
    above = F.pad(early.scores, (0, sizes[0]))
    return Blocks(
        scores=torch.cat([above, torch.cat([across, late.scores], dim=-1)], dim=-2),
        queries=torch.cat([early.queries, late_queries], dim=-2),
        moved=torch.cat([early_keys, late_keys, maps], dim=-2),
    )
