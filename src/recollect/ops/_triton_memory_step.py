"""One position of a recurrence with a matrix state, in Triton kernels (`_triton_memory.py`)."""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from recollect.ops._triton_rows import at


@triton.jit
@no_type_check
def following(
    memory,
    k,
    v,
    w,
    p,
    r,
    row,
    t,
    n,
    column,
    length,
    d_k,
    d_v,
    BY_CHANNEL: tl.constexpr,
    REMOVES: tl.constexpr,
):
    """The state after position t, computed from the inputs."""
    k_t = at(k, row, t, n, length, d_k)
    v_t = at(v, row, t, column, length, d_v)
    w_t = decay_at(w, row, t, n, length, d_k, BY_CHANNEL)
    p_t = at(p, row, t, n, length, d_k) if REMOVES else k_t
    r_t = at(r, row, t, n, length, d_k) if REMOVES else k_t
    kept = w_t * memory + k_t * v_t
    return kept - r_t * tl.sum(p_t * memory, 0, keep_dims=True) if REMOVES else kept


@triton.jit
@no_type_check
def decay_at(w, row, t, n, length, d_k, BY_CHANNEL: tl.constexpr):
    if BY_CHANNEL:
        return tl.exp(at(w, row, t, n, length, d_k))
    return tl.exp(at(w, row, t, n * 0, length, 1))
