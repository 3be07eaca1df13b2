"""The recurrences of xLSTM, with exponential input gates (Beck et al., 2024, arXiv 2405.04517).

    mLSTM   C_t = f_t C_{t-1} + e^{i_t} k_t v_t^T,   n_t = f_t n_{t-1} + e^{i_t} k_t
            y_t = C_t^T q_t / max(|n_t . q_t|, 1)
    sLSTM   i, f, z, o = a + h_{t-1} R + b, with one block of R per head
            c_t = f_t c_{t-1} + e^{i_t} tanh(z_t),   n_t = f_t n_{t-1} + e^{i_t}
            h_t = sigmoid(o_t) c_t / n_t

f is a sigmoid, given by its logarithm. All sums are stored divided by e^m, where m is their largest
exponent: m_t = max(log f_t + m_{t-1}, i_t). It cancels, in the gradient too.

Dimensions: L length, d width of a head. All leading dimensions, heads among them, broadcast.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from recollect.ops import forms
from recollect.ops.cost import declares, rows
from recollect.ops.outer_product import (
    append_ones,
    outer_product_memory,
    outer_product_memory_multiply_adds,
    outer_product_memory_step,
)

EPS = 1e-6
"""Added to the divisor of mLSTM, as in the authors' code."""


def mlstm_definition(
    q: Float[Tensor, "... L d"],
    k: Float[Tensor, "... L d"],
    v: Float[Tensor, "... L d_v"],
    i: Float[Tensor, "... L"],
    log_f: Float[Tensor, "... L"],
) -> Float[Tensor, "... L d_v"]:
    """Compute one position after the other."""
    memory, m = k.new_zeros(k.shape[-1], v.shape[-1] + 1), i.new_zeros(())
    outputs = []
    for t in range(q.shape[-2]):
        q_t, k_t, v_t = (x[..., t, :] for x in (q, k, v))
        y_t, memory, m = mlstm_step(q_t, k_t, v_t, i[..., t], log_f[..., t], memory, m)
        outputs.append(y_t)
    return torch.stack(outputs, dim=-2)


@declares(
    lambda q, k, v, i, log_f: outer_product_memory_multiply_adds(
        q, k, append_ones(v), (i + log_f)[..., None]
    )
)
def mlstm(
    q: Float[Tensor, "... L d"],
    k: Float[Tensor, "... L d"],
    v: Float[Tensor, "... L d_v"],
    i: Float[Tensor, "... L"],
    log_f: Float[Tensor, "... L"],
) -> Float[Tensor, "... L d_v"]:
    """Compute the outputs by `outer_product_memory`, after a first pass for the largest exponents.

    Args:
        q: queries.
        k: keys.
        v: values.
        i: logarithm of the input gate.
        log_f: logarithm of the forget gate, at most 0.
    """
    m = _running_maxima(i, log_f)
    before = F.pad(m, (1, -1))
    log_decay, write = log_f + before - m, (i - m).exp()[..., None]
    read = outer_product_memory(q, write * k, append_ones(v), log_decay[..., None])
    return _divided(read, m)


def mlstm_step(
    q_t: Float[Tensor, "... d"],
    k_t: Float[Tensor, "... d"],
    v_t: Float[Tensor, "... d_v"],
    i_t: Float[Tensor, ...],
    log_f_t: Float[Tensor, ...],
    memory: Float[Tensor, "... d columns"],
    m: Float[Tensor, ...],
) -> tuple[Float[Tensor, "... d_v"], Float[Tensor, "... d columns"], Float[Tensor, ...]]:
    """Return one output, and the state (C, with n as its last column) and m after it.

    Both start at 0.
    """
    after = torch.maximum(log_f_t + m, i_t).detach()
    log_decay_t, write = (log_f_t + m - after)[..., None], (i_t - after).exp()[..., None]
    read, memory = outer_product_memory_step(
        q_t, write * k_t, append_ones(v_t), memory, log_decay_t
    )
    return _divided(read, after), memory, after


class SLSTMState(NamedTuple):
    """h, c, n and m of every channel."""

    h: Float[Tensor, "... heads d"]
    c: Float[Tensor, "... heads d"]
    n: Float[Tensor, "... heads d"]
    m: Float[Tensor, "... heads d"]


