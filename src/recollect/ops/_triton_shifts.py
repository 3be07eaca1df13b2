"""The convolution with a short filter (`convolution.py`) as Triton kernels, one per direction.

    y_t = sum over s of h_s u_{t-s}

A program computes some channels of one row, block by block along time. All tensors are contiguous,
of float32: u and y (rows, L, channels), h (rows, K, channels).
"""

from __future__ import annotations

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from recollect.ops._fused import Fused, OneOutput
from recollect.ops._triton_rows import at, put
from recollect.ops.shapes import broadcast_shapes

CHANNELS = 64
"""The most channels in a program."""
NUMBERS = 256
"""Numbers in a block: channels times positions."""


def fused_shifts(
    u: Float[Tensor, "... L channels"], h: Float[Tensor, "... K channels"]
) -> Float[Tensor, "... L channels"]:
    """Return y, which has first derivatives only; leading dimensions broadcast."""
    leading = broadcast_shapes(u.shape[:-2], h.shape[:-2])
    rows = (x.expand(*leading, *x.shape[-2:]).reshape(-1, *x.shape[-2:]) for x in (u, h))
    y: Tensor = Fused.apply(KERNELS, *rows)[0]  # type: ignore[no-untyped-call]
    return y.reshape(*leading, *y.shape[1:])


@torch.library.custom_op(
    "recollect::shifts", mutates_args=(), schema="(Tensor u, Tensor h) -> Tensor"
)
def _shifted(u: Tensor, h: Tensor) -> Tensor:
    y = torch.empty_like(u)
    _launch(_forward, u, h, (u, h, y))
    return y


@torch.library.custom_op(
    "recollect::shifts_backward",
    mutates_args=(),
    schema="(Tensor u, Tensor h, Tensor dy) -> (Tensor, Tensor)",
)
def _gradients(u: Tensor, h: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    du, dh = torch.empty_like(u), torch.empty_like(h)
    _launch(_backward, u, h, (u, h, dy, du, dh), WIDTH=triton.next_power_of_2(h.shape[1]))
    return du, dh


_shifted.register_fake(lambda *inputs: torch.empty_like(inputs[0]))
_gradients.register_fake(lambda *inputs: tuple(torch.empty_like(x) for x in inputs[:2]))

KERNELS = OneOutput(_shifted, _gradients)


def _launch(
    kernel: Any, u: Tensor, h: Tensor, tensors: tuple[Tensor, ...], **constants: int
) -> None:
    """Run a kernel on all rows and channels."""
    rows, length, channels = u.shape
    own = min(CHANNELS, triton.next_power_of_2(channels))
    steps = min(NUMBERS // own, triton.next_power_of_2(length))
    with torch.cuda.device_of(u):
        kernel[rows, triton.cdiv(channels, own)](
            *tensors,
            length,
            channels,
            TAPS=h.shape[1],
            STEPS=steps,
            CHANNELS=own,
            num_warps=1,
            **constants,
        )


@triton.jit
@no_type_check
def _forward(
    u,
    h,
    y,
    length,
    channels,
    TAPS: tl.constexpr,
    STEPS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    for block in range(tl.cdiv(length, STEPS)):
        t = block * STEPS + tl.arange(0, STEPS)[:, None]
        total = tl.zeros([STEPS, CHANNELS], tl.float32)
        for s in tl.static_range(TAPS):
            tap = at(h, row, s, channel, TAPS, channels)
            total += tap * at(u, row, t - s, channel, length, channels)
        put(y, total, row, t, channel, length, channels)


@triton.jit
@no_type_check
def _backward(
    u,
    h,
    dy,
    du,
    dh,
    length,
    channels,
    TAPS: tl.constexpr,
    WIDTH: tl.constexpr,
    STEPS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    taps = tl.arange(0, WIDTH)[:, None]
    by_taps = tl.zeros([WIDTH, CHANNELS], tl.float32)
    for block in range(tl.cdiv(length, STEPS)):
        t = block * STEPS + tl.arange(0, STEPS)[:, None]
        u_t = at(u, row, t, channel, length, channels)
        total = tl.zeros([STEPS, CHANNELS], tl.float32)
        for s in tl.static_range(TAPS):
            later = at(dy, row, t + s, channel, length, channels)
            total += at(h, row, s, channel, TAPS, channels) * later
            by_taps += tl.where(taps == s, tl.sum(u_t * later, 0, keep_dims=True), 0.0)
        put(du, total, row, t, channel, length, channels)
    put(dh, by_taps, row, taps, channel, TAPS, channels)
