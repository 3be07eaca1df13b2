"""A state of slots: each holds a key and a value, has its own decay, and is read by softmax.

    K_t = diag(a_t) K_{t-1} + s_t k_t^T,   V_t = diag(a_t) V_{t-1} + s_t v_t^T
    y_t = V_t^T softmax(K_t q_t)

with K_0 = 0 and V_0 = 0. It is the mixing of gated slot attention (Zhang et al., 2024, arXiv
2409.07146, where s is 1 - a). The values are an outer-product state with s as keys and the softmax
as queries. Only the scores K_t q_t need a separate form, because they decay per slot:

    (K_t q_t)_m = sum over s <= t of (q_t . k_s) a_{s+1,m} ... a_{t,m} s_{s,m}

Dimensions: L length, C length of a chunk, n number of chunks, M number of slots, m one slot, t
position of a read, s position of a write. All leading dimensions, heads among them, broadcast.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.ops import forms
from recollect.ops.chunks import halves, in_chunks, power_of_two
from recollect.ops.cost import declares, rows
from recollect.ops.outer_product import (
    outer_product_memory,
    outer_product_memory_multiply_adds,
    outer_product_memory_step,
)
from recollect.ops.shapes import broadcast_shapes

CHUNK = 32
"""Longest chunk, a power of two."""


def slot_memory_definition(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    write: Float[Tensor, "... L M"],
    log_decay: Float[Tensor, "... L M"],
) -> Float[Tensor, "... L d_v"]:
    """Compute the recurrences one position after the other."""
    slots = write.shape[-1]
    keys, values = k.new_zeros(slots, k.shape[-1]), v.new_zeros(slots, v.shape[-1])
    outputs = []
    for t in range(q.shape[-2]):
        q_t, k_t, v_t, write_t, log_decay_t = (x[..., t, :] for x in (q, k, v, write, log_decay))
        y_t, keys, values = slot_memory_step(q_t, k_t, v_t, write_t, log_decay_t, keys, values)
        outputs.append(y_t)
    return torch.stack(outputs, dim=-2)


@declares(
    lambda q, k, v, write, log_decay: (
        rows(q, k, write, log_decay) * products_of_slots(q.shape[-2], q.shape[-1], write.shape[-1])
        + outer_product_memory_multiply_adds(
            write.expand(*broadcast_shapes(q.shape[:-1], write.shape[:-1]), -1),
            write,
            v,
            log_decay,
        )
    )
)
def slot_memory(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    write: Float[Tensor, "... L M"],
    log_decay: Float[Tensor, "... L M"],
) -> Float[Tensor, "... L d_v"]:
    """Compute the outputs by chunks.

    Args:
        q: queries.
        k: keys.
        v: values.
        write: s, how much each slot adds.
        log_decay: logarithm of each slot's decay, at most 0, -inf included.
    """
    scores = _scores(q, k, write, log_decay)
    return outer_product_memory(scores.softmax(-1), write, v, log_decay)


def slot_memory_step(
    q_t: Float[Tensor, "... d_k"],
    k_t: Float[Tensor, "... d_k"],
    v_t: Float[Tensor, "... d_v"],
    write_t: Float[Tensor, "... M"],
    log_decay_t: Float[Tensor, "... M"],
    keys: Float[Tensor, "... M d_k"],
    values: Float[Tensor, "... M d_v"],
) -> tuple[Float[Tensor, "... d_v"], Float[Tensor, "... M d_k"], Float[Tensor, "... M d_v"]]:
    """Return one output, and the slots' keys and values after it; nothing is modified in place."""
    keys = log_decay_t.exp()[..., None] * keys + write_t[..., None] * k_t[..., None, :]
    weights = (keys @ q_t[..., None]).squeeze(-1).softmax(-1)
    y_t, values = outer_product_memory_step(weights, write_t, v_t, values, log_decay_t)
    return y_t, keys, values


def products_of_slots(length: int, d_k: int, slots: int) -> int:
    """Multiply-adds in the matrix products of the scores, for one sequence and head.

    Products with decays and of a position with itself are of lower order and are left out.
    """
    chunk = _chunk(length)
    within = chunk * (chunk - 1) // 2 * (d_k + slots)
    return -(-length // chunk) * (within + 2 * chunk * d_k * slots)


def _chunk(length: int) -> int:
    return min(CHUNK, power_of_two(length))


def _scores(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    write: Float[Tensor, "... L M"],
    log_decay: Float[Tensor, "... L M"],
) -> Float[Tensor, "... L M"]:
    """K_t q_t at every position.

    Blocks double in length, from single positions to the whole chunk. Across the border of two
    halves of a block, the decay from s to t is a product of two parts: the write of s decays to the
    border, and the read of t decays from the border. A GPU may take a kernel instead (`forms.py`).
    """
    length = q.shape[-2]
    leading = broadcast_shapes(*(x.shape[:-2] for x in (q, k, write, log_decay)))
    q, k, write, log_decay = (x.expand(*leading, -1, -1) for x in (q, k, write, log_decay))
    if forms.form_for_memory(q.shape[-1], write.shape[-1], q, k, write, log_decay) == "triton":
        from recollect.ops._triton_slots import fused_scores  # Triton may not be installed

        return fused_scores(q, k, write, log_decay)
    q, k, written, decay = (
        in_chunks(x, _chunk(length), dim=-2) for x in (q, k, write, log_decay.exp())
    )
    scores = (q * k).sum(-1, keepdim=True) * written
    since, whole = decay, decay  # decay of the block up to t, and of the whole block
    scores, written, since, whole = (x[..., None, :] for x in (scores, written, since, whole))
    while scores.shape[-3] > 1:
        pairs = (-1, 2, scores.shape[-2])  # pairs of blocks
        late_q, early_k = q.unflatten(-2, pairs)[..., 1, :, :], k.unflatten(-2, pairs)[..., 0, :, :]
        (early, late), (early_written, late_written) = halves(scores), halves(written)
        (early_since, late_since), (early_whole, late_whole) = halves(since), halves(whole)
        late = late + late_since * (late_q @ early_k.mT @ early_written)
        scores = torch.cat([early, late], dim=-2)
        written = torch.cat([late_whole * early_written, late_written], dim=-2)
        since = torch.cat([early_since, early_whole * late_since], dim=-2)
        whole = early_whole * late_whole
    scores, written, since = (x.squeeze(-3) for x in (scores, written, since))
    entering = _entering(written.mT @ k, whole.squeeze(-3).mT)
    return (scores + since * (q @ entering.mT)).flatten(-3, -2)[..., :length, :]


def _entering(
    added: Float[Tensor, "... n M d_k"], decay: Float[Tensor, "... n M 1"]
) -> Float[Tensor, "... n M d_k"]:
    """The keys of the slots at the start of each chunk."""
    states = [torch.zeros_like(added[..., 0, :, :])]
    for added_i, decay_i in zip(added.unbind(-3)[:-1], decay.unbind(-3)[:-1], strict=True):
        states.append(decay_i * states[-1] + added_i)
    return torch.stack(states, dim=-3)
