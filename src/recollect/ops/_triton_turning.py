"""The rotation of pairs of channels (`turning.py`) as Triton kernels, one per direction.

A program rotates the vectors of one row, which share its angles. Pairs without an angle have 0.

All tensors are contiguous, of float32: angles (rows, 1, angles), x and y (rows, vectors, n).
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


def fused_turn(
    angles: Float[Tensor, "... angles"], x: Float[Tensor, "... vectors n"]
) -> Float[Tensor, "... vectors n"]:
    """Return y, which has first derivatives only; leading dimensions broadcast."""
    leading = broadcast_shapes(angles.shape[:-1], x.shape[:-2])
    rows = (z.expand(*leading, -1, -1).flatten(0, -3) for z in (angles[..., None, :], x))
    y: Tensor = Fused.apply(KERNELS, *rows)[0]  # type: ignore[no-untyped-call]
    return y.reshape(*leading, *x.shape[-2:])


@torch.library.custom_op(
    "recollect::turn", mutates_args=(), schema="(Tensor angles, Tensor x) -> Tensor"
)
def _turned(angles: Tensor, x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    _launch(_forward, angles, x, (angles, x, y))
    return y


@torch.library.custom_op(
    "recollect::turn_backward",
    mutates_args=(),
    schema="(Tensor angles, Tensor x, Tensor dy) -> (Tensor, Tensor)",
)
def _gradients(angles: Tensor, x: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    dangles, dx = torch.empty_like(angles), torch.empty_like(x)
    _launch(_backward, angles, x, (angles, x, dy, dangles, dx))
    return dangles, dx


_turned.register_fake(lambda *inputs: torch.empty_like(inputs[1]))
_gradients.register_fake(lambda *inputs: tuple(torch.empty_like(z) for z in inputs[:2]))

KERNELS = OneOutput(_turned, _gradients)


def _launch(kernel: Any, angles: Tensor, x: Tensor, tensors: tuple[Tensor, ...]) -> None:
    """Run a kernel on all rows."""
    rows, vectors, n = x.shape
    pairs = triton.next_power_of_2(triton.cdiv(n, 2))
    with torch.cuda.device_of(x):
        kernel[rows,](*tensors, vectors, n, angles.shape[2], PAIRS=pairs, num_warps=1)


@triton.jit
@no_type_check
def _forward(angles, x, y, vectors, n, n_angles, PAIRS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    pair = tl.arange(0, PAIRS)
    angle = at(angles, row, 0, pair, 1, n_angles)
    cos, sin = tl.cos(angle), tl.sin(angle)
    for i in range(vectors):
        even, odd = at(x, row, i, 2 * pair, vectors, n), at(x, row, i, 2 * pair + 1, vectors, n)
        put(y, even * cos - odd * sin, row, i, 2 * pair, vectors, n)
        put(y, even * sin + odd * cos, row, i, 2 * pair + 1, vectors, n)


@triton.jit
@no_type_check
def _backward(angles, x, dy, dangles, dx, vectors, n, n_angles, PAIRS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    pair = tl.arange(0, PAIRS)
    angle = at(angles, row, 0, pair, 1, n_angles)
    cos, sin = tl.cos(angle), tl.sin(angle)
    dangle = tl.zeros([PAIRS], tl.float32)
    for i in range(vectors):
        even, odd = at(x, row, i, 2 * pair, vectors, n), at(x, row, i, 2 * pair + 1, vectors, n)
        deven, dodd = at(dy, row, i, 2 * pair, vectors, n), at(dy, row, i, 2 * pair + 1, vectors, n)
        put(dx, deven * cos + dodd * sin, row, i, 2 * pair, vectors, n)
        put(dx, dodd * cos - deven * sin, row, i, 2 * pair + 1, vectors, n)
        dangle += dodd * (even * cos - odd * sin) - deven * (even * sin + odd * cos)
    put(dangles, dangle, row, 0, pair, 1, n_angles)
