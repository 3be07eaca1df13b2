"""The decaying average of RWKV-4 as Triton kernels, forward and backward.

A row is one combination of the leading dimensions. A thread runs one channel of one row along
time. Let A_t and B_t be the sums of values and of weights before position t, and
Z_t = B_t + e^(u + k_t) the total weight. The gradients of the sums obey

    dA_t = dy_t / Z_t + e^-w dA_t+1,        dB_t = -dy_t y_t / Z_t + e^-w dB_t+1

They are stored divided by e^o, where o is their largest exponent; the sums are stored divided by
e^m. The gradient of w needs the derivatives of the sums by w, which are computed along with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from recollect.ops._triton_rows import at, put

CHUNK = 8
"""Positions that are stored together, after all of their loads."""
CHANNELS = 32
"""The most channels in a program."""


@torch.library.custom_op(
    "recollect::wkv",
    mutates_args=(),
    schema="(Tensor k, Tensor v, Tensor w, Tensor u, Tensor state) -> (Tensor, Tensor, Tensor)",
)
def forward(
    k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, the final state, and log Z.

    Shapes: k, v (rows, L, channels), w, u (rows, 1, channels), state (rows, 3, channels); all
    contiguous and float32.
    """
    outputs = _outputs(k, state)
    _launch(_forward, k, (k, v, w, u, state, *outputs))
    return outputs


