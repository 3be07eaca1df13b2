"""The decaying average of RWKV-4 (Peng et al., 2023, arXiv 2305.13048, section 3.1.2).

    y_t = (sum over s < t of e^(k_s - (t - 1 - s) w) v_s + e^(u + k_t) v_t)
        / (sum over s < t of e^(k_s - (t - 1 - s) w)     + e^(u + k_t))

Each channel averages its own values, with weights that decay at its own rate w; the current
position has a bonus u. Dimensions: L length. All leading dimensions broadcast.

Both sums are stored divided by e^m, where m is their largest exponent. The state is (numerator,
denominator, m), in this order along its second-to-last dimension.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.ops import forms
from recollect.ops._fused import fused
from recollect.ops.cost import declares, rows
from recollect.ops.diagonal import diagonal_scan


def wkv_definition(
    k: Float[Tensor, "... L channels"],
    v: Float[Tensor, "... L channels"],
    w: Float[Tensor, "... channels"],
    u: Float[Tensor, "... channels"],
    initial_state: Float[Tensor, "... 3 channels"] | None = None,
) -> tuple[Float[Tensor, "... L channels"], Float[Tensor, "... 3 channels"]]:
    """Return the averages and the final state, computed one position after the other."""
    state = wkv_initial_state(k[..., 0, :]) if initial_state is None else initial_state
    outputs = []
    for t in range(k.shape[-2]):
        y_t, state = wkv_step(k[..., t, :], v[..., t, :], w, u, state)
        outputs.append(y_t)
    return torch.stack(outputs, dim=-2), state


@declares(
    lambda k, v, w, u, initial_state: (
        rows(k, v, w[..., None, :], u[..., None, :], initial_state)
        * wkv_multiply_adds(*k.shape[-2:])
    )
)
def wkv(
    k: Float[Tensor, "... L channels"],
    v: Float[Tensor, "... L channels"],
    w: Float[Tensor, "... channels"],
    u: Float[Tensor, "... channels"],
    initial_state: Float[Tensor, "... 3 channels"] | None = None,
) -> tuple[Float[Tensor, "... L channels"], Float[Tensor, "... 3 channels"]]:
    """Return the averages and the final state.

    A first pass computes the largest exponents, then two diagonal scans compute the sums. A GPU may
    run a Triton kernel with first derivatives instead (`forms.py`).

    Args:
        k: keys.
        v: values.
        w: rates of decay, above 0.
        u: bonuses.
        initial_state: None: `wkv_initial_state`.
    """
    state = wkv_initial_state(k[..., 0, :]) if initial_state is None else initial_state
    if forms.form_for(k, v, w, u, state) == "triton":
        from recollect.ops import _triton_wkv  # Triton may not be installed

        return fused(_triton_wkv, k, v, w[..., None, :], u[..., None, :], state)
    after = _running_maxima(k, w, state[..., 2, :])
    before = torch.cat([state[..., 2:, :].expand_as(after[..., :1, :]), after[..., :-1, :]], dim=-2)
    decay = (before - w[..., None, :] - after).exp()[..., None, :, :]
    weight = (k - after).exp()[..., None, :, :]
    values = torch.stack([v, torch.ones_like(v)], dim=-3)  # the denominator sums ones
    sums = diagonal_scan(decay, weight * values, state[..., :2, :])
    earlier = torch.cat([state[..., :2, None, :].expand_as(sums[..., :1, :]), sums], dim=-2)
    numerator, denominator = earlier[..., :-1, :].unbind(-3)
    y = _average(numerator, denominator, before, k + u[..., None, :], v)
    return y, torch.cat([sums[..., -1, :], after[..., -1:, :]], dim=-2)


def wkv_step(
    k_t: Float[Tensor, "... channels"],
    v_t: Float[Tensor, "... channels"],
    w: Float[Tensor, "... channels"],
    u: Float[Tensor, "... channels"],
    state: Float[Tensor, "... 3 channels"],
) -> tuple[Float[Tensor, "... channels"], Float[Tensor, "... 3 channels"]]:
    """Return one average and the state after it; the given state is not modified."""
    numerator, denominator, before = state.unbind(-2)
    y_t = _average(numerator, denominator, before, k_t + u, v_t)
    after = torch.maximum(before - w, k_t)
    decay, weight = (before - w - after).exp(), (k_t - after).exp()
    new = decay * numerator + weight * v_t, decay * denominator + weight, after
    return y_t, torch.stack(torch.broadcast_tensors(*new), dim=-2)


def wkv_initial_state(like: Float[Tensor, "... channels"]) -> Float[Tensor, "... 3 channels"]:
    """Return the state with empty sums, with the type and leading dimensions of `like`."""
    nothing = torch.zeros_like(like)
    return torch.stack([nothing, nothing, torch.full_like(like, -math.inf)], dim=-2)


def wkv_multiply_adds(length: int, channels: int) -> int:
    """Multiply-adds for one sequence: three per state and three per average, no exponentials."""
    return 6 * length * channels


def _average(
    numerator: Float[Tensor, "... channels"],
    denominator: Float[Tensor, "... channels"],
    exponent: Float[Tensor, "... channels"],
    own_exponent: Float[Tensor, "... channels"],
    v: Float[Tensor, "... channels"],
) -> Float[Tensor, "... channels"]:
    """The average of the past sums and the current value."""
    largest = torch.maximum(exponent, own_exponent).detach()  # it cancels
    past, own = (exponent - largest).exp(), (own_exponent - largest).exp()
    return (past * numerator + own * v) / (past * denominator + own)


@torch.no_grad()
def _running_maxima(
    k: Float[Tensor, "... L channels"],
    w: Float[Tensor, "... channels"],
    first: Float[Tensor, "... channels"],
) -> Float[Tensor, "... L channels"]:
    """The largest exponent after each position; it cancels, in the gradient too.

    On devices other than the CPU it is a cumulative maximum of exponents without their decay. Its
    rounding error grows with length, which does no harm: any number near the largest will do.
    """
    if forms.form_for(k, w, first) != "cpu":
        t = torch.arange(1, k.shape[-2] + 1, dtype=k.dtype, device=k.device)
        decayed = t[:, None] * w[..., None, :]
        k, decayed, first = torch.broadcast_tensors(k, decayed, first[..., None, :])
        return torch.maximum((k + decayed).cummax(-2).values, first) - decayed
    largest, maxima = first, []
    for k_t in k.unbind(-2):
        largest = torch.maximum(largest - w, k_t)
        maxima.append(largest)
    return torch.stack(maxima, dim=-2)
