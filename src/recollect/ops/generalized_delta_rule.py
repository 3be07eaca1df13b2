"""The generalized delta rule of RWKV-7 (Peng et al., 2025, arXiv 2503.14456).

    S_t = (diag(w_t) - (η_t * κ_t) κ_t') S_{t-1} + k_t v_t',   y_t = S_t' q_t

from S_0 = 0. Each key channel has its own decay w, given by its logarithm. The old value is removed
at the removal key κ, as it was before the decay; the new value is added at the key k. The paper
writes S transposed. `delta_rule` needs fewer products, since it erases and writes at one key.

Dimensions: L length, C length of a chunk, t a position, s an earlier one, S the state, with d_k
rows (keys) and d_v columns (values). Leading dimensions, heads among them, broadcast.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.ops import forms
from recollect.ops.chunks import in_chunks, weakened_products
from recollect.ops.cost import declares, rows
from recollect.ops.delta_chunks import (
    longest_chunk,
    outer,
    over_chunks,
    power_of_two_chunk,
    read,
    solving,
)


def generalized_delta_rule_definition(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    removal_key: Float[Tensor, "... L d_k"],
    rate: Float[Tensor, "... L d_k"],
    log_decay: Float[Tensor, "... L d_k"],
) -> tuple[Float[Tensor, "... L d_v"], Float[Tensor, "... d_k d_v"]]:
    """Compute the recurrence position by position."""
    state, outputs = k.new_zeros(k.shape[-1], v.shape[-1]), []
    for t in range(q.shape[-2]):
        q_t, k_t, v_t, removal_key_t, rate_t, log_decay_t = (
            x[..., t, :] for x in (q, k, v, removal_key, rate, log_decay)
        )
        y_t, state = generalized_delta_rule_step(
            q_t, k_t, v_t, removal_key_t, rate_t, state, log_decay_t
        )
        outputs.append(y_t)
    return torch.stack(outputs, dim=-2), state


@declares(
    lambda q, k, v, removal_key, rate, log_decay: (
        rows(q, k, v, removal_key, rate, log_decay)
        * generalized_delta_rule_multiply_adds(q.shape[-2], q.shape[-1], v.shape[-1])
    )
)
def generalized_delta_rule(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    removal_key: Float[Tensor, "... L d_k"],
    rate: Float[Tensor, "... L d_k"],
    log_decay: Float[Tensor, "... L d_k"],
) -> tuple[Float[Tensor, "... L d_v"], Float[Tensor, "... d_k d_v"]]:
    """Compute the recurrence by chunks, or on a GPU by a kernel, position by position (`forms.py`).

    Let e_t = -S_{t-1}' κ_t, which position t writes at η_t * κ_t, S the state before a chunk, and
    <x_t, y_s> the product of two vectors with each channel times w_s+1 ... w_t-1. Then

        (I + A) E = -(<κ, S> + B V),   A_ts = <κ_t, η_s * κ_s>,   B_ts = <κ_t, k_s>

    Args:
        q: queries (RWKV-7's receptance).
        k: keys at which values are added (RWKV-7's replacement key).
        v: values.
        removal_key: κ, the keys at which old values are removed; unit length keeps the state
            bounded.
        rate: η, the fraction that each channel removes, in [0, 1].
        log_decay: logarithm of each channel's decay, at most 0, -inf included.

    Returns:
        The outputs, and the state after the last position.
    """
    length, removed = q.shape[-2], rate * removal_key
    if forms.form_for_memory(k.shape[-1], v.shape[-1], q, k, v, removed, log_decay) == "triton":
        from recollect.ops._triton_memory import fused_memory  # Triton may not be installed

        return fused_memory(q, k, v, log_decay, removal=(removal_key, removed))
    chunk = power_of_two_chunk(length, longest_chunk(q))
    q, k, removal_key, removed, log_decay = torch.broadcast_tensors(
        *(in_chunks(x, chunk, dim=-2) for x in (q, k, removal_key, removed, log_decay))
    )
    v, w = in_chunks(v, chunk, dim=-2), log_decay.exp()

    products, readers, writers, decay = weakened_products(
        torch.stack([removal_key, w * q], dim=-2), torch.stack([removed, k], dim=-2), w
    )
    (a, b), (scores, value_scores) = (read.unbind(-1) for read in products.unbind(-3))
    # a query reads after its own position has written
    scores = scores + torch.diag_embed((q * removed).sum(-1))
    value_scores = value_scores + torch.diag_embed((q * k).sum(-1))
    removal_key, q = readers.unbind(-2)
    removed, k = writers.unbind(-2)

    identity = torch.eye(chunk, dtype=a.dtype, device=a.device)
    # (I + A)^-1
    inverse = torch.linalg.solve_triangular(a, identity, upper=False, unitriangular=True)
    y, state = over_chunks(
        writes=-inverse @ (b @ v),
        held=inverse @ removal_key,
        k=removed,
        q=q,
        scores=scores,
        decay=decay[..., None],
        added=k.mT @ v,
    )
    y = y + (value_scores @ v).flatten(-3, -2)
    return y[..., :length, :], state


def generalized_delta_rule_step(
    q_t: Float[Tensor, "... d_k"],
    k_t: Float[Tensor, "... d_k"],
    v_t: Float[Tensor, "... d_v"],
    removal_key_t: Float[Tensor, "... d_k"],
    rate_t: Float[Tensor, "... d_k"],
    state: Float[Tensor, "... d_k d_v"],
    log_decay_t: Float[Tensor, "... d_k"],
) -> tuple[Float[Tensor, "... d_v"], Float[Tensor, "... d_k d_v"]]:
    """Return one output and the state after it; arguments as in `generalized_delta_rule`."""
    removed = outer(rate_t * removal_key_t, read(state, removal_key_t))
    state = log_decay_t.exp()[..., None] * state - removed + outer(k_t, v_t)
    return read(state, q_t), state


def generalized_delta_rule_multiply_adds(length: int, d_k: int, d_v: int) -> int:
    """Multiply-adds in the matrix products of `generalized_delta_rule`, for one sequence and head.

    Products with decays are of lower order and are left out.
    """
    chunk = power_of_two_chunk(length)
    pairs = 2 * chunk * (chunk - 1) * d_k
    within = pairs + chunk**2 * (d_k + 4 * d_v) + solving(chunk)
    return -(-length // chunk) * (within + 4 * chunk * d_k * d_v)
