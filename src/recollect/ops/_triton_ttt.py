"""The training of TTT-Linear's inner model (`ttt.py`) as Triton kernels, one per direction.

    g_t = dℓ/d(k_t W + b) at the start of t's mini-batch
    (W, b) of the next mini-batch = (W, b) - sum over s in this one of r_s (k_s g_s', g_s)

A program holds the model of one row in its registers and loops over time. The queries need no
recurrence and are left to PyTorch. The backward pass differentiates g by x = k W + b:

    g = P(p),   p = w (w u + c - (v - k)),   P(z) = (z - mean(z) - mean(z u) u) / σ

Here u is x minus its mean, divided by its deviation σ; P is symmetric.

All tensors are contiguous, of float32: k, v (rows, n, B, d) in n mini-batches of B positions, r
(rows, n, B, 1), W (rows, d, d), b and the norm's weights w, c (rows, 1, d).
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
from recollect.ops._triton_rows import at, put
from recollect.ops.shapes import broadcast_shapes

EPS = 1e-6
NUMBERS_OF_A_WARP = 512
"""Weights of the model per warp; the backward pass holds three tensors of this size."""


def fused_learning(
    k: Float[Tensor, "... n B d"],
    v: Float[Tensor, "... n B d"],
    rate: Float[Tensor, "... n B"],
    start: tuple[Float[Tensor, "... d d"], Float[Tensor, "... d"]],
    norm: tuple[Float[Tensor, "... d"], Float[Tensor, "... d"]],
) -> tuple[Float[Tensor, "... n B d"], Float[Tensor, "... n d d"], Float[Tensor, "... n 1 d"]]:
    """Return g of each position, and W and b of each mini-batch, with first derivatives only."""
    weight, *vectors = start[0], *(x[..., None, :] for x in (start[1], *norm))
    leading = broadcast_shapes(
        k.shape[:-3], v.shape[:-3], rate.shape[:-2], *(x.shape[:-2] for x in (weight, *vectors))
    )
    given = [x.expand(*leading, *x.shape[-3:]) for x in (k, v, rate[..., None])]
    given += [x.expand(*leading, *x.shape[-2:]) for x in (weight, *vectors)]
    rows = (x.flatten(0, len(leading) - 1) if leading else x[None] for x in given)
    outputs = Fused.apply(sys.modules[__name__], *rows)  # type: ignore[no-untyped-call]
    g, weights, biases, _ = (x.reshape(*leading, *x.shape[1:]) for x in outputs)
    return g, weights, biases


def forward(*inputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return g, and W and b of each mini-batch; the backward pass needs nothing else."""
    return *_learned(list(inputs)), inputs[0].new_empty(len(inputs[0]), 0)


