"""Recurrences with a matrix state as Triton kernels, forward and backward.

    S_t = diag(exp(w_t)) S_{t-1} - r_t (p_t' S_{t-1}) + k_t v_t',   y_t = S_t' q_t

Without the middle term this is the recurrence of `outer_product.py`; with it, that of the delta
rules. A row is one combination of the leading dimensions. A program holds some columns of the
state of one row in registers and runs along time. The backward pass recomputes the states of a
chunk from the state at its start, and holds those of a part of the chunk. Gradients of inputs that
all columns share are sums over columns: each program writes its part, and the parts are summed in a
fixed order, so that equal inputs give equal bits.

All tensors are contiguous and float32: q, k, p, r (rows, L, d_k), v (rows, L, d_v), log decays w
(rows, L, 1) or (rows, L, d_k), states (rows, d_k, d_v).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from recollect.ops._fused import fused
from recollect.ops._triton_memory_step import decay_at, following
from recollect.ops._triton_rows import at, put

CHUNK = 8
"""Positions from one kept state to the next."""
PART = 4
"""Positions of a chunk whose states the backward pass holds in registers; more are spilled."""
NUMBERS = 4096
"""State elements per program; a program with COLUMNS columns may have more."""
COLUMNS = 16
"""The fewest columns per program, unless the state has fewer."""
NUMBERS_OF_A_WARP = 256
"""State elements per warp: eight per thread."""


def fused_memory(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    log_decay: Float[Tensor, "... L d_k_or_1"] | None = None,
    initial_state: Float[Tensor, "... d_k d_v"] | None = None,
    removal: tuple[Float[Tensor, "... L d_k"], Float[Tensor, "... L d_k"]] | None = None,
) -> tuple[Float[Tensor, "... L d_v"], Float[Tensor, "... d_k d_v"]]:
    """Return y and the final state, with first derivatives.

    Args:
        q: queries.
        k: keys at which values are added.
        v: values.
        log_decay: w; None: no decay.
        initial_state: None: zeros.
        removal: p and r: the state is read at p, and the result is subtracted at r; None: nothing
            is removed.
    """
    w = q.new_zeros(q.shape[-2], 1) if log_decay is None else log_decay
    state = q.new_zeros(q.shape[-1], v.shape[-1]) if initial_state is None else initial_state
    return fused(sys.modules[__name__], q, k, v, w, state, *(removal or ()))


def forward(*inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, the final state, and the state at the start of each chunk.

    The inputs are q, k, v, w and the initial state, then p and r if the recurrence removes
    anything.
    """
    return _memory(list(inputs))


