"""The states of log-linear attention's blocks of chunks (`log_linear_blocks.py`) as Triton kernels.

    S_{i+1} = M_i S_i + N_i in a block of 2^l chunks, S_{i+1} = M_i S_i in the chunks that read it

A block of level l begins with S = 0 wherever bit l of i and all lower bits are 0. The chunks that
read it follow, and have bit l. A program computes some columns of one level of one row. While a
block is written, its state is the sum of the states that lower levels read, so only those that are
read are stored. Each program writes its part of the gradients of M and N, and the parts are summed
in a fixed order, so that equal inputs give equal bits.

All tensors are contiguous and float32: M (rows, n, d_k, d_k), or (rows, n, 1, 1) for decays, N
(rows, n, d_k, d_v), states (rows, n, d_k, levels * d_v).
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
from recollect.ops._triton_memory import NUMBERS, NUMBERS_OF_A_WARP
from recollect.ops.shapes import broadcast_shapes

LEAST = 16
"""The fewest rows and columns of a matrix product."""


def fused_levels(
    maps: Float[Tensor, "... n d_k_or_1 d_k_or_1"], own: Float[Tensor, "... n d_k d_v"]
) -> Float[Tensor, "... n d_k levels_times_d_v"]:
    """Return the states that each chunk reads, 0 where it reads none of a level.

    Args:
        maps: M; a single number is the decay of the whole state.
        own: N. There are at least two chunks.
    """
    leading = broadcast_shapes(maps.shape[:-3], own.shape[:-3])
    rows = (x.expand(*leading, *x.shape[-3:]).reshape(-1, *x.shape[-3:]) for x in (maps, own))
    states: Tensor = Fused.apply(sys.modules[__name__], *rows)[0]  # type: ignore[no-untyped-call]
    return states.reshape(*leading, *states.shape[1:])


def forward(maps: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Return the states, and an empty tensor."""
    return _states(maps, own), own.new_empty(len(own), 0)


