"""An outer-product memory that takes up inputs by the trapezoidal rule, as in Mamba-3 (Lahoti et
al., 2026, arXiv 2603.15569).

    S_t = a_t S_{t-1} + (1 - λ_t) dt_t a_t B_{t-1}^T X_{t-1} + λ_t dt_t B_t^T X_t,   Y_t = C_t S_t

from zeros: a step of size dt takes up a mean of the input at its end and of that at its beginning,
which has decayed since. With several inputs and outputs (rank R), B, C and X have R rows.

Letters: L length, R rank, n width of B and C, p width of X and Y, S the memory (n, p). All leading
dimensions, heads among them, broadcast. Decays come as logarithms, at most 0.
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
    """The recurrence above, one position after the other."""
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
    """The same by chunks.

    What is written at s counts, from s + 1 on, λ_s dt_s + (1 - λ_{s+1}) dt_{s+1}: so a position
    reads a plain memory in which the one before it left it, and what it writes itself.

    Args:
        c: C, what is read.
        b: B, where is written.
        x: what is written.
        log_decay: logarithm of a.
        dt: step sizes.
        share: λ, the share of the end of the step, in [0, 1].
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
    """One position: its output, and the memory after it; the given one stays as it is."""
    decay, dt_t, share_t = (z[..., None, None] for z in (log_decay_t.exp(), dt_t, share_t))
    before = (1 - share_t) * dt_t * decay * (previous_b.mT @ previous_x)
    state = decay * state + before + share_t * dt_t * (b_t.mT @ x_t)
    return c_t @ state, state


def _next(z: Float[Tensor, "... L channels"]) -> Float[Tensor, "... L channels"]:
    """What the position after each has; zeros for the last."""
    return F.pad(z, (0, 0, -1, 1))


def _products(c: Tensor, b: Tensor, x: Tensor, log_decay: Tensor) -> int:
    """Those of the memory, each row of C with each of B, and of a position with itself."""
    pairs = c[..., :, None, :, :], b[..., None, :, :, :], x[..., None, :, :, :]
    memory = outer_product_memory_multiply_adds(*pairs, log_decay[..., None, None, :, None])
    return memory + rows(*pairs) * b.shape[-2] * (b.shape[-1] + x.shape[-1])
