"""An outer-product state with inputs discretised by the trapezoidal rule, as in Mamba-3 (Lahoti et
al., 2026, arXiv 2603.15569).

    S_t = a_t S_{t-1} + (1 - λ_t) dt_t a_t B_{t-1}^T X_{t-1} + λ_t dt_t B_t^T X_t,   Y_t = C_t S_t

from zeros. A step of size dt adds a weighted mean of the input at its end and the decayed input at
its start. With several inputs and outputs (rank R), B, C and X have R rows.

Dimensions: L length, R rank, n width of B and C, p width of X and Y, S the state (n, p). All
leading dimensions, heads among them, broadcast. Decays come as logarithms, at most 0.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, stack

from recollect.ops.cost import declares, rows
from recollect.ops.outer_product import outer_product_memory, outer_product_memory_multiply_adds


def trapezoid_memory_definition(
    c: Float[Tensor, "... R L n"],
    b: Float[Tensor, "... R L n"],
    x: Float[Tensor, "... R L p"],
    log_decay: Float[Tensor, "... L"],
    dt: Float[Tensor, "... L"],
    share: Float[Tensor, "... L"],
) -> Float[Tensor, "... R L p"]:
    """Compute the recurrence one position after the other."""
    state = b.new_zeros(b.shape[-1], x.shape[-1])
    previous_b, previous_x = b.new_zeros(b[..., 0, :].shape), x.new_zeros(x[..., 0, :].shape)
    outputs = []
    for t in range(b.shape[-2]):
        c_t, b_t, x_t = (z[..., t, :] for z in (c, b, x))
        log_decay_t, dt_t, share_t = (z[..., t] for z in (log_decay, dt, share))
        y_t, state = trapezoid_memory_step(
            c_t, b_t, x_t, log_decay_t, dt_t, share_t, state, previous_b, previous_x
        )
        previous_b, previous_x = b_t, x_t
        outputs.append(y_t)
    return stack(outputs, dim=-2)


@declares(lambda c, b, x, log_decay: _products(c, b, x, log_decay))
def trapezoid_memory(
    c: Float[Tensor, "... R L n"],
    b: Float[Tensor, "... R L n"],
    x: Float[Tensor, "... R L p"],
    log_decay: Float[Tensor, "... L"],
    dt: Float[Tensor, "... L"],
    share: Float[Tensor, "... L"],
) -> Float[Tensor, "... R L p"]:
    """Compute the outputs by chunks.

    From s + 1 on, the input of s has the weight λ_s dt_s + (1 - λ_{s+1}) dt_{s+1}. So a position
    reads a plain outer-product state of all earlier positions, and adds its own input.

    Args:
        c: C, output weights.
        b: B, input weights.
        x: X, inputs.
        log_decay: logarithm of a.
        dt: step sizes.
        share: λ, the weight of the end of the step, in [0, 1].
    """
    now, before = (share * dt)[..., None, :, None], ((1 - share) * dt)[..., None, :, None]
    written = (now + _next(before)) * x
    log_decay = log_decay[..., None, :, None]
    reads = outer_product_memory(
        _next(c)[..., :, None, :, :],
        b[..., None, :, :, :],
        written[..., None, :, :, :],
        log_decay[..., None, :, :],
    ).sum(-3)
    own = (c[..., :, None, :, :] * b[..., None, :, :, :]).sum(-1, keepdim=True)
    own = (own * (now * x)[..., None, :, :, :]).sum(-3)
    return log_decay.exp() * F.pad(reads, (0, 0, 1, -1)) + own


def trapezoid_memory_step(
    c_t: Float[Tensor, "... R n"],
    b_t: Float[Tensor, "... R n"],
    x_t: Float[Tensor, "... R p"],
    log_decay_t: Float[Tensor, ...],
    dt_t: Float[Tensor, ...],
    share_t: Float[Tensor, ...],
    state: Float[Tensor, "... n p"],
    previous_b: Float[Tensor, "... R n"],
    previous_x: Float[Tensor, "... R p"],
) -> tuple[Float[Tensor, "... R p"], Float[Tensor, "... n p"]]:
    """Return one output and the state after it; the given state is not modified."""
    decay, dt_t, share_t = (z[..., None, None] for z in (log_decay_t.exp(), dt_t, share_t))
    before = (1 - share_t) * dt_t * decay * (previous_b.mT @ previous_x)
    state = decay * state + before + share_t * dt_t * (b_t.mT @ x_t)
    return c_t @ state, state


def _next(z: Float[Tensor, "... L channels"]) -> Float[Tensor, "... L channels"]:
    """Shift by one: each position gets the values of the next, the last one zeros."""
    return F.pad(z, (0, 0, -1, 1))


def _products(c: Tensor, b: Tensor, x: Tensor, log_decay: Tensor) -> int:
    """Multiply-adds: every row of C with every row of B, and each position with itself."""
    pairs = c[..., :, None, :, :], b[..., None, :, :, :], x[..., None, :, :, :]
    memory = outer_product_memory_multiply_adds(*pairs, log_decay[..., None, None, :, None])
    return memory + rows(*pairs) * b.shape[-2] * (b.shape[-1] + x.shape[-1])
