"""Softmax attention with forget gates: older positions count less (Lin et al., 2025,
arXiv 2503.02130).

    y_t = sum over s <= t of a_ts v_s,   a_t = softmax over s of q_t . k_s / sqrt(head_dim) + D_ts
    D_ts = log f_{s+1} + ... + log f_t

Dimensions: L length, t position of the query, s position of the key. Heads are among the leading
dimensions, all of which broadcast.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.ops.cost import declares, rows


def forgetting_attention_definition(
    q: Float[Tensor, "... L head_dim"],
    k: Float[Tensor, "... L head_dim"],
    v: Float[Tensor, "... L value_dim"],
    log_forget: Float[Tensor, "... L"],
) -> Float[Tensor, "... L value_dim"]:
    """Compute one position after the other."""
    keys, values = k[..., :0, :], v[..., :0, :]
    decays, outputs = log_forget[..., :0], []
    for t in range(q.shape[-2]):
        y_t, keys, values, decays = forgetting_attention_step(
            q[..., t, :], k[..., t, :], v[..., t, :], log_forget[..., t], keys, values, decays
        )
        outputs.append(y_t)
    return torch.stack(outputs, dim=-2)


@declares(
    lambda q, k, v, log_forget: (
        rows(q, k, v, log_forget[..., None])
        * forgetting_attention_multiply_adds(q.shape[-2], q.shape[-1], v.shape[-1])
    )
)
def forgetting_attention(
    q: Float[Tensor, "... L head_dim"],
    k: Float[Tensor, "... L head_dim"],
    v: Float[Tensor, "... L value_dim"],
    log_forget: Float[Tensor, "... L"],
) -> Float[Tensor, "... L value_dim"]:
    """Compute all positions at once.

    Args:
        q: queries.
        k: keys.
        v: values.
        log_forget: log f, at most 0 and finite.
    """
    length, head_dim = q.shape[-2:]
    # in float64: the difference of two large sums would lose its digits
    since_start = log_forget.double().cumsum(-1)
    between = (since_start[..., :, None] - since_start[..., None, :]).to(q.dtype)
    seen = torch.ones(length, length, dtype=torch.bool, device=q.device).tril()
    scores = q @ k.mT / math.sqrt(head_dim) + between
    return scores.masked_fill(~seen, -math.inf).softmax(-1) @ v


def forgetting_attention_step(
    q_t: Float[Tensor, "... head_dim"],
    k_t: Float[Tensor, "... head_dim"],
    v_t: Float[Tensor, "... value_dim"],
    log_forget_t: Float[Tensor, ...],
    keys: Float[Tensor, "... n head_dim"],
    values: Float[Tensor, "... n value_dim"],
    decays: Float[Tensor, "... n"],
) -> tuple[
    Float[Tensor, "... value_dim"],
    Float[Tensor, "... m head_dim"],
    Float[Tensor, "... m value_dim"],
    Float[Tensor, "... m"],
]:
    """Return one output, and the keys, values and decays D for the next step.

    Args:
        q_t: the query.
        k_t: the key of the same position.
        v_t: the value of the same position.
        log_forget_t: log f of the same position.
        keys: earlier keys, as returned by the previous step; n = 0 at the start of a sequence.
        values: earlier values, as returned by the previous step.
        decays: D of the earlier positions, as returned by the previous step.
    """
    keys = torch.cat([keys, k_t[..., None, :]], dim=-2)
    values = torch.cat([values, v_t[..., None, :]], dim=-2)
    now = torch.zeros_like(log_forget_t)[..., None]
    decays = torch.cat([decays + log_forget_t[..., None], now], dim=-1)
    scores = torch.einsum("...d,...sd->...s", q_t, keys) / math.sqrt(q_t.shape[-1]) + decays
    return torch.einsum("...s,...sd->...d", scores.softmax(-1), values), keys, values, decays


def forgetting_attention_multiply_adds(length: int, head_dim: int, value_dim: int) -> int:
    """Multiply-adds of scores and sums over visible positions, for one sequence and head."""
    return length * (length + 1) // 2 * (head_dim + value_dim)