def saved(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the maps, and the states in place of N."""
    return inputs[0], outputs[0]


def backward(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of both inputs."""
    return tuple(parts.sum(1) for parts in _gradients(*tensors))


@torch.library.custom_op(
    "recollect::levels", mutates_args=(), schema="(Tensor maps, Tensor own) -> Tensor"
)
def _states(maps: Tensor, own: Tensor) -> Tensor:
    states = _empty_states(own)
    _launch(_forward, maps, own.shape[3], states, (maps, own, states))
    return states


@torch.library.custom_op(
    "recollect::levels_backward",
    mutates_args=(),
    schema="(Tensor maps, Tensor states, Tensor dstates) -> (Tensor, Tensor)",
)
def _gradients(maps: Tensor, states: Tensor, dstates: Tensor) -> tuple[Tensor, Tensor]:
    parts = _empty_parts(maps, states)
    _launch(_backward, maps, parts[1].shape[4], states, (maps, states, dstates, *parts))
    return parts


def _empty_states(own: Tensor) -> Tensor:
    rows, n, d_k, d_v = own.shape
    return own.new_empty(rows, n, d_k, _levels(n) * d_v)


def _empty_parts(maps: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
    rows, n, d_k, columns = states.shape
    levels = _levels(n)
    d_v = columns // levels
    programs = levels * triton.cdiv(d_v, _columns_of_a_program(d_k, d_v))
    return (
        maps.new_empty(rows, programs, *maps.shape[1:]),
        states.new_empty(rows, levels, n, d_k, d_v),
    )


_states.register_fake(lambda *inputs: _empty_states(inputs[1]))
_gradients.register_fake(lambda *inputs: _empty_parts(*inputs[:2]))


def _levels(n: int) -> int:
    """The number of block sizes among n chunks."""
    return (n - 1).bit_length()


def _columns_of_a_program(d_k: int, d_v: int) -> int:
    most = max(LEAST, NUMBERS // triton.next_power_of_2(d_k))
    return min(most, max(LEAST, triton.next_power_of_2(d_v)))


def _launch(
    kernel: Any, maps: Tensor, d_v: int, states: Tensor, tensors: tuple[Tensor, ...]
) -> None:
    """Run a kernel on all rows, columns and levels."""
    rows, n, d_k, _ = states.shape
    own, keys = _columns_of_a_program(d_k, d_v), max(LEAST, triton.next_power_of_2(d_k))
    with torch.cuda.device_of(states):
        kernel[rows, triton.cdiv(d_v, own), _levels(n)](
            *tensors,
            n,
            d_k,
            d_v,
            IS_DECAY=maps.shape[2] < d_k,
            KEYS=keys,
            COLUMNS=own,
            num_warps=max(1, min(16, keys * own // NUMBERS_OF_A_WARP)),
        )


@triton.jit
@no_type_check
def _forward(
    maps,
    own,
    states,
    chunks,
    d_k,
    d_v,
    IS_DECAY: tl.constexpr,
    KEYS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row, level = tl.program_id(0).to(tl.int64), tl.program_id(2)
    n = tl.arange(0, KEYS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    there = (n < d_k) & (column < d_v)
    columns = tl.num_programs(2) * d_v
    state = tl.zeros([KEYS, COLUMNS], tl.float32)
    for i in range(chunks):
        reads = (i >> level) & 1
        state = tl.where(i % (2 << level) == 0, 0.0, state)
        place = ((row * chunks + i) * d_k + n) * columns + level * d_v + column
        tl.store(states + place, tl.where(reads == 1, state, 0.0), there)
        written = there & (reads == 0)
        new = tl.load(own + ((row * chunks + i) * d_k + n) * d_v + column, written, other=0.0)
        m = _map(maps, row * chunks + i, d_k, IS_DECAY, KEYS)
        state = (m * state if IS_DECAY else tl.dot(m, state, input_precision="ieee")) + new


@triton.jit
@no_type_check
def _map(maps, place, d_k, IS_DECAY: tl.constexpr, KEYS: tl.constexpr):
    """The map of a chunk: a matrix, or a number."""
    n, m = tl.arange(0, KEYS)[:, None], tl.arange(0, KEYS)[None, :]
    if IS_DECAY:
        values = tl.load(maps + place)
    else:
        own = (n < d_k) & (m < d_k)
        values = tl.load(maps + (place * d_k + n) * d_k + m, own, other=0.0)
    return values


@triton.jit
@no_type_check
def _backward(
    maps,
    states,
    dstates,
    dmaps,
    downs,
    chunks,
    d_k,
    d_v,
    IS_DECAY: tl.constexpr,
    KEYS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row, level, levels = tl.program_id(0).to(tl.int64), tl.program_id(2), tl.num_programs(2)
    part = (row * levels + level) * tl.num_programs(1) + tl.program_id(1)
    n, m = tl.arange(0, KEYS)[:, None], tl.arange(0, KEYS)[None, :]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    there = (n < d_k) & (column < d_v)
    columns = levels * d_v
    dafter = tl.zeros([KEYS, COLUMNS], tl.float32)
    for j in range(chunks):
        i = chunks - 1 - j
        reads = (i >> level) & 1
        dafter = tl.where((i + 1) % (2 << level) == 0, 0.0, dafter)
        place = ((row * levels + level) * chunks + i) * d_k + n
        tl.store(downs + place * d_v + column, tl.where(reads == 1, 0.0, dafter), there)
        state = tl.zeros([KEYS, COLUMNS], tl.float32)
        place = ((row * chunks + i) * d_k + n) * columns + column
        for other in range(tl.where(reads == 1, level, 0), level + reads):
            state += tl.load(states + place + other * d_v, there, other=0.0)
        given = tl.load(dstates + place + level * d_v, there & (reads == 1), other=0.0)
        a = _map(maps, row * chunks + i, d_k, IS_DECAY, KEYS)
        if IS_DECAY:
            tl.store(dmaps + part * chunks + i, tl.sum(tl.sum(dafter * state, 1), 0))
            dafter = a * dafter + given
        else:
            dmap = tl.dot(dafter, tl.trans(state), input_precision="ieee")
            square = (n < d_k) & (m < d_k)
            tl.store(dmaps + ((part * chunks + i) * d_k + n) * d_k + m, dmap, square)
            dafter = tl.dot(tl.trans(a), dafter, input_precision="ieee") + given
