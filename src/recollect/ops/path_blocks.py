"""The scores of PaTH attention (`path_attention.py`) without a loop over chunks.

Chunks are joined into blocks of twice the length, as in `chunks.weakened_products`. The maps of a
block multiply to one matrix M, which updates all earlier keys. Queries are mapped back to the start
of their block and keys forward to its end, so the scores between two blocks are one product.

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
"""Longest chunk, and the size of its linear system."""


class Blocks(NamedTuple):
    """Scores within each block, queries at its start, and keys at its end with M below them."""

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
    """Compute single chunks by the UT transform: maps multiply to the identity minus a matrix."""
    chunk, d = q.shape[-2:]
    products = torch.cat([w, q], dim=-2) @ torch.cat([w, k], dim=-2).mT
    products = products.unflatten(-1, (2, -1)).unflatten(-3, (2, -1)).transpose(-3, -2).tril()
    (ww, wk), (qw, qk) = (x.unbind(-3) for x in products.unbind(-4))
    removed = torch.linalg.solve_triangular(
        beta * ww, beta * torch.cat([wk.tril(-1), w], dim=-1), upper=False, unitriangular=True
    )
    scores, queries = (torch.cat([qk, q], dim=-1) - qw @ removed).split([chunk, d], dim=-1)
    identity = torch.eye(d, dtype=k.dtype, device=k.device).expand(*k.shape[:-2], d, d)
    moved = torch.cat([k, identity], dim=-2)
    return Blocks(scores, queries, moved - removed.mT @ w)


def _joined(blocks: Blocks) -> Blocks:
    """Join each pair of neighbours."""
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