def slstm_start(like: Float[Tensor, "... heads d"]) -> SLSTMState:
    """Return the state with empty sums, with the type and leading dimensions of `like`."""
    nothing = torch.zeros_like(like)
    return SLSTMState(nothing, nothing, nothing, torch.full_like(like, -torch.inf))


@declares(
    lambda a, weight: rows(a, dims=4) * slstm_multiply_adds(a.shape[-4], *weight.shape[-3:-1])
)
def slstm(
    a: Float[Tensor, "... L 4 heads d"],
    weight: Float[Tensor, "4 heads d d"],
    bias: Float[Tensor, "4 heads d"],
) -> Float[Tensor, "... L heads d"]:
    """Return h at every position.

    The gates depend on the state, so the recurrence is the only form. A GPU may run it as one
    kernel (`forms.py`).

    Args:
        a: the input's part of the gates i, f, z and o.
        weight: R.
        bias: b.
    """
    if forms.form_for_memory(*weight.shape[-2:], a, weight, bias) == "triton":
        return _slstm_by_kernel(a, weight, bias)
    state, outputs = slstm_start(a[..., 0, 0, :, :]), []
    for a_t in a.unbind(-4):
        state = slstm_step(a_t, weight, bias, state)
        outputs.append(state.h)
    return torch.stack(outputs, dim=-3)


def slstm_step(
    a_t: Float[Tensor, "... 4 heads d"],
    weight: Float[Tensor, "4 heads d d"],
    bias: Float[Tensor, "4 heads d"],
    state: SLSTMState,
) -> SLSTMState:
    """Return the state after one position; arguments as in `slstm`."""
    from_past = (state.h[..., None, :, None, :] @ weight).squeeze(-2)
    i, f, z, o = (a_t + from_past + bias).unbind(-3)
    log_f = F.logsigmoid(f)
    m = torch.maximum(log_f + state.m, i).detach()
    keep, write = (log_f + state.m - m).exp(), (i - m).exp()
    c, n = keep * state.c + write * z.tanh(), keep * state.n + write
    return SLSTMState(o.sigmoid() * c / n, c, n, m)


def slstm_multiply_adds(length: int, heads: int, d: int) -> int:
    """Multiply-adds of the matrix products with the state, for one sequence."""
    return 4 * length * heads * d**2


def _slstm_by_kernel(
    a: Float[Tensor, "... L 4 heads d"],
    weight: Float[Tensor, "4 heads d d"],
    bias: Float[Tensor, "4 heads d"],
) -> Float[Tensor, "... L heads d"]:
    """Run the kernel with the heads as groups, since the examples of a head share weights."""
    from recollect.ops._triton_recurrent import SLSTM  # Triton may not be installed

    length, _, heads, d = a.shape[-4:]
    by_head = a.reshape(-1, *a.shape[-4:]).movedim(-2, 0).flatten(-2)
    weight = weight.transpose(0, 1).mT.flatten(1, 2)
    h = SLSTM.states(by_head, weight, bias.transpose(0, 1).flatten(1))
    return h.movedim(0, -2).reshape(*a.shape[:-4], length, heads, d)


def _divided(read: Float[Tensor, "... columns"], m: Float[Tensor, ...]) -> Float[Tensor, "... d_v"]:
    """The part read from C, divided by the part read from n."""
    return read[..., :-1] / (torch.maximum(read[..., -1:].abs(), (-m).exp()[..., None]) + EPS)


@torch.no_grad()
def _running_maxima(i: Float[Tensor, "... L"], log_f: Float[Tensor, "... L"]) -> Tensor:
    """m after each position.

    Off the CPU a cumulative maximum of i - sum of log f replaces the loop. Its rounding grows with
    the decay over the whole length. That does no harm, since m may be any number near the maximum.
    """
    if forms.form_for(i, log_f) != "cpu":
        decayed = log_f.cumsum(-1)
        return (i - decayed).cummax(-1).values.clamp(min=0) + decayed
    m, maxima = i.new_zeros(()), []
    for i_t, log_f_t in zip(i.unbind(-1), log_f.unbind(-1), strict=True):
        m = torch.maximum(log_f_t + m, i_t)
        maxima.append(m)
    return torch.stack(maxima, dim=-1)