def saved(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the inputs except the initial model, and the models of all mini-batches."""
    k, v, rate, _, _, *norm = inputs
    return k, v, rate, *norm, *outputs[1:3]


def backward(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of all inputs."""
    dk, dv, *others = _gradients(list(tensors))
    return dk - dv, dv, *others  # the target is v - k


@torch.library.custom_op(
    "recollect::ttt", mutates_args=(), schema="(Tensor[] inputs) -> (Tensor, Tensor, Tensor)"
)
def _learned(inputs: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    outputs = _outputs(inputs)
    _launch(_forward, inputs[0], (*inputs, *outputs))
    return outputs


@torch.library.custom_op(
    "recollect::ttt_backward", mutates_args=(), schema="(Tensor[] tensors) -> Tensor[]"
)
def _gradients(tensors: list[Tensor]) -> list[Tensor]:
    outputs = _gradient_outputs(tensors)
    _launch(_backward, tensors[0], (*tensors, *outputs))
    return outputs


def _outputs(inputs: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    k = inputs[0]
    rows, n, _, d = k.shape
    return torch.empty_like(k), k.new_empty(rows, n, d, d), k.new_empty(rows, n, 1, d)


def _gradient_outputs(tensors: list[Tensor]) -> list[Tensor]:
    """Empty tensors: k (through x only), v, r, the initial W and b, the weights of the norm."""
    k, v, rate, w, c, weights, biases, *_ = tensors
    return [torch.empty_like(x) for x in (k, v, rate, weights[:, 0], biases[:, 0], w, c)]


_learned.register_fake(_outputs)
_gradients.register_fake(_gradient_outputs)


def _launch(kernel: Any, k: Tensor, tensors: tuple[Tensor, ...]) -> None:
    """Run a kernel on all rows."""
    rows, n, batch, d = k.shape
    width = triton.next_power_of_2(d)
    warps = max(1, min(16, width**2 // NUMBERS_OF_A_WARP))
    with torch.cuda.device_of(k):
        kernel[rows,](*tensors, n, batch, d, EPS=EPS, WIDTH=width, num_warps=warps)


@triton.jit
@no_type_check
def _forward(
    k,
    v,
    rate,
    weight,
    bias,
    w,
    c,
    g,
    weights,
    biases,
    n,
    batch,
    d,
    EPS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    into, out = tl.arange(0, WIDTH)[:, None], tl.arange(0, WIDTH)[None, :]
    own, place = (into < d) & (out < d), into * d + out
    model = tl.load(weight + row * d * d + place, own, other=0.0)
    shift = at(bias, row, 0, out, 1, d)
    scale, centre = at(w, row, 0, out, 1, d), at(c, row, 0, out, 1, d)
    for i in range(n):
        part = row * n + i
        tl.store(weights + part * d * d + place, model, own)
        put(biases, shift, part, 0, out, 1, d)
        step, step_of_shift = tl.zeros([WIDTH, WIDTH], tl.float32), tl.zeros_like(shift)
        for t in range(batch):
            k_t = at(k, part, t, into, batch, d)
            target = at(v, part, t, out, batch, d) - at(k, part, t, out, batch, d)
            x = tl.sum(k_t * model, 0, keep_dims=True) + shift
            u, deviation = _normed(x, out, d, EPS)
            p = scale * (scale * u + centre - target)
            g_t = _projected(p, u, deviation, out, d)
            put(g, g_t, part, t, out, batch, d)
            moved = tl.load(rate + part * batch + t) * g_t
            step += k_t * moved
            step_of_shift += moved
        model -= step
        shift -= step_of_shift


@triton.jit
@no_type_check
def _backward(
    k,
    v,
    rate,
    w,
    c,
    weights,
    biases,
    dg,
    dweights,
    dbiases,
    dk,
    dv,
    drate,
    dweight,
    dbias,
    dw,
    dc,
    n,
    batch,
    d,
    EPS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    into, out = tl.arange(0, WIDTH)[:, None], tl.arange(0, WIDTH)[None, :]
    own, place = (into < d) & (out < d), into * d + out
    scale, centre = at(w, row, 0, out, 1, d), at(c, row, 0, out, 1, d)
    dmodel = tl.zeros([WIDTH, WIDTH], tl.float32)
    dshift, dscale, dcentre = tl.zeros_like(scale), tl.zeros_like(scale), tl.zeros_like(scale)
    for i in range(n):
        part = row * n + n - 1 - i
        model = tl.load(weights + part * d * d + place, own, other=0.0)
        shift = at(biases, part, 0, out, 1, d)
        by_x = tl.load(dweights + part * d * d + place, own, other=0.0)
        by_x_of_shift = at(dbiases, part, 0, out, 1, d)
        for t in range(batch):
            k_t = at(k, part, t, into, batch, d)
            target = at(v, part, t, out, batch, d) - at(k, part, t, out, batch, d)
            rate_t = tl.load(rate + part * batch + t)
            u, deviation = _normed(tl.sum(k_t * model, 0, keep_dims=True) + shift, out, d, EPS)
            error = scale * u + centre - target
            p = scale * error
            g_t = _projected(p, u, deviation, out, d)
            # gradient of g, from its output and from the next model
            by_step = tl.sum(k_t * dmodel, 0, keep_dims=True) + dshift
            tl.store(drate + part * batch + t, -tl.sum(by_step * g_t))
            dg_t = at(dg, part, t, out, batch, d) - rate_t * by_step
            # gradients of p, of u and of the deviation
            dp = _projected(dg_t, u, deviation, out, d)
            derror = scale * dp
            along = (
                tl.sum(p * u, 1, keep_dims=True) * dg_t + tl.sum(dg_t * u, 1, keep_dims=True) * p
            )
            du = scale * derror - along / (d * deviation)
            ddeviation = -tl.sum(dg_t * g_t, 1, keep_dims=True) / deviation
            dx = _projected(du, u, deviation, out, d) + ddeviation * u / d
            dscale += dp * error + derror * u
            dcentre += derror
            by_x += k_t * dx
            by_x_of_shift += dx
            put(dv, -derror, part, t, out, batch, d)
            dk_t = tl.sum(model * dx - rate_t * dmodel * g_t, 1, keep_dims=True)
            put(dk, dk_t, part, t, into, batch, d)
        dmodel += by_x
        dshift += by_x_of_shift
    tl.store(dweight + row * d * d + place, dmodel, own)
    put(dbias, dshift, row, 0, out, 1, d)
    put(dw, dscale, row, 0, out, 1, d)
    put(dc, dcentre, row, 0, out, 1, d)


@triton.jit
@no_type_check
def _normed(x, out, d, EPS: tl.constexpr):
    """Return u and σ."""
    centred = tl.where(out < d, x - tl.sum(x, 1, keep_dims=True) / d, 0.0)
    deviation = tl.sqrt(tl.sum(centred * centred, 1, keep_dims=True) / d + EPS)
    return centred / deviation, deviation


@triton.jit
@no_type_check
def _projected(z, u, deviation, out, d):
    """P(z)."""
    along = tl.sum(z * u, 1, keep_dims=True) / d * u
    centred = tl.where(out < d, z - tl.sum(z, 1, keep_dims=True) / d, 0.0)
    return (centred - along) / deviation
