"""Log-linear attention (`log_linear.py`) by chunks in Triton kernels, whose number does not depend
on the length.

Dimensions: n number of chunks, C length of a chunk, d_k width of a key, d_v width of a value. All
leading dimensions broadcast.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.ops.chunks import decay_between

CHUNK = 32
"""Longest chunk: twice the length takes half the states, and twice the weights for a position."""


class Chunks(NamedTuple):
    """Each chunk's weights of values at earlier positions and at its own, its queries at its start,
    and the map M -> maps M + own of its first memory to its last."""

    weights: Float[Tensor, "... n C C"]
    queries: Float[Tensor, "... n C d_k"]
    maps: Float[Tensor, "... n d_k_or_1 d_k_or_1"]
    own: Float[Tensor, "... n d_k d_v"]


def by_kernels(
    q: Float[Tensor, "... n C d_k"],
    k: Float[Tensor, "... n C d_k"],
    v: Float[Tensor, "... n C d_v"],
    log_decay: Float[Tensor, "... n C"],
    beta: Float[Tensor, "... n C"] | None,
    scales_within: Float[Tensor, "... n C C"],
    scales: Float[Tensor, "... n C levels"],
) -> Float[Tensor, "... n C d_v"]:
    """Return the outputs.

    Args:
        q: queries.
        k: keys.
        v: values.
        log_decay: as in `log_linear`.
        beta: as in `log_linear`.
        scales_within: λ of t for the block of s, both in one chunk.
        scales: λ for blocks of whole chunks.
    """
    from recollect.ops._triton_levels import fused_levels  # Triton may not be installed

    if beta is None:
        chunks = _of_outer_products(q, k, v, log_decay)
    else:
        v = beta[..., None] * v
        chunks = _of_delta_rule(q, k, v, log_decay, beta)
    y = (chunks.weights * scales_within) @ v
    if chunks.own.shape[-3] == 1:
        return y
    states = fused_levels(chunks.maps, chunks.own)
    read = (chunks.queries @ states).unflatten(-1, (-1, v.shape[-1]))
    return y + (scales[..., : read.shape[-2], None] * read).sum(-2)


def _of_outer_products(
    q: Float[Tensor, "... n C d_k"],
    k: Float[Tensor, "... n C d_k"],
    v: Float[Tensor, "... n C d_v"],
    log_decay: Float[Tensor, "... n C"],
) -> Chunks:
    between = decay_between(log_decay)
    from_start = log_decay.cumsum(-1).exp()[..., None]
    return Chunks(
        weights=between * (q @ k.mT).tril(),
        queries=from_start * q,
        maps=from_start[..., -1:, :],
        own=k.mT @ (between[..., -1, :, None] * v),
    )


def _of_delta_rule(
    q: Float[Tensor, "... n C d_k"],
    k: Float[Tensor, "... n C d_k"],
    written: Float[Tensor, "... n C d_v"],
    log_decay: Float[Tensor, "... n C"],
    beta: Float[Tensor, "... n C"],
) -> Chunks:
    """Rows of the identity, as queries at the end, give the keys there and the chunk's map."""
    from recollect.ops._triton_mapped_scores import fused_mapped_scores

    sizes = q.shape[-2:]
    identity = torch.eye(sizes[1], dtype=q.dtype, device=q.device)
    queries = torch.cat([q, identity.expand(*q.shape[:-2], -1, -1)], dim=-2)
    scores, ends = fused_mapped_scores(queries, k, k, beta, log_decay)
    (weights, keys), (queries, maps) = scores.split(sizes, dim=-1), ends.split(sizes, dim=-2)
    return Chunks(weights=weights.mT, queries=queries, maps=maps, own=keys.mT @ written)
