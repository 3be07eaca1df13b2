"""The decaying average of RWKV-4 as Triton kernels, one each way.

A thread has one channel of one row, `rows` being the leading dimensions, and goes through time.
With the sums over what is before position t, A_t of values and B_t of weights, and the weight of
all of it, Z_t = B_t + e^(u + k_t), the gradients by the sums obey

    dA_t = dy_t / Z_t + e^-w dA_t+1,        dB_t = -dy_t y_t / Z_t + e^-w dB_t+1

They are kept divided by e^o, where o is the largest exponent in them, as the sums are by e^m. The
gradient by w needs derivatives of the sums by w, which go along with them.
"""

from __future__ import annotations

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from recollect.ops.mapped import folded

CHUNK = 8
"""Positions whose stores follow after their loads."""
CHANNELS = 32
"""The most channels of a program."""


class FusedAverage(torch.autograd.Function):
    """The averages of float32 tensors, differentiable once.

    From k, v (rows, L, channels), w, u (rows, channels) and the initial state (rows, 3, channels)
    to y, the last state, and log Z, which the backward pass starts from.
    """

    @staticmethod
    def forward(*inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shapes as above."""
        return _averages(*(tensor.contiguous() for tensor in inputs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        """Keeps all but the last state."""
        ctx.mark_non_differentiable(output[2])
        ctx.save_for_backward(*inputs, output[0], output[2])

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dlast: Tensor, _: Tensor) -> tuple[Tensor, ...]:
        """Gradients of all five inputs."""
        tensors = (*ctx.saved_tensors, dy, dlast)
        return _FusedAverageBackward.apply(*tensors)  # type: ignore[no-untyped-call]

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Any, Any]:
        """The mapped dimension joins the rows."""
        return folded(FusedAverage, info.batch_size, in_dims, inputs)


class _FusedAverageBackward(torch.autograd.Function):
    """A function of its own, so that `vmap` over a gradient finds a rule for it."""

    @staticmethod
    def forward(*inputs: Tensor) -> tuple[Tensor, ...]:
        return _gradients(*(tensor.contiguous() for tensor in inputs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Any, Any]:
        return folded(_FusedAverageBackward, info.batch_size, in_dims, inputs)


def averages(
    k: Float[Tensor, "... L channels"],
    v: Float[Tensor, "... L channels"],
    w: Float[Tensor, "... channels"],
    u: Float[Tensor, "... channels"],
    state: Float[Tensor, "... 3 channels"],
) -> tuple[Float[Tensor, "... L channels"], Float[Tensor, "... 3 channels"]]:
    """As `wkv`; the gradient by the last state leaves its exponents out, which cancel."""
    inputs = (k, v, w[..., None, :], u[..., None, :], state)
    leading = torch.broadcast_shapes(*(tensor.shape[:-2] for tensor in inputs))
    k, v, w, u, state = (
        tensor.expand(*leading, *tensor.shape[-2:]).reshape(-1, *tensor.shape[-2:])
        for tensor in inputs
    )
    y, last, _ = FusedAverage.apply(k, v, w[:, 0], u[:, 0], state)  # type: ignore[no-untyped-call]
    return y.view(*leading, *y.shape[1:]), last.view(*leading, *last.shape[1:])


@torch.library.custom_op(
    "recollect::wkv",
    mutates_args=(),
    schema="(Tensor k, Tensor v, Tensor w, Tensor u, Tensor state) -> (Tensor, Tensor, Tensor)",
)
def _averages(
    k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    outputs = _outputs(k, state)
    _launch(_forward, k, (k, v, w, u, state, *outputs))
    return outputs


@torch.library.custom_op(
    "recollect::wkv_backward",
    mutates_args=(),
    schema="(Tensor k, Tensor v, Tensor w, Tensor u, Tensor state, Tensor y, Tensor log_z,"
    " Tensor dy, Tensor dlast) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _gradients(
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
    dk, dv, dw, du, dstate = (torch.empty_like(tensor) for tensor in (k, v, w, u, state))
    tensors = (k, v, w, u, state, y, log_z, dy, dlast, dk, dv, dw, du, dstate)
    _launch(_backward, k, tensors)
    return dk, dv, dw, du, dstate


def _outputs(k: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(k), torch.empty_like(state), torch.empty_like(k)


def _launch(kernel: Any, k: Tensor, tensors: tuple[Tensor, ...]) -> None:
    """Run a kernel on all rows and channels."""
    rows, length, channels = k.shape
    own = min(CHANNELS, triton.next_power_of_2(channels))
    with torch.cuda.device_of(k):
        kernel[rows, triton.cdiv(channels, own)](
            *tensors, length, channels, CHUNK, own, num_warps=1
        )


_averages.register_fake(lambda *inputs: _outputs(inputs[0], inputs[-1]))
_gradients.register_fake(lambda *inputs: tuple(torch.empty_like(z) for z in inputs[:5]))


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
    own = channel < channels
    rate = tl.load(w + row * channels + channel, own, other=0.0)
    bonus = tl.load(u + row * channels + channel, own, other=0.0)
    in_state = row * 3 * channels + channel
    values = tl.load(state + in_state, own, other=0.0)
    weights = tl.load(state + in_state + channels, own, other=0.0)
    m = tl.load(state + in_state + 2 * channels, own, other=0.0)
    for start in range(0, length, CHUNK):
        outputs = ()
        for i in tl.static_range(CHUNK):
            place = (row * length + start + i) * channels + channel
            there = own & (start + i < length)
            k_t = tl.load(k + place, there, other=0.0)
            v_t = tl.load(v + place, there, other=0.0)
            largest = tl.maximum(m, bonus + k_t)
            past, now = tl.exp(m - largest), tl.exp(bonus + k_t - largest)
            z = past * weights + now
            outputs = outputs + (((past * values + now * v_t) / z, largest + tl.log(z)),)
            after = tl.maximum(m - rate, k_t)
            decay, weight = tl.exp(m - rate - after), tl.exp(k_t - after)
            values = tl.where(there, decay * values + weight * v_t, values)
            weights = tl.where(there, decay * weights + weight, weights)
            m = tl.where(there, after, m)
        for i in tl.static_range(CHUNK):
            place = (row * length + start + i) * channels + channel
            there = own & (start + i < length)
            tl.store(y + place, outputs[i][0], there)
            tl.store(log_z + place, outputs[i][1], there)
    tl.store(last + in_state, values, own)
    tl.store(last + in_state + channels, weights, own)
    tl.store(last + in_state + 2 * channels, m, own)


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
    own = channel < channels
    rate = tl.load(w + row * channels + channel, own, other=0.0)
    bonus = tl.load(u + row * channels + channel, own, other=0.0)
    in_state = row * 3 * channels + channel
    dvalues = tl.load(dlast + in_state, own, other=0.0)
    dweights = tl.load(dlast + in_state + channels, own, other=0.0)

    # forwards in time: the sums, and their derivatives by w
    values = tl.load(state + in_state, own, other=0.0)
    weights = tl.load(state + in_state + channels, own, other=0.0)
    m = tl.load(state + in_state + 2 * channels, own, other=0.0)
    values_by_w, weights_by_w = tl.zeros([CHANNELS], tl.float32), tl.zeros([CHANNELS], tl.float32)
    drate = tl.zeros([CHANNELS], tl.float32)
    for start in range(0, length, CHUNK):
        for i in tl.static_range(CHUNK):
            place = (row * length + start + i) * channels + channel
            there = own & (start + i < length)
            k_t = tl.load(k + place, there, other=0.0)
            v_t = tl.load(v + place, there, other=0.0)
            y_t = tl.load(y + place, there, other=0.0)
            log_z_t = tl.load(log_z + place, there, other=0.0)
            dy_t = tl.load(dy + place, there, other=0.0)
            past = tl.exp(m - log_z_t)
            drate += tl.where(there, dy_t * past * (values_by_w - y_t * weights_by_w), 0.0)
            after = tl.maximum(m - rate, k_t)
            decay, weight = tl.exp(m - rate - after), tl.exp(k_t - after)
            values_by_w = tl.where(there, decay * (values_by_w - values), values_by_w)
            weights_by_w = tl.where(there, decay * (weights_by_w - weights), weights_by_w)
            values = tl.where(there, decay * values + weight * v_t, values)
            weights = tl.where(there, decay * weights + weight, weights)
            m = tl.where(there, after, m)
    drate += dvalues * values_by_w + dweights * weights_by_w
    tl.store(dw + row * channels + channel, drate, own)

    # backwards in time: the gradients by the sums
    o = -m
    dbonus = tl.zeros([CHANNELS], tl.float32)
    for start in range(0, length, CHUNK):
        outputs = ()
        for i in tl.static_range(CHUNK):
            t = length - 1 - start - i
            place = (row * length + t) * channels + channel
            there = own & (t >= 0)
            k_t = tl.load(k + place, there, other=0.0)
            v_t = tl.load(v + place, there, other=0.0)
            y_t = tl.load(y + place, there, other=0.0)
            log_z_t = tl.load(log_z + place, there, other=0.0)
            dy_t = tl.load(dy + place, there, other=0.0)
            dnow = tl.where(there, dy_t * tl.exp(bonus + k_t - log_z_t), 0.0)
            dbonus += dnow * (v_t - y_t)
            later = tl.exp(k_t + o)
            dk_t = dnow * (v_t - y_t) + later * (dvalues * v_t + dweights)
            outputs = outputs + ((dk_t, dnow + later * dvalues),)
            before = tl.maximum(o - rate, -log_z_t)
            decay, share = tl.exp(o - rate - before), dy_t * tl.exp(-log_z_t - before)
            dvalues = tl.where(there, decay * dvalues + share, dvalues)
            dweights = tl.where(there, decay * dweights - share * y_t, dweights)
            o = tl.where(there, before, o)
        for i in tl.static_range(CHUNK):
            t = length - 1 - start - i
            place = (row * length + t) * channels + channel
            tl.store(dk + place, outputs[i][0], own & (t >= 0))
            tl.store(dv + place, outputs[i][1], own & (t >= 0))
    tl.store(du + row * channels + channel, dbonus, own)
    first = tl.load(state + in_state + 2 * channels, own, other=0.0)
    dvalues, dweights = dvalues * tl.exp(o + first), dweights * tl.exp(o + first)
    values = tl.load(state + in_state, own, other=0.0)
    weights = tl.load(state + in_state + channels, own, other=0.0)
    tl.store(dstate + in_state, dvalues, own)
    tl.store(dstate + in_state + channels, dweights, own)
    tl.store(dstate + in_state + 2 * channels, dvalues * values + dweights * weights, own)
