"""Log-linear attention (`log_linear.py`) by chunks in Triton kernels, whose number does not depend
on the length.

Dimensions: n number of chunks, C length of a chunk, d_k width of a key, d_v width of a value. All
leading dimensions broadcast. Matrices within a chunk have the position s of the key first.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK = 32
"""Longest chunk: twice the length takes half the states, and twice the weights for a position."""


class Chunks(NamedTuple):
    """Chunks without decay: products of keys with queries, queries at the start of their chunk and
    keys at its end, and how the chunk maps an earlier memory; None: not at all."""

    products: Float[Tensor, "... n C C"]
    queries: Float[Tensor, "... n C d_k"]
    keys: Float[Tensor, "... n C d_k"]
    maps: Float[Tensor, "... n d_k d_k"] | None


def by_kernels(
    q: Float[Tensor, "... n C d_k"],
    k: Float[Tensor, "... n C d_k"],
    v: Float[Tensor, "... n C d_v"],
    log_decay: Float[Tensor, "... n C"],
    scales: Float[Tensor, "... n C levels"],
    beta: Float[Tensor, "... n C"] | None,
) -> Float[Tensor, "... n C d_v"]:
    """Return the outputs; arguments as in `log_linear`, in chunks."""
    # Triton may not be installed
    from recollect.ops._triton_level_weights import fused_level_weights
    from recollect.ops._triton_levels import fused_levels

    chunk, d_v = v.shape[-2:]
    if beta is None:
        chunks = Chunks(k @ q.mT, q, k, None)
    else:
        v, chunks = beta[..., None] * v, _of_delta_rule(q, k, beta)
    weights, from_start, to_end = fused_level_weights(chunks.products, log_decay[..., None], scales)
    y = weights.mT @ v
    if q.shape[-3] == 1:
        return y
    decay = from_start[..., -1:, :]
    maps = decay if chunks.maps is None else decay * chunks.maps
    states = fused_levels(maps, chunks.keys.mT @ (to_end * v))
    read = ((from_start * chunks.queries) @ states).unflatten(-1, (-1, d_v))
    first = chunk.bit_length()
    return y + (scales[..., first : first + read.shape[-2], None] * read).sum(-2)


def _of_delta_rule(
    q: Float[Tensor, "... n C d_k"],
    k: Float[Tensor, "... n C d_k"],
    beta: Float[Tensor, "... n C"],
) -> Chunks:
    """Rows of the identity, as queries at the end, give the keys there and the chunk's map."""
    from recollect.ops._triton_mapped_scores import fused_mapped_scores

    sizes = list(q.shape[-2:])
    identity = torch.eye(sizes[1], dtype=q.dtype, device=q.device)
    queries = torch.cat([q, identity.expand(*q.shape[:-2], -1, -1)], dim=-2)
    scores, ends = fused_mapped_scores(queries, k, k, beta)
    (products, keys), (queries, maps) = scores.split(sizes, dim=-1), ends.split(sizes, dim=-2)
    return Chunks(products, queries, keys, maps)