def saved(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The tensors for the backward pass: all except the final state."""
    return *inputs, outputs[0], outputs[2]


@torch.library.custom_op(
    "recollect::wkv_backward",
    mutates_args=(),
    schema="(Tensor k, Tensor v, Tensor w, Tensor u, Tensor state, Tensor y, Tensor log_z,"
    " Tensor dy, Tensor dlast) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def backward(
    k: Tensor,
    v: Tensor,
    w: Tensor,
    u: Tensor,
    state: Tensor,
    y: Tensor,
    log_z: Tensor,
    dy: Tensor,
    dlast: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of all inputs.

    The exponents in the final state get no gradient: they cancel.
    """
    dk, dv, dw, du, dstate = (torch.empty_like(tensor) for tensor in (k, v, w, u, state))
    tensors = (k, v, w, u, state, y, log_z, dy, dlast, dk, dv, dw, du, dstate)
    _launch(_backward, k, tensors)
    return dk, dv, dw, du, dstate


def _outputs(k: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(k), torch.empty_like(state), torch.empty_like(k)


forward.register_fake(lambda *inputs: _outputs(inputs[0], inputs[-1]))
backward.register_fake(lambda *inputs: tuple(torch.empty_like(z) for z in inputs[:5]))


def _launch(kernel: Any, k: Tensor, tensors: tuple[Tensor, ...]) -> None:
    """Run a kernel on all rows and channels."""
    rows, length, channels = k.shape
    own = min(CHANNELS, triton.next_power_of_2(channels))
    with torch.cuda.device_of(k):
        kernel[rows, triton.cdiv(channels, own)](
            *tensors, length, channels, CHUNK, own, num_warps=1
        )


@triton.jit
@no_type_check
def _forward(
    k,
    v,
    w,
    u,
    state,
    y,
    last,
    log_z,
    length,
    channels,
    CHUNK: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    rate = at(w, row, 0, channel, 1, channels)
    bonus = at(u, row, 0, channel, 1, channels)
    values = at(state, row, 0, channel, 3, channels)
    weights = at(state, row, 1, channel, 3, channels)
    m = at(state, row, 2, channel, 3, channels)
    for start in range(0, length, CHUNK):
        outputs = ()
        for i in tl.static_range(CHUNK):
            t = start + i
            k_t = at(k, row, t, channel, length, channels)
            v_t = at(v, row, t, channel, length, channels)
            largest = tl.maximum(m, bonus + k_t)
            past, now = tl.exp(m - largest), tl.exp(bonus + k_t - largest)
            z = past * weights + now
            outputs = outputs + (((past * values + now * v_t) / z, largest + tl.log(z)),)
            after, decay, weight = _step(m, rate, k_t)
            values = tl.where(t < length, decay * values + weight * v_t, values)
            weights = tl.where(t < length, decay * weights + weight, weights)
            m = tl.where(t < length, after, m)
        for i in tl.static_range(CHUNK):
            put(y, outputs[i][0], row, start + i, channel, length, channels)
            put(log_z, outputs[i][1], row, start + i, channel, length, channels)
    put(last, values, row, 0, channel, 3, channels)
    put(last, weights, row, 1, channel, 3, channels)
    put(last, m, row, 2, channel, 3, channels)


@triton.jit
@no_type_check
def _backward(
    k,
    v,
    w,
    u,
    state,
    y,
    log_z,
    dy,
    dlast,
    dk,
    dv,
    dw,
    du,
    dstate,
    length,
    channels,
    CHUNK: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    rate = at(w, row, 0, channel, 1, channels)
    bonus = at(u, row, 0, channel, 1, channels)
    first_values = at(state, row, 0, channel, 3, channels)
    first_weights = at(state, row, 1, channel, 3, channels)
    first_m = at(state, row, 2, channel, 3, channels)
    dvalues = at(dlast, row, 0, channel, 3, channels)
    dweights = at(dlast, row, 1, channel, 3, channels)

    # forward in time: the sums, and their derivatives by w
    values, weights, m = first_values, first_weights, first_m
    values_by_w, weights_by_w = tl.zeros([CHANNELS], tl.float32), tl.zeros([CHANNELS], tl.float32)
    drate = tl.zeros([CHANNELS], tl.float32)
    for start in range(0, length, CHUNK):
        for i in tl.static_range(CHUNK):
            t = start + i
            k_t = at(k, row, t, channel, length, channels)
            v_t = at(v, row, t, channel, length, channels)
            y_t = at(y, row, t, channel, length, channels)
            dy_t = at(dy, row, t, channel, length, channels)
            past = tl.exp(m - at(log_z, row, t, channel, length, channels))
            dpast = dy_t * past * (values_by_w - y_t * weights_by_w)
            drate += tl.where(t < length, dpast, 0.0)
            after, decay, weight = _step(m, rate, k_t)
            values_by_w = tl.where(t < length, decay * (values_by_w - values), values_by_w)
            weights_by_w = tl.where(t < length, decay * (weights_by_w - weights), weights_by_w)
            values = tl.where(t < length, decay * values + weight * v_t, values)
            weights = tl.where(t < length, decay * weights + weight, weights)
            m = tl.where(t < length, after, m)
    drate += dvalues * values_by_w + dweights * weights_by_w
    put(dw, drate, row, 0, channel, 1, channels)

    # backward in time: the gradients of the sums
    o = -m
    dbonus = tl.zeros([CHANNELS], tl.float32)
    for start in range(0, length, CHUNK):
        outputs = ()
        for i in tl.static_range(CHUNK):
            t = length - 1 - start - i
            k_t = at(k, row, t, channel, length, channels)
            v_t = at(v, row, t, channel, length, channels)
            y_t = at(y, row, t, channel, length, channels)
            dy_t = at(dy, row, t, channel, length, channels)
            log_z_t = at(log_z, row, t, channel, length, channels)
            dnow = dy_t * tl.exp(bonus + k_t - log_z_t)
            later = tl.exp(k_t + o)
            dbonus_t = dnow * (v_t - y_t)
            dk_t = dbonus_t + later * (dvalues * v_t + dweights)
            outputs = outputs + ((dk_t, dnow + later * dvalues),)
            dbonus += tl.where(t >= 0, dbonus_t, 0.0)
            before = tl.maximum(o - rate, -log_z_t)
            decay, share = tl.exp(o - rate - before), dy_t * tl.exp(-log_z_t - before)
            dvalues = tl.where(t >= 0, decay * dvalues + share, dvalues)
            dweights = tl.where(t >= 0, decay * dweights - share * y_t, dweights)
            o = tl.where(t >= 0, before, o)
        for i in tl.static_range(CHUNK):
            put(dk, outputs[i][0], row, length - 1 - start - i, channel, length, channels)
            put(dv, outputs[i][1], row, length - 1 - start - i, channel, length, channels)
    put(du, dbonus, row, 0, channel, 1, channels)
    dvalues, dweights = dvalues * tl.exp(o + first_m), dweights * tl.exp(o + first_m)
    put(dstate, dvalues, row, 0, channel, 3, channels)
    put(dstate, dweights, row, 1, channel, 3, channels)
    dm = dvalues * first_values + dweights * first_weights
    put(dstate, dm, row, 2, channel, 3, channels)


@triton.jit
@no_type_check
def _step(m, rate, k_t):
    """The largest exponent after a position, and the factors that rescale the sums and the key."""
    after = tl.maximum(m - rate, k_t)
    return after, tl.exp(m - rate - after), tl.exp(k_t - after)
