"""The scores of slots (`slots.py`) as Triton kernels, one per direction.

    S_t = S_{t-1} diag(exp(w_t)) + k_t s_t',   y_t = S_t' q_t

The state has one column per slot. The kernels work as those of `_triton_memory.py`, but here the
columns decay, not the rows.

All tensors are contiguous, of float32: q, k (rows, L, d_k), s and log decays w (rows, L, slots).
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

from recollect.ops._fused import Fused
from recollect.ops._triton_memory import CHUNK, NUMBERS_OF_A_WARP, columns_of_a_program
from recollect.ops._triton_rows import at, put


def fused_scores(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    write: Float[Tensor, "... L slots"],
    log_decay: Float[Tensor, "... L slots"],
) -> Float[Tensor, "... L slots"]:
    """Return y, with first derivatives only; all arguments have the same leading dimensions."""
    rows = (x.reshape(-1, *x.shape[-2:]) for x in (q, k, write, log_decay))
    y: Tensor = Fused.apply(sys.modules[__name__], *rows)[0]  # type: ignore[no-untyped-call]
    return y.reshape(write.shape)


@torch.library.custom_op(
    "recollect::slots",
    mutates_args=(),
    schema="(Tensor q, Tensor k, Tensor write, Tensor log_decay) -> (Tensor, Tensor)",
)
def forward(q: Tensor, k: Tensor, write: Tensor, log_decay: Tensor) -> tuple[Tensor, Tensor]:
    """Return y and the state before each chunk."""
    outputs = _outputs(q, write)
    _launch(_forward, q, write, (q, k, write, log_decay, *outputs))
    return outputs


def saved(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the inputs and the states before the chunks."""
    return *inputs, outputs[1]


def backward(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of all inputs."""
    dq, dk, dwrite, dlog_decay = _gradients(*tensors)
    return dq.sum(1), dk.sum(1), dwrite, dlog_decay


@torch.library.custom_op(
    "recollect::slots_backward",
    mutates_args=(),
    schema="(Tensor q, Tensor k, Tensor write, Tensor log_decay, Tensor entering, Tensor dy)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
)
def _gradients(
    q: Tensor, k: Tensor, write: Tensor, log_decay: Tensor, entering: Tensor, dy: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    outputs = _gradient_outputs(q, write)
    _launch(_backward, q, write, (q, k, write, log_decay, entering, dy, *outputs))
    return outputs


def _outputs(q: Tensor, write: Tensor) -> tuple[Tensor, Tensor]:
    rows, length, d_k = q.shape
    chunks = triton.cdiv(length, CHUNK)
    return torch.empty_like(write), q.new_empty(rows, chunks, d_k, write.shape[2])


def _gradient_outputs(q: Tensor, write: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Empty tensors for the parts of the gradients of q and k, and for those of s and w."""
    rows, length, d_k = q.shape
    slots = write.shape[2]
    parts = rows, triton.cdiv(slots, columns_of_a_program(d_k, slots)), length, d_k
    return q.new_empty(parts), q.new_empty(parts), torch.empty_like(write), torch.empty_like(write)


forward.register_fake(lambda *inputs: _outputs(inputs[0], inputs[2]))
_gradients.register_fake(lambda *inputs: _gradient_outputs(inputs[0], inputs[2]))


def _launch(kernel: Any, q: Tensor, write: Tensor, tensors: tuple[Tensor, ...]) -> None:
    """Run a kernel on all rows and slots."""
    (rows, length, d_k), slots = q.shape, write.shape[2]
    own, keys = columns_of_a_program(d_k, slots), triton.next_power_of_2(d_k)
    with torch.cuda.device_of(q):
        kernel[rows, triton.cdiv(slots, own)](
            *tensors,
            length,
            d_k,
            slots,
            CHUNK=CHUNK,
            KEYS=keys,
            COLUMNS=own,
            num_warps=max(1, min(16, keys * own // NUMBERS_OF_A_WARP)),
        )


@triton.jit
@no_type_check
def _forward(
    q,
    k,
    write,
    log_decay,
    y,
    entering,
    length,
    d_k,
    slots,
    CHUNK: tl.constexpr,
    KEYS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    n = tl.arange(0, KEYS)[:, None]
    slot = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    own = (n < d_k) & (slot < slots)
    place, size = n * slots + slot, d_k * slots  # in a state, and of one
    memory = tl.zeros([KEYS, COLUMNS], tl.float32)
    chunks = tl.cdiv(length, CHUNK)
    for chunk in range(chunks):
        tl.store(entering + (row * chunks + chunk) * size + place, memory, own)
        outputs = ()
        for i in tl.static_range(CHUNK):
            t = chunk * CHUNK + i
            q_t = at(q, row, t, n, length, d_k)
            k_t = at(k, row, t, n, length, d_k)
            write_t = at(write, row, t, slot, length, slots)
            decay = tl.exp(at(log_decay, row, t, slot, length, slots))
            memory = decay * memory + k_t * write_t
            outputs = outputs + (tl.sum(q_t * memory, 0, keep_dims=True),)
        for i in tl.static_range(CHUNK):
            put(y, outputs[i], row, chunk * CHUNK + i, slot, length, slots)


@triton.jit
@no_type_check
def _backward(
    q,
    k,
    write,
    log_decay,
    entering,
    dy,
    dq,
    dk,
    dwrite,
    dlog_decay,
    length,
    d_k,
    slots,
    CHUNK: tl.constexpr,
    KEYS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    part = row * tl.num_programs(1) + tl.program_id(1)
    n = tl.arange(0, KEYS)[:, None]
    slot = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    own = (n < d_k) & (slot < slots)
    place, size = n * slots + slot, d_k * slots
    dmemory = tl.zeros([KEYS, COLUMNS], tl.float32)
    chunks = tl.cdiv(length, CHUNK)
    for i in range(chunks):
        start = (chunks - 1 - i) * CHUNK
        memory = tl.load(entering + (row * chunks + chunks - 1 - i) * size + place, own, other=0.0)
        before = ()
        for j in tl.static_range(CHUNK):
            before = before + (memory,)
            decay = tl.exp(at(log_decay, row, start + j, slot, length, slots))
            write_t = at(write, row, start + j, slot, length, slots)
            memory = decay * memory + at(k, row, start + j, n, length, d_k) * write_t
        for j in tl.static_range(CHUNK - 1, -1, -1):
            t = start + j
            k_t = at(k, row, t, n, length, d_k)
            dy_t = at(dy, row, t, slot, length, slots)
            write_t = at(write, row, t, slot, length, slots)
            decay = tl.exp(at(log_decay, row, t, slot, length, slots))
            put(dq, tl.sum(memory * dy_t, 1, keep_dims=True), part, t, n, length, d_k)
            dmemory += at(q, row, t, n, length, d_k) * dy_t
            put(dk, tl.sum(dmemory * write_t, 1, keep_dims=True), part, t, n, length, d_k)
            put(dwrite, tl.sum(dmemory * k_t, 0, keep_dims=True), row, t, slot, length, slots)
            memory = before[j]
            dmemory *= decay
            dexponent = tl.sum(dmemory * memory, 0, keep_dims=True)
            put(dlog_decay, dexponent, row, t, slot, length, slots)
