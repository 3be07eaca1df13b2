"""The selective scan as Triton kernels, forward and backward.

A program holds the states of some channels of one row in registers and runs along time. The
backward pass recomputes the states of a chunk from the state at its start. Gradients of B and C are
sums over channels: each program writes its part, and the parts are summed in a fixed order, so that
equal inputs give equal bits.

Dimensions and shapes as in `scan.py`; all tensors are contiguous and float32.
"""

from __future__ import annotations

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from recollect.ops._scan_torch import saved as saved
from recollect.ops._triton_rows import at, put

CHUNK = 4
"""Positions from one kept state to the next."""
CHANNELS = 16
"""The most channels in a program."""
STATES_OF_A_WARP = 256
"""State elements per warp: eight per thread. The backward pass holds a chunk of them."""


@torch.library.custom_op(
    "recollect::selective_scan",
    mutates_args=(),
    schema="(Tensor x, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor state)"
    " -> (Tensor, Tensor, Tensor)",
)
def forward(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, the final state, and the state at the start of each chunk."""
    outputs = _outputs(x, state)
    _launch(_forward, x, A, (x, delta, A, B, C, state, *outputs))
    return outputs


def backward(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    entering: Tensor,
    dy: Tensor,
    dstate: Tensor,
) -> tuple[Tensor, ...]:
    """Return the gradients of the six inputs of `forward`."""
    dx, ddelta, dA, dB, dC, dstate = _gradients(x, delta, A, B, C, entering, dy, dstate)
    return dx, ddelta, dA, dB.sum(1), dC.sum(1), dstate


@torch.library.custom_op(
    "recollect::selective_scan_backward",
    mutates_args=(),
    schema="(Tensor x, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor entering, Tensor dy,"
    " Tensor dstate) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _gradients(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    entering: Tensor,
    dy: Tensor,
    dstate: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    outputs = _gradient_outputs(x, A)
    _launch(_backward, x, A, (x, delta, A, B, C, entering, dy, dstate, *outputs))
    return outputs


def _outputs(x: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows, d_state, channels = state.shape
    entering = x.new_empty(rows, triton.cdiv(x.shape[1], CHUNK), d_state, channels)
    return torch.empty_like(x), torch.empty_like(state), entering


def _gradient_outputs(
    x: Tensor, A: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Empty tensors for the gradients of x, delta, A, the initial state, and the parts of B, C."""
    rows, length, channels = x.shape
    parts = rows, triton.cdiv(channels, _channels_of_a_program(channels)), length, A.shape[1]
    dx, ddelta, dA, dstate = (torch.empty_like(z) for z in (x, x, A, A))
    return dx, ddelta, dA, x.new_empty(parts), x.new_empty(parts), dstate


forward.register_fake(lambda *inputs: _outputs(inputs[0], inputs[-1]))
_gradients.register_fake(lambda *inputs: _gradient_outputs(inputs[0], inputs[2]))


def _channels_of_a_program(channels: int) -> int:
    return min(CHANNELS, triton.next_power_of_2(channels))


def _launch(kernel: Any, x: Tensor, A: Tensor, tensors: tuple[Tensor, ...]) -> None:
    """Run a kernel on all rows and channels."""
    rows, length, channels = x.shape
    d_state = A.shape[1]
    own, states = _channels_of_a_program(channels), triton.next_power_of_2(d_state)
    warps = max(1, min(16, states * own // STATES_OF_A_WARP))
    grid = rows, triton.cdiv(channels, own)
    with torch.cuda.device_of(x):
        kernel[grid](*tensors, length, channels, d_state, CHUNK, own, states, num_warps=warps)


@triton.jit
@no_type_check
def _forward(
    x,
    delta,
    A,
    B,
    C,
    state,
    y,
    last,
    entering,
    length,
    channels,
    d_state,
    CHUNK: tl.constexpr,
    CHANNELS: tl.constexpr,
    STATES: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    n = tl.arange(0, STATES)[:, None]
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    own = (n < d_state) & (channel < channels)
    place, size = n * channels + channel, d_state * channels  # offset in a state, and its size
    rate = tl.load(A + row * size + place, own, other=0.0)
    h = tl.load(state + row * size + place, own, other=0.0)
    chunks = tl.cdiv(length, CHUNK)
    for chunk in range(chunks):
        tl.store(entering + (row * chunks + chunk) * size + place, h, own)
        outputs = ()
        for i in tl.static_range(CHUNK):
            t = chunk * CHUNK + i
            delta_t = at(delta, row, t, channel, length, channels)
            u_t = delta_t * at(x, row, t, channel, length, channels)
            B_t = at(B, row, t, n, length, d_state)
            C_t = at(C, row, t, n, length, d_state)
            h = _decay(delta_t, rate, t, length) * h + u_t * B_t
            outputs = outputs + (tl.sum(h * C_t, 0, keep_dims=True),)
        for i in tl.static_range(CHUNK):
            put(y, outputs[i], row, chunk * CHUNK + i, channel, length, channels)
    tl.store(last + row * size + place, h, own)


@triton.jit
@no_type_check
def _backward(
    x,
    delta,
    A,
    B,
    C,
    entering,
    dy,
    dlast,
    dx,
    ddelta,
    dA,
    dB,
    dC,
    dstate,
    length,
    channels,
    d_state,
    CHUNK: tl.constexpr,
    CHANNELS: tl.constexpr,
    STATES: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    part = row * tl.num_programs(1) + tl.program_id(1)
    n = tl.arange(0, STATES)[:, None]
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    own = (n < d_state) & (channel < channels)
    place, size = n * channels + channel, d_state * channels
    rate = tl.load(A + row * size + place, own, other=0.0)
    dh = tl.load(dlast + row * size + place, own, other=0.0)
    drate = tl.zeros([STATES, CHANNELS], tl.float32)
    chunks = tl.cdiv(length, CHUNK)
    for i in range(chunks):
        start = (chunks - 1 - i) * CHUNK
        h = tl.load(entering + (row * chunks + chunks - 1 - i) * size + place, own, other=0.0)
        before, inputs = (), ()
        for j in tl.static_range(CHUNK):
            delta_t = at(delta, row, start + j, channel, length, channels)
            x_t = at(x, row, start + j, channel, length, channels)
            B_t = at(B, row, start + j, n, length, d_state)
            before, inputs = before + (h,), inputs + ((delta_t, x_t, B_t),)
            h = _decay(delta_t, rate, start + j, length) * h + delta_t * x_t * B_t
        for j in tl.static_range(CHUNK - 1, -1, -1):
            t = start + j
            delta_t, x_t, B_t = inputs[j]
            dy_t = at(dy, row, t, channel, length, channels)
            C_t = at(C, row, t, n, length, d_state)
            decay = _decay(delta_t, rate, t, length)
            h = decay * before[j] + delta_t * x_t * B_t
            dh += C_t * dy_t
            put(dC, tl.sum(h * dy_t, 1, keep_dims=True), part, t, n, length, d_state)
            put(dB, tl.sum(dh * (delta_t * x_t), 1, keep_dims=True), part, t, n, length, d_state)
            du = tl.sum(dh * B_t, 0, keep_dims=True)
            dh *= decay
            dexponent = dh * before[j]
            drate += dexponent * delta_t
            ddelta_t = tl.sum(dexponent * rate, 0, keep_dims=True) + du * x_t
            put(dx, du * delta_t, row, t, channel, length, channels)
            put(ddelta, ddelta_t, row, t, channel, length, channels)
    tl.store(dA + row * size + place, drate, own)
    tl.store(dstate + row * size + place, dh, own)


@triton.jit
@no_type_check
def _decay(delta_t, rate, t, length):
    """exp(delta_t * rate); 1 after the last position."""
    return tl.where(t < length, tl.exp(delta_t * rate), 1.0)
