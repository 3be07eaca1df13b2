"""PaTH: softmax attention whose position encoding is a product of Householder-like maps (Yang et
al., 2025, arXiv 2505.16381).

    y_t = sum over s <= t of a_ts v_s,   a_t = softmax over s of q_t' H_t ... H_{s+1} k_s / sqrt(d)
    H_j = I - β_j w_j w_j'

A step applies H_t to all earlier keys in place. The fast form works on chunks: within a chunk, a
product of maps is the identity minus a low-rank matrix (the UT transform of `delta_chunks`); after
each chunk all earlier keys are updated at once.

Dimensions: L length, C length of a chunk, d width of queries, keys and w. Leading dimensions, heads
among them, broadcast.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.ops import forms
from recollect.ops.cost import declares, rows
from recollect.ops.delta_chunks import solving
from recollect.ops.path_blocks import path_scores
from recollect.ops.shapes import broadcast_shapes

CHUNK = 32
"""Length of a chunk."""


def path_attention_definition(
    q: Float[Tensor, "... L d"],
    k: Float[Tensor, "... L d"],
    v: Float[Tensor, "... L d_v"],
    w: Float[Tensor, "... L d"],
    beta: Float[Tensor, "... L"],
) -> Float[Tensor, "... L d_v"]:
    """Compute one position after the other."""
    keys, values, outputs = k[..., :0, :], v[..., :0, :], []
    for t in range(q.shape[-2]):
        q_t, k_t, v_t, w_t = (x[..., t, :] for x in (q, k, v, w))
        y_t, keys, values = path_attention_step(q_t, k_t, v_t, w_t, beta[..., t], keys, values)
        outputs.append(y_t)
    return torch.stack(outputs, dim=-2)


@declares(
    lambda q, k, v, w, beta: (
        rows(q, k, v, w, beta[..., None])
        * path_attention_multiply_adds(q.shape[-2], q.shape[-1], v.shape[-1])
    )
)
def path_attention(
    q: Float[Tensor, "... L d"],
    k: Float[Tensor, "... L d"],
    v: Float[Tensor, "... L d_v"],
    w: Float[Tensor, "... L d"],
    beta: Float[Tensor, "... L"],
) -> Float[Tensor, "... L d_v"]:
    """Compute the outputs by chunks on the CPU; elsewhere by a Triton kernel, or by blocks
    (`path_blocks.py`).

    Args:
        q: queries.
        k: keys.
        v: values.
        w: directions of unit length.
        beta: how much of its direction each position removes from earlier keys, in [0, 2].
    """
    leading = broadcast_shapes(*(x.shape[:-2] for x in (q, k, w)), beta.shape[:-1])
    q, k, w = (x.expand(*leading, -1, -1) for x in (q, k, w))
    form = forms.form_for_memory(q.shape[-1], q.shape[-1], q, k, v, w, beta)
    if form == "triton":
        return _by_kernel(q, k, v, w, beta)
    if form == "torch":
        scores = path_scores(q, k, w, beta.expand(*leading, -1)) / math.sqrt(q.shape[-1])
        hidden = torch.ones_like(scores, dtype=torch.bool).triu(1)
        return scores.masked_fill(hidden, -math.inf).softmax(-1) @ v
    keys, outputs = k[..., :0, :], []  # earlier keys, updated up to the start of the chunk
    for begin in range(0, q.shape[-2], CHUNK):
        here = slice(begin, begin + CHUNK)
        q_i, k_i, w_i, beta_i = q[..., here, :], k[..., here, :], w[..., here, :], beta[..., here]
        # (I + A)^-1 diag(β), where A is diag(β) W W' below the diagonal
        inverse = torch.linalg.solve_triangular(
            beta_i[..., None] * (w_i @ w_i.mT),
            torch.diag_embed(beta_i),
            upper=False,
            unitriangular=True,
        )
        of_keys = inverse @ (w_i @ k_i.mT).tril(-1)
        of_past = inverse @ w_i
        seen = (q_i @ w_i.mT).tril()
        own = (q_i @ k_i.mT).tril() - seen @ of_keys
        earlier = (q_i - seen @ of_past) @ keys.mT
        hidden = torch.ones_like(own, dtype=torch.bool).triu(1)
        scores = torch.cat([earlier, own.masked_fill(hidden, -math.inf)], dim=-1)
        weights = (scores / math.sqrt(q.shape[-1])).softmax(-1)
        outputs.append(weights @ v[..., : begin + q_i.shape[-2], :])
        moved = keys - (keys @ of_past.mT) @ w_i
        keys = torch.cat([moved, k_i - of_keys.mT @ w_i], dim=-2)
    return torch.cat(outputs, dim=-2)


def _by_kernel(
    q: Float[Tensor, "... L d"],
    k: Float[Tensor, "... L d"],
    v: Float[Tensor, "... L d_v"],
    w: Float[Tensor, "... L d"],
    beta: Float[Tensor, "... L"],
) -> Float[Tensor, "... L d_v"]:
    """Compute the scores in a kernel, with dimensions of keys and queries in this order."""
    from recollect.ops._triton_mapped_scores import fused_mapped_scores  # Triton may be missing

    scores, _ = fused_mapped_scores(q / math.sqrt(q.shape[-1]), k, w, beta)
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril(-1)
    return scores.masked_fill(hidden, -math.inf).softmax(-2).mT @ v


def path_attention_step(
    q_t: Float[Tensor, "... d"],
    k_t: Float[Tensor, "... d"],
    v_t: Float[Tensor, "... d_v"],
    w_t: Float[Tensor, "... d"],
    beta_t: Float[Tensor, ...],
    keys: Float[Tensor, "... n d"],
    values: Float[Tensor, "... n d_v"],
) -> tuple[Float[Tensor, "... d_v"], Float[Tensor, "... m d"], Float[Tensor, "... m d_v"]]:
    """Return one output, and the keys and values for the next step.

    Args:
        q_t: the query.
        k_t: the key of the same position.
        v_t: the value of the same position.
        w_t: the direction of the same position.
        beta_t: how much of the direction is removed from earlier keys.
        keys: earlier keys, as returned by the previous step; n = 0 at the start of a sequence.
        values: earlier values, as returned by the previous step.
    """
    along = keys @ w_t[..., :, None]
    keys = keys - beta_t[..., None, None] * along * w_t[..., None, :]
    keys = torch.cat([keys, k_t[..., None, :]], dim=-2)
    values = torch.cat([values, v_t[..., None, :]], dim=-2)
    scores = torch.einsum("...d,...sd->...s", q_t, keys) / math.sqrt(q_t.shape[-1])
    return torch.einsum("...s,...sd->...d", scores.softmax(-1), values), keys, values


def path_attention_multiply_adds(length: int, d: int, d_v: int) -> int:
    """Multiply-adds in the matrix products of one sequence and head.

    Scores and sums of values are those of visible positions, the other products whole chunks.
    """
    total = 0
    for begin in range(0, length, CHUNK):
        chunk = min(CHUNK, length - begin)
        within = chunk**2 * (6 * d + 2 * chunk) + solving(chunk)
        seen = chunk * begin + chunk * (chunk + 1) // 2
        total += within + 2 * begin * chunk * d + seen * (d + d_v)
    return total
