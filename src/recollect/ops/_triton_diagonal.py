"""The diagonal scan as one Triton kernel: h_t = a_t h_{t-1} + b_t.

A row is one combination of the leading dimensions. A thread scans one channel of one row along
time. It stores a chunk of positions after all of their loads, so that the loads overlap.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from recollect.ops._triton_rows import at, put

CHUNK = 16
"""Positions in a chunk."""
CHANNELS = 32
"""The most channels in a program."""


@torch.library.custom_op(
    "recollect::diagonal_scan",
    mutates_args=(),
    schema="(Tensor a, Tensor b, bool backwards) -> Tensor",
)
def scan(a: Tensor, b: Tensor, backwards: bool) -> Tensor:
    """Return the states h for float32 decays a and inputs b of one shape (..., L, channels)."""
    a, b = a.contiguous(), b.contiguous()
    states = torch.empty_like(b)
    length, channels = b.shape[-2:]
    block = min(CHANNELS, triton.next_power_of_2(channels))
    grid = (b.numel() // (length * channels), triton.cdiv(channels, block))
    with torch.cuda.device_of(b):
        _scan[grid](a, b, states, length, channels, backwards, CHUNK, block, num_warps=1)
    return states


scan.register_fake(
    lambda *inputs: torch.empty_like(inputs[1], memory_format=torch.contiguous_format)
)


@triton.jit
@no_type_check
def _scan(
    a,
    b,
    states,
    length,
    channels,
    BACKWARDS: tl.constexpr,
    CHUNK: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    state = tl.zeros([CHANNELS], tl.float32)
    for start in range(0, length, CHUNK):
        chunk = ()
        for i in tl.static_range(CHUNK):
            t = _position(start + i, length, BACKWARDS)
            decay = at(a, row, t, channel, length, channels)
            state = decay * state + at(b, row, t, channel, length, channels)
            chunk = chunk + (state,)
        for i in tl.static_range(CHUNK):
            t = _position(start + i, length, BACKWARDS)
            put(states, chunk[i], row, t, channel, length, channels)


@triton.jit
@no_type_check
def _position(i, length, BACKWARDS: tl.constexpr):
    return length - 1 - i if BACKWARDS else i
