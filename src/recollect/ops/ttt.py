"""Test-time training: the state is a linear model, which every position trains (Sun et al., 2024,
arXiv 2407.04620).

    ℓ(W, b; k, v) = |LN(k W + b) - (v - k)|² / 2
    G_t = sum over s in the mini-batch, s <= t, of rate_s dℓ/d(W, b) at the mini-batch's start
    (W, b)_t = (W, b) at its start - share_t G_t,   y_t = q_t + LN(q_t W_t + b_t)

LN is a layer norm with weights. The length of `share` is the number of positions in a mini-batch.
Each mini-batch starts from the last (W, b) of the previous one.

Dimensions: L length, B positions in a mini-batch, d width. Leading dimensions, heads among them,
broadcast.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.ops import forms
from recollect.ops.chunks import in_chunks
from recollect.ops.cost import declares, rows

EPS = 1e-6


class Learner(NamedTuple):
    """W and b at the start of the mini-batch, gradients summed since, and the place in it."""

    weight: Float[Tensor, "... d d"]
    bias: Float[Tensor, "... d"]
    weight_gradient: Float[Tensor, "... d d"]
    bias_gradient: Float[Tensor, "... d"]
    place: int


def ttt_linear_definition(
    q: Float[Tensor, "... L d"],
    k: Float[Tensor, "... L d"],
    v: Float[Tensor, "... L d"],
    rate: Float[Tensor, "... L"],
    share: Float[Tensor, " B"],
    start: tuple[Float[Tensor, "... d d"], Float[Tensor, "... d"]],
    norm: tuple[Float[Tensor, "... d"], Float[Tensor, "... d"]],
) -> Float[Tensor, "... L d"]:
    """Compute one position after the other."""
    nothing = torch.zeros_like(start[0]), torch.zeros_like(start[1])
    learner, outputs = Learner(*start, *nothing, 0), []
    for t in range(q.shape[-2]):
        q_t, k_t, v_t = (x[..., t, :] for x in (q, k, v))
        y_t, learner = ttt_linear_step(q_t, k_t, v_t, rate[..., t], share, learner, norm)
        outputs.append(y_t)
    return torch.stack(outputs, dim=-2)


@declares(
    lambda q, k, v, rate, share: (
        rows(q, k, v, rate[..., None])
        * ttt_linear_multiply_adds(q.shape[-2], q.shape[-1], share.numel())
    )
)
def ttt_linear(
    q: Float[Tensor, "... L d"],
    k: Float[Tensor, "... L d"],
    v: Float[Tensor, "... L d"],
    rate: Float[Tensor, "... L"],
    share: Float[Tensor, " B"],
    start: tuple[Float[Tensor, "... d d"], Float[Tensor, "... d"]],
    norm: tuple[Float[Tensor, "... d"], Float[Tensor, "... d"]],
) -> Float[Tensor, "... L d"]:
    """Compute the outputs by mini-batches, the paper's dual form.

    A GPU may take a kernel for the recurrence (`forms.py`).

    Args:
        q: queries, the test inputs of the model.
        k: keys, its training inputs.
        v: values; the training targets are v - k.
        rate: learning rate of each position.
        share: factor on the sum of gradients, for each place in a mini-batch.
        start: the initial W and b.
        norm: weight and bias of the layer norm.
    """
    if forms.form_for_memory(k.shape[-1], k.shape[-1], q, k, v, rate, share, *start, *norm) == (
        "triton"
    ):
        return _by_kernel(q, k, v, rate, share, start, norm)
    (weight, bias), outputs = start, []
    norm = norm[0][..., None, :], norm[1][..., None, :]
    for begin in range(0, q.shape[-2], share.numel()):
        here = slice(begin, begin + share.numel())
        q_i, k_i, v_i = q[..., here, :], k[..., here, :], v[..., here, :]
        given = k_i @ weight + bias[..., None, :]
        gradient = _gradient(given, v_i - k_i, norm)
        length = q_i.shape[-2]
        steps = (share[:length, None] * rate[..., None, here]).tril()
        read = q_i @ weight + bias[..., None, :]
        read = read - (steps * (q_i @ k_i.mT) + steps) @ gradient
        outputs.append(q_i + _layer_norm(read, norm))
        last = steps[..., -1, :, None]
        weight = weight - (last * k_i).mT @ gradient
        bias = bias - (last * gradient).sum(-2)
    return torch.cat(outputs, dim=-2)


def _by_kernel(
    q: Float[Tensor, "... L d"],
    k: Float[Tensor, "... L d"],
    v: Float[Tensor, "... L d"],
    rate: Float[Tensor, "... L"],
    share: Float[Tensor, " B"],
    start: tuple[Float[Tensor, "... d d"], Float[Tensor, "... d"]],
    norm: tuple[Float[Tensor, "... d"], Float[Tensor, "... d"]],
) -> Float[Tensor, "... L d"]:
    """Run the recurrence over mini-batches in a kernel, and the reads of all queries at once."""
    from recollect.ops._triton_ttt import fused_learning  # Triton may not be installed

    length, batch = q.shape[-2], share.numel()
    q, k, v = (in_chunks(x, batch, dim=-2) for x in (q, k, v))
    rate = in_chunks(rate, batch, dim=-1)
    gradient, weight, bias = fused_learning(k, v, share[-1] * rate, start, norm)
    steps = (share[:, None] * rate[..., None, :]).tril()
    read = q @ weight + bias - (steps * (q @ k.mT) + steps) @ gradient
    y = q + _layer_norm(read, (norm[0][..., None, None, :], norm[1][..., None, None, :]))
    return y.flatten(-3, -2)[..., :length, :]


def ttt_linear_step(
    q_t: Float[Tensor, "... d"],
    k_t: Float[Tensor, "... d"],
    v_t: Float[Tensor, "... d"],
    rate_t: Float[Tensor, ...],
    share: Float[Tensor, " B"],
    learner: Learner,
    norm: tuple[Float[Tensor, "... d"], Float[Tensor, "... d"]],
) -> tuple[Float[Tensor, "... d"], Learner]:
    """Return one output and the learner after it; the given learner is not modified."""
    given = (k_t[..., None, :] @ learner.weight).squeeze(-2) + learner.bias
    gradient = rate_t[..., None] * _gradient(given, v_t - k_t, norm)
    weight_gradient = learner.weight_gradient + k_t[..., :, None] * gradient[..., None, :]
    bias_gradient = learner.bias_gradient + gradient
    weight = learner.weight - share[learner.place] * weight_gradient
    bias = learner.bias - share[learner.place] * bias_gradient
    read = (q_t[..., None, :] @ weight).squeeze(-2) + bias
    y_t = q_t + _layer_norm(read, norm)
    if learner.place + 1 < share.numel():
        new = learner._replace(
            weight_gradient=weight_gradient, bias_gradient=bias_gradient, place=learner.place + 1
        )
        return y_t, new
    none = torch.zeros_like(weight_gradient), torch.zeros_like(bias_gradient)
    return y_t, Learner(weight, bias, *none, 0)


def ttt_linear_multiply_adds(length: int, d: int, batch: int) -> int:
    """Multiply-adds in the matrix products of one sequence and head."""
    batch = min(batch, length)
    return -(-length // batch) * (3 * batch * d**2 + 2 * batch**2 * d)


def _normed(x: Float[Tensor, "... d"]) -> tuple[Float[Tensor, "... d"], Float[Tensor, "... 1"]]:
    """x with mean 0 and deviation 1, and its original deviation."""
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred.square().mean(-1, keepdim=True) + EPS).sqrt()
    return centred / deviation, deviation


def _layer_norm(
    x: Float[Tensor, "... d"], norm: tuple[Float[Tensor, "... d"], Float[Tensor, "... d"]]
) -> Float[Tensor, "... d"]:
    """LN(x)."""
    normed, _ = _normed(x)
    return norm[0] * normed + norm[1]


def _gradient(
    x: Float[Tensor, "... d"],
    target: Float[Tensor, "... d"],
    norm: tuple[Float[Tensor, "... d"], Float[Tensor, "... d"]],
) -> Float[Tensor, "... d"]:
    """The gradient of |LN(x) - target|² / 2 by x."""
    normed, deviation = _normed(x)
    by_normed = norm[0] * (norm[0] * normed + norm[1] - target)
    along = (by_normed * normed).mean(-1, keepdim=True) * normed
    return (by_normed - by_normed.mean(-1, keepdim=True) - along) / deviation
