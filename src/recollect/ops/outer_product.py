"""The decayed outer-product state: a matrix that adds k v^T at every position and is read by q.

    S_t = diag(a_t) S_{t-1} + k_t v_t^T,   y_t = q_t S_t

It is the mixing of linear attention and Based (no decay: a = 1), RetNet and Mamba-2 (one decay per
head) and GLA (one per key channel).

Dimensions: L length, d_k and d_v widths of a key and a value, n number of chunks, C length of a
chunk, t position of a read, s <= t position of a write. All leading dimensions, heads among them,
broadcast.

Decays come as logarithms, at most 0, -inf included: (..., L, 1) for one per head, (..., L, d_k) for
one per key channel. A length of 1 in place of L means a constant decay.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from recollect.ops import forms
from recollect.ops.chunks import decay_between, in_chunks, power_of_two, weakened_products
from recollect.ops.cost import declares, rows

SMALLEST_CHUNK, LARGEST_CHUNK = 16, 64
"""Limits of `chunk_length` (measured on one CPU core, forward and backward without decay, 128
sequences of 256 positions: in chunks of 16, 32, 64 and 128, four heads of width 16 take 45, 48, 77
and 148 ms, one head of width 64 takes 349, 104, 79 and 101 ms)."""


def outer_product_memory_definition(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    log_decay: Float[Tensor, "... L_or_1 d_k_or_1"] | None = None,
    initial_state: Float[Tensor, "... d_k d_v"] | None = None,
) -> tuple[Float[Tensor, "... L d_v"], Float[Tensor, "... d_k d_v"]]:
    """Return the outputs and the final state, computed one position after the other."""
    length = q.shape[-2]
    log_decay = _along(log_decay, length)
    state = q.new_zeros(q.shape[-1], v.shape[-1]) if initial_state is None else initial_state
    outputs = []
    for t in range(length):
        decay_t = None if log_decay is None else log_decay[..., t, :]
        y_t, state = outer_product_memory_step(
            q[..., t, :], k[..., t, :], v[..., t, :], state, decay_t
        )
        outputs.append(y_t)
    return torch.stack(outputs, dim=-2), state


@declares(
    lambda q, k, v, log_decay, initial_state: outer_product_memory_multiply_adds(
        q, k, v, log_decay, initial_state
    )
)
def outer_product_memory(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    log_decay: Float[Tensor, "... L_or_1 d_k_or_1"] | None = None,
    initial_state: Float[Tensor, "... d_k d_v"] | None = None,
) -> Float[Tensor, "... L d_v"]:
    """Return the outputs, computed by chunks (as in GLA, arXiv 2312.06635, section 4.2).

    A position reads its own chunk through `outer_product_weights`, and all earlier chunks through
    the state at the start of its own. The work is linear in L. A GPU may run a kernel instead,
    position by position (`forms.py`).
    """
    given = [x for x in (q, k, v, log_decay, initial_state) if x is not None]
    if forms.form_for_memory(q.shape[-1], v.shape[-1], *given) == "triton":
        from recollect.ops._triton_memory import fused_memory  # Triton may not be installed

        return fused_memory(q, k, v, _along(log_decay, q.shape[-2]), initial_state)[0]
    length = q.shape[-2]
    chunk = chunk_length(length, q.shape[-1], v.shape[-1])
    log_decay = _along(log_decay, length)
    q, k, v = (in_chunks(x, chunk, dim=-2) for x in (q, k, v))
    log_decay = None if log_decay is None else in_chunks(log_decay, chunk, dim=-2)
    y = outer_product_weights(q, k, log_decay) @ v
    if length > chunk or initial_state is not None:
        y = y + _read(q, _entering_states(k, v, log_decay, initial_state), log_decay)
    return y.flatten(-3, -2)[..., :length, :]


def outer_product_weights(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    log_decay: Float[Tensor, "... L_or_1 d_k_or_1"] | None = None,
) -> Float[Tensor, "... L L"]:
    """Return the weights of the quadratic form y = weights @ v.

    The weight of s at t is q_t (a_{s+1} ... a_t * k_s), and 0 for s > t.
    """
    log_decay = _along(log_decay, q.shape[-2])
    if log_decay is None:
        return (q @ k.mT).tril()
    if log_decay.shape[-1] == 1:
        return (q @ k.mT).tril() * decay_between(log_decay.squeeze(-1))
    return _weights_by_doubling(q, k, log_decay)


def outer_product_memory_step(
    q_t: Float[Tensor, "... d_k"],
    k_t: Float[Tensor, "... d_k"],
    v_t: Float[Tensor, "... d_v"],
    state: Float[Tensor, "... d_k d_v"],
    log_decay_t: Float[Tensor, "... d_k_or_1"] | None = None,
) -> tuple[Float[Tensor, "... d_v"], Float[Tensor, "... d_k d_v"]]:
    """Return one output and the state after it; the given state is not modified."""
    if log_decay_t is not None:
        state = log_decay_t.exp()[..., None] * state
    state = state + k_t[..., None] * v_t[..., None, :]
    return (q_t[..., None, :] @ state).squeeze(-2), state


def chunk_length(length: int, d_k: int, d_v: int) -> int:
    """Length of a chunk: within it positions are read by weights, between chunks by the state.

    It is a power of two near sqrt(d_k d_v), where the weights of a chunk are as large as a state.
    """
    balanced = 1 << round(math.log2(d_k * d_v) / 2)
    return min(length, max(SMALLEST_CHUNK, min(LARGEST_CHUNK, balanced)))


def outer_product_memory_multiply_adds(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    log_decay: Float[Tensor, "... L_or_1 d_k_or_1"] | None = None,
    initial_state: Float[Tensor, "... d_k d_v"] | None = None,
) -> int:
    """Multiply-adds in the matrix products of `outer_product_memory`.

    Products of queries and keys that broadcast count once. Products with decays are of lower order
    and are left out.
    """
    (length, d_k), d_v = q.shape[-2:], v.shape[-1]
    chunk = chunk_length(length, d_k, d_v)
    if log_decay is None or log_decay.shape[-1] == 1:
        weights = rows(q, k) * chunk * chunk * d_k
    else:
        size = power_of_two(chunk)
        weights = rows(q, k, log_decay) * (size * (size - 1) // 2) * d_k
    total = weights + rows(q, k, v, log_decay) * chunk * chunk * d_v
    if length > chunk or initial_state is not None:
        written, read = rows(k, v, log_decay), rows(q, k, v, log_decay, initial_state)
        total += (written + read) * chunk * d_k * d_v
    return -(-length // chunk) * total


def append_ones(v: Float[Tensor, "... d_v"]) -> Float[Tensor, "... d_v+1"]:
    """Append a column of ones to the values, in which the weights are summed."""
    return torch.cat([v, torch.ones_like(v[..., :1])], dim=-1)


def divide_by_ones(y: Float[Tensor, "... columns"], eps: float) -> Float[Tensor, "... d_v"]:
    """Divide outputs of `append_ones` values by the sum of their weights plus `eps`."""
    return y[..., :-1] / (y[..., -1:] + eps)


def _along(
    log_decay: Float[Tensor, "... L_or_1 d_k_or_1"] | None, length: int
) -> Float[Tensor, "... L d_k_or_1"] | None:
    """The log decay at every position."""
    return None if log_decay is None else log_decay.expand(*log_decay.shape[:-2], length, -1)


def _entering_states(
    k: Float[Tensor, "... n C d_k"],
    v: Float[Tensor, "... n C d_v"],
    log_decay: Float[Tensor, "... n C d_k_or_1"] | None,
    initial_state: Float[Tensor, "... d_k d_v"] | None,
) -> Float[Tensor, "... n d_k d_v"]:
    """The state at the start of every chunk."""
    written = _written(k, v, log_decay).unbind(-3)
    decays = None if log_decay is None else log_decay.sum(-2).exp()[..., None].unbind(-3)
    state = torch.zeros_like(written[0])
    if initial_state is not None:
        state = state + initial_state
    states = [state]
    for n in range(len(written) - 1):
        if decays is not None:
            state = decays[n] * state
        state = state + written[n]
        states.append(state)
    return torch.stack(states, dim=-3)


def _written(
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    log_decay: Float[Tensor, "... L d_k_or_1"] | None,
) -> Float[Tensor, "... d_k d_v"]:
    """The sum of k v^T over all positions, each decayed until the last one."""
    if log_decay is None:
        return k.mT @ v
    after = F.pad(log_decay[..., 1:, :], (0, 0, 0, 1)).flip(-2).cumsum(-2).flip(-2).exp()
    if after.shape[-1] == 1:  # decay the values, since Mamba-2's heads share keys
        return k.mT @ (v * after)
    return (k * after).mT @ v


def _read(
    q: Float[Tensor, "... n C d_k"],
    states: Float[Tensor, "... n d_k d_v"],
    log_decay: Float[Tensor, "... n C d_k_or_1"] | None,
) -> Float[Tensor, "... n C d_v"]:
    """The outputs of each chunk's positions from the state at its start."""
    if log_decay is None:
        return q @ states
    since = log_decay.cumsum(-2).exp()
    return (q @ states) * since if since.shape[-1] == 1 else (q * since) @ states


def _weights_by_doubling(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    log_decay: Float[Tensor, "... L d_k"],
) -> Float[Tensor, "... L L"]:
    """Weights with a decay per key channel, by `weakened_products`."""
    length = q.shape[-2]
    size = power_of_two(length)
    q, k, decay = torch.broadcast_tensors(q, k, log_decay.exp())
    # one chunk, filled up with zeros
    q, k, decay = (in_chunks(x, size, dim=-2).squeeze(-3) for x in (q, k, decay))
    products, *_ = weakened_products((q * decay)[..., None, :], k[..., None, :], decay)
    weights = products[..., 0, :, 0] + torch.diag_embed((q * k).sum(-1))
    return weights[..., :length, :length]
