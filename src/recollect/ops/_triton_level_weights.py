"""The decays and λ within chunks of log-linear attention (`log_linear_kernels.py`) as Triton
kernels, one per direction.

    weights[s, t] = products[s, t] exp(g_{s+1} + ... + g_t) λ_t,l for s <= t, else 0
    from_start[t] = exp(g_1 + ... + g_t),   to_end[s] = exp(g_{s+1} + ... + g_C)

with l the number of binary digits of s xor t, which is the level of s for t. A program computes one
row, which is one chunk. The length C of a chunk is a power of two.

All tensors are contiguous and float32: products and weights (rows, C, C), g, from_start and to_end
(rows, C, 1), λ (rows, C, levels), with levels for longer distances too.
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
from recollect.ops._triton_memory import NUMBERS_OF_A_WARP
from recollect.ops.shapes import broadcast_shapes


def fused_level_weights(
    products: Float[Tensor, "... C C"],
    log_decay: Float[Tensor, "... C 1"],
    scales: Float[Tensor, "... C levels"],
) -> tuple[Float[Tensor, "... C C"], Float[Tensor, "... C 1"], Float[Tensor, "... C 1"]]:
    """Return weights, from_start and to_end; arguments are the products, g and λ."""
    inputs = products, log_decay, scales
    leading = broadcast_shapes(*(x.shape[:-2] for x in inputs))
    rows = (x.expand(*leading, *x.shape[-2:]).reshape(-1, *x.shape[-2:]) for x in inputs)
    outputs = Fused.apply(sys.modules[__name__], *rows)[:3]  # type: ignore[no-untyped-call]
    weights, from_start, to_end = (y.reshape(*leading, *y.shape[1:]) for y in outputs)
    return weights, from_start, to_end


def forward(*inputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the outputs, and an empty tensor."""
    return *_weights(*inputs), inputs[0].new_empty(len(inputs[0]), 0)


def saved(inputs: Sequence[Tensor], _: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the inputs."""
    return tuple(inputs)


def backward(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of all inputs."""
    gradients: tuple[Tensor, ...] = _gradients(*tensors)
    return gradients


@torch.library.custom_op(
    "recollect::level_weights",
    mutates_args=(),
    schema="(Tensor products, Tensor log_decay, Tensor scales) -> (Tensor, Tensor, Tensor)",
)
def _weights(products: Tensor, log_decay: Tensor, scales: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    outputs = _outputs(products, log_decay, scales)
    _launch(_forward, products, scales, (products, log_decay, scales, *outputs))
    return outputs


@torch.library.custom_op(
    "recollect::level_weights_backward",
    mutates_args=(),
    schema="(Tensor products, Tensor log_decay, Tensor scales, Tensor dweights,"
    " Tensor dfrom_start, Tensor dto_end) -> (Tensor, Tensor, Tensor)",
)
def _gradients(*tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    products, log_decay, scales, *_ = tensors
    outputs = _gradient_outputs(products, log_decay, scales)
    _launch(_backward, products, scales, (*tensors, *outputs))
    return outputs


def _outputs(*inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    products, log_decay, _ = inputs
    return (
        torch.empty_like(products),
        torch.empty_like(log_decay),
        torch.empty_like(log_decay),
    )


def _gradient_outputs(*tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    products, log_decay, scales = (torch.empty_like(x) for x in tensors[:3])
    return products, log_decay, scales


_weights.register_fake(_outputs)
_gradients.register_fake(_gradient_outputs)


def _launch(kernel: Any, products: Tensor, scales: Tensor, tensors: tuple[Tensor, ...]) -> None:
    """Run a kernel on all rows."""
    rows, chunk, _ = products.shape
    warps = max(1, min(16, chunk**2 // NUMBERS_OF_A_WARP))
    with torch.cuda.device_of(products):
        kernel[rows,](*tensors, scales.shape[2], CHUNK=chunk, num_warps=warps)


@triton.jit
@no_type_check
def _forward(
    products,
    log_decay,
    scales,
    weights,
    from_start,
    to_end,
    levels,
    CHUNK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    s, t = tl.arange(0, CHUNK)[:, None], tl.arange(0, CHUNK)[None, :]
    g = tl.load(log_decay + row * CHUNK + t)
    between = tl.exp(tl.cumsum(tl.where(t > s, g, 0.0), 1))
    factor = tl.zeros([CHUNK, CHUNK], tl.float32)
    for level in range(levels):
        scale = tl.load(scales + (row * CHUNK + t) * levels + level)
        factor += tl.where(_is_of_level(s, t, level), scale, 0.0)
    place = (row * CHUNK + s) * CHUNK + t
    product = tl.load(products + place)
    tl.store(weights + place, tl.where(s <= t, product * between * factor, 0.0))
    before = tl.sum(tl.where(t <= s, g, 0.0), 1, keep_dims=True)
    after = tl.sum(tl.where(t > s, g, 0.0), 1, keep_dims=True)
    tl.store(from_start + row * CHUNK + s, tl.exp(before))
    tl.store(to_end + row * CHUNK + s, tl.exp(after))


@triton.jit
@no_type_check
def _is_of_level(s, t, level):
    """Whether s xor t has so many binary digits."""
    return ((2 * (s ^ t) + 1) >> level) == 1


@triton.jit
@no_type_check
def _backward(
    products,
    log_decay,
    scales,
    dweights,
    dfrom_start,
    dto_end,
    dproducts,
    dlog_decay,
    dscales,
    levels,
    CHUNK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    s, t = tl.arange(0, CHUNK)[:, None], tl.arange(0, CHUNK)[None, :]
    g = tl.load(log_decay + row * CHUNK + t)
    between = tl.exp(tl.cumsum(tl.where(t > s, g, 0.0), 1))
    place = (row * CHUNK + s) * CHUNK + t
    product = tl.load(products + place)
    dweight = tl.where(s <= t, tl.load(dweights + place) * between, 0.0)
    factor = tl.zeros([CHUNK, CHUNK], tl.float32)
    for level in range(levels):
        own = _is_of_level(s, t, level)
        scale = (row * CHUNK + t) * levels + level
        factor += tl.where(own, tl.load(scales + scale), 0.0)
        dscale = tl.sum(tl.where(own, dweight * product, 0.0), 0, keep_dims=True)
        tl.store(dscales + scale, dscale)
    tl.store(dproducts + place, dweight * factor)
    dbetween = tl.cumsum(dweight * product * factor, 1, reverse=True)
    before = tl.exp(tl.sum(tl.where(t <= s, g, 0.0), 1, keep_dims=True))
    after = tl.exp(tl.sum(tl.where(t > s, g, 0.0), 1, keep_dims=True))
    dbefore = before * tl.load(dfrom_start + row * CHUNK + s)
    dafter = after * tl.load(dto_end + row * CHUNK + s)
    dg = tl.sum(tl.where(t > s, dbetween + dafter, dbefore), 0, keep_dims=True)
    tl.store(dlog_decay + row * CHUNK + t, dg)