def saved(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The inputs and the states at the starts of chunks."""
    return *inputs, outputs[2]


def backward(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of all inputs."""
    *inputs, entering, dy, dlast = tensors
    dv, dstate, *parts = _gradients(inputs, entering, dy, dlast)
    sums = [part.squeeze(1) if part.shape[1] == 1 else part.sum(1) for part in parts]
    dq, dk, dw, *removal = sums
    return dq, dk, dv, dw, dstate, *removal


@torch.library.custom_op(
    "recollect::memory", mutates_args=(), schema="(Tensor[] inputs) -> (Tensor, Tensor, Tensor)"
)
def _memory(inputs: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    outputs = _outputs(inputs)
    _launch(_forward, inputs, (*_with_removal(inputs), *outputs))
    return outputs


@torch.library.custom_op(
    "recollect::memory_backward",
    mutates_args=(),
    schema="(Tensor[] inputs, Tensor entering, Tensor dy, Tensor dlast) -> Tensor[]",
)
def _gradients(inputs: list[Tensor], entering: Tensor, dy: Tensor, dlast: Tensor) -> list[Tensor]:
    outputs = _gradient_outputs(inputs)
    *q_to_w, _, p, r = _with_removal(inputs)
    written = outputs if len(outputs) == 7 else [*outputs, dy, dy]  # the last two are not written
    _launch(_backward, inputs, (*q_to_w, p, r, entering, dy, dlast, *written), PART=PART)
    return outputs


def _outputs(inputs: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    v, state = inputs[2], inputs[4]
    rows, length, _ = v.shape
    entering = v.new_empty(rows, triton.cdiv(length, CHUNK), *state.shape[1:])
    return torch.empty_like(v), torch.empty_like(state), entering


def _gradient_outputs(inputs: list[Tensor]) -> list[Tensor]:
    """Empty tensors for the gradients of v and the initial state, and the parts of the others."""
    q, k, v, w, state, *removal = inputs
    columns = columns_of_a_program(*state.shape[1:])
    programs = triton.cdiv(v.shape[2], columns)
    parts = [z.new_empty(len(z), programs, *z.shape[1:]) for z in (q, k, w, *removal)]
    return [torch.empty_like(v), torch.empty_like(state), *parts]


_memory.register_fake(_outputs)
_gradients.register_fake(lambda *inputs: _gradient_outputs(inputs[0]))


def _with_removal(inputs: list[Tensor]) -> list[Tensor]:
    """The inputs, with unread placeholders for p and r where nothing is removed."""
    return inputs if len(inputs) == 7 else [*inputs, inputs[0], inputs[0]]


def columns_of_a_program(d_k: int, d_v: int) -> int:
    """Columns of the state per program."""
    most = max(COLUMNS, NUMBERS // triton.next_power_of_2(d_k))
    return min(most, triton.next_power_of_2(d_v))


def _launch(
    kernel: Any, inputs: list[Tensor], tensors: tuple[Tensor, ...], **constants: int
) -> None:
    """Run a kernel on all rows and columns."""
    w, state = inputs[3], inputs[4]
    rows, d_k, d_v = state.shape
    own, keys = columns_of_a_program(d_k, d_v), triton.next_power_of_2(d_k)
    with torch.cuda.device_of(w):
        kernel[rows, triton.cdiv(d_v, own)](
            *tensors,
            w.shape[1],
            d_k,
            d_v,
            BY_CHANNEL=w.shape[2] > 1,
            REMOVES=len(inputs) == 7,
            CHUNK=CHUNK,
            KEYS=keys,
            COLUMNS=own,
            num_warps=max(1, min(16, keys * own // NUMBERS_OF_A_WARP)),
            **constants,
        )


@triton.jit
@no_type_check
def _forward(
    q,
    k,
    v,
    w,
    state,
    p,
    r,
    y,
    last,
    entering,
    length,
    d_k,
    d_v,
    BY_CHANNEL: tl.constexpr,
    REMOVES: tl.constexpr,
    CHUNK: tl.constexpr,
    KEYS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    n = tl.arange(0, KEYS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    own = (n < d_k) & (column < d_v)
    place, size = n * d_v + column, d_k * d_v  # offset in a state, and its size
    memory = tl.load(state + row * size + place, own, other=0.0)
    chunks = tl.cdiv(length, CHUNK)
    for chunk in range(chunks):
        tl.store(entering + (row * chunks + chunk) * size + place, memory, own)
        outputs = ()
        for i in tl.static_range(CHUNK):
            t = chunk * CHUNK + i
            memory = following(
                memory, k, v, w, p, r, row, t, n, column, length, d_k, d_v, BY_CHANNEL, REMOVES
            )
            q_t = at(q, row, t, n, length, d_k)
            outputs = outputs + (tl.sum(q_t * memory, 0, keep_dims=True),)
        for i in tl.static_range(CHUNK):
            put(y, outputs[i], row, chunk * CHUNK + i, column, length, d_v)
    tl.store(last + row * size + place, memory, own)


@triton.jit
@no_type_check
def _backward(
    q,
    k,
    v,
    w,
    p,
    r,
    entering,
    dy,
    dlast,
    dv,
    dstate,
    dq,
    dk,
    dw,
    dp,
    dr,
    length,
    d_k,
    d_v,
    BY_CHANNEL: tl.constexpr,
    REMOVES: tl.constexpr,
    CHUNK: tl.constexpr,
    PART: tl.constexpr,
    KEYS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    part = row * tl.num_programs(1) + tl.program_id(1)
    n = tl.arange(0, KEYS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    own = (n < d_k) & (column < d_v)
    place, size = n * d_v + column, d_k * d_v
    dmemory = tl.load(dlast + row * size + place, own, other=0.0)
    chunks = tl.cdiv(length, CHUNK)
    for i in range(chunks * (CHUNK // PART)):
        start = (chunks * (CHUNK // PART) - 1 - i) * PART
        chunk = start // CHUNK
        memory = tl.load(entering + (row * chunks + chunk) * size + place, own, other=0.0)
        for t in range(chunk * CHUNK, start):
            memory = following(
                memory, k, v, w, p, r, row, t, n, column, length, d_k, d_v, BY_CHANNEL, REMOVES
            )
        before = ()
        for j in tl.static_range(PART):
            before = before + (memory,)
            t = start + j
            memory = following(
                memory, k, v, w, p, r, row, t, n, column, length, d_k, d_v, BY_CHANNEL, REMOVES
            )
        for j in tl.static_range(PART - 1, -1, -1):
            t = start + j
            q_t = at(q, row, t, n, length, d_k)
            k_t = at(k, row, t, n, length, d_k)
            v_t = at(v, row, t, column, length, d_v)
            dy_t = at(dy, row, t, column, length, d_v)
            w_t = decay_at(w, row, t, n, length, d_k, BY_CHANNEL)
            put(dq, tl.sum(memory * dy_t, 1, keep_dims=True), part, t, n, length, d_k)
            memory = before[j]
            dmemory += q_t * dy_t
            put(dk, tl.sum(dmemory * v_t, 1, keep_dims=True), part, t, n, length, d_k)
            put(dv, tl.sum(dmemory * k_t, 0, keep_dims=True), row, t, column, length, d_v)
            dw_t = tl.sum(dmemory * (w_t * memory), 1, keep_dims=True)
            if BY_CHANNEL:
                put(dw, dw_t, part, t, n, length, d_k)
            else:
                there = t < length
                tl.store(dw + part * length + t + n * 0, tl.sum(dw_t, 0), there & (n == 0))
            dafter = dmemory
            dmemory = w_t * dafter
            if REMOVES:
                p_t = at(p, row, t, n, length, d_k)
                r_t = at(r, row, t, n, length, d_k)
                given_up = tl.sum(p_t * memory, 0, keep_dims=True)
                dgiven_up = -tl.sum(r_t * dafter, 0, keep_dims=True)
                put(dr, -tl.sum(dafter * given_up, 1, keep_dims=True), part, t, n, length, d_k)
                put(dp, tl.sum(memory * dgiven_up, 1, keep_dims=True), part, t, n, length, d_k)
                dmemory += p_t * dgiven_up
    tl.store(dstate + row * size + place, dmemory, own)
