"""Mixture of block attention: each query looks into a few blocks of keys (Lu et al., 2025, arXiv
2502.13189, eq. 2 to 6).

    y_t = sum over s of a_ts v_s,   a_t = softmax over s of q_t . k_s / sqrt(head_dim),
    with s <= t and s in the block of t or in one of the n_blocks - 1 whole blocks before it whose
    mean key has the largest product with q_t

Letters: L length, t the position that looks, s the one looked at. Heads are among the leading
dimensions, all of which broadcast.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recollect.ops.attention import attention_where
from recollect.ops.cost import declares, rows


def block_attention_definition(
    q: Float[Tensor, "... L head_dim"],
    k: Float[Tensor, "... L head_dim"],
    v: Float[Tensor, "... L value_dim"],
    *,
    block_size: int,
    n_blocks: int,
) -> Float[Tensor, "... L value_dim"]:
    """One position after the other."""
    keys, values, outputs = k[..., :0, :], v[..., :0, :], []
    for t in range(q.shape[-2]):
        y_t, keys, values = block_attention_step(
            q[..., t, :],
            k[..., t, :],
            v[..., t, :],
            keys,
            values,
            block_size=block_size,
            n_blocks=n_blocks,
        )
        outputs.append(y_t)
    return torch.stack(outputs, dim=-2)


@declares(
    lambda q, k, v, block_size, n_blocks: (
        rows(q, k, v)
        * block_attention_multiply_adds(
            q.shape[-2], q.shape[-1], v.shape[-1], block_size=block_size, n_blocks=n_blocks
        )
    )
)
def block_attention(
    q: Float[Tensor, "... L head_dim"],
    k: Float[Tensor, "... L head_dim"],
    v: Float[Tensor, "... L value_dim"],
    *,
    block_size: int,
    n_blocks: int,
) -> Float[Tensor, "... L value_dim"]:
    """The same for all positions at once.

    Args:
        q: queries.
        k: keys.
        v: values.
        block_size: positions of a block.
        n_blocks: blocks that a query looks into, its own included.
    """
    length = q.shape[-2]
    places = torch.arange(length, device=q.device)
    own = places // block_size
    means = _mean_keys(k, block_size)
    is_past = torch.arange(means.shape[-2], device=q.device) < own[:, None]
    chosen = _best(q @ means.mT, is_past, n_blocks - 1)
    blocks = torch.cat([chosen, chosen.new_zeros(*chosen.shape[:-1], 1)], dim=-1)
    seen = blocks[..., own] | (own[:, None] == own)
    return attention_where(q, k, v, seen & (places <= places[:, None]))


def block_attention_step(
    q_t: Float[Tensor, "... head_dim"],
    k_t: Float[Tensor, "... head_dim"],
    v_t: Float[Tensor, "... value_dim"],
    keys: Float[Tensor, "... n head_dim"],
    values: Float[Tensor, "... n value_dim"],
    *,
    block_size: int,
    n_blocks: int,
) -> tuple[
    Float[Tensor, "... value_dim"],
    Float[Tensor, "... m head_dim"],
    Float[Tensor, "... m value_dim"],
]:
    """One output, and the keys and values that later positions need.

    Args:
        q_t: the query.
        k_t: the key of the same position.
        v_t: the value of the same position.
        keys: those before it, as returned by the step before; n = 0 begins a sequence.
        values: likewise.
        block_size: as in `block_attention`.
        n_blocks: likewise.
    """
    keys = torch.cat([keys, k_t[..., None, :]], dim=-2)
    values = torch.cat([values, v_t[..., None, :]], dim=-2)
    places = torch.arange(keys.shape[-2], device=keys.device)
    own = (keys.shape[-2] - 1) // block_size
    means = _mean_keys(keys, block_size)[..., :own, :]
    q = q_t[..., None, :]
    is_past = torch.ones(1, own, dtype=torch.bool, device=keys.device)
    chosen = _best(q @ means.mT, is_past, n_blocks - 1)
    blocks = torch.cat([chosen, chosen.new_ones(*chosen.shape[:-1], 1)], dim=-1)
    scores = (q @ keys.mT / math.sqrt(q.shape[-1])).masked_fill(
        ~blocks[..., places // block_size], -math.inf
    )
    return (scores.softmax(-1) @ values)[..., 0, :], keys, values


def block_attention_multiply_adds(
    length: int, head_dim: int, value_dim: int, *, block_size: int, n_blocks: int
) -> int:
    """Multiply-adds for one sequence and head: scores and sums over what is seen, and the products
    with the mean keys."""
    places = torch.arange(length)
    own = places // block_size
    seen = (n_blocks - 1) * block_size + places % block_size + 1
    looked_at = int(torch.minimum(seen, places + 1).sum())
    return looked_at * (head_dim + value_dim) + int(own.sum()) * head_dim


def _mean_keys(
    k: Float[Tensor, "... L head_dim"], block_size: int
) -> Float[Tensor, "... blocks head_dim"]:
    """The mean key of each whole block."""
    blocks = k.shape[-2] // block_size
    whole = k[..., : blocks * block_size, :].unflatten(-2, (blocks, block_size))
    return whole.mean(-2)


def _best(
    products: Float[Tensor, "... t blocks"], is_past: Bool[Tensor, "t blocks"], number: int
) -> Bool[Tensor, "... t blocks"]:
    """The `number` past blocks with the largest products, or all, if there are fewer."""
    number = min(number, products.shape[-1])
    best = products.masked_fill(~is_past, -math.inf).topk(number, dim=-1).indices
    return torch.zeros_like(products, dtype=torch.bool).scatter(-1, best, True) & is_past
