"""The mesa layer: the prediction for a query of a ridge regression on all keys and values so far
(von Oswald et al., 2025, arXiv 2506.05233).

    G_t = a_t G_{t-1} + β_t k_t k_t',   S_t = a_t S_{t-1} + β_t k_t v_t'
    y_t = S_t' (G_t + diag(λ))^-1 q_t

with G_0 = 0 and S_0 = 0. The authors solve the systems by 30 steps of conjugate gradients. Here a
Cholesky factorisation solves them exactly, one chunk of positions at a time.

Dimensions: L length, G and S the states, d width of a key, d_v width of a value. Leading
dimensions, heads among them, broadcast.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from recollect.ops import forms
from recollect.ops.chunks import decay_between
from recollect.ops.cost import declares, rows
from recollect.ops.diagonal import diagonal_scan
from recollect.ops.outer_product import outer_product_memory

CHUNK = 32
"""How many systems are held at once."""


def mesa_definition(
    q: Float[Tensor, "... L d"],
    k: Float[Tensor, "... L d"],
    v: Float[Tensor, "... L d_v"],
    beta: Float[Tensor, "... L"],
    log_decay: Float[Tensor, "... L"],
    ridge: Float[Tensor, "... d"],
) -> Float[Tensor, "... L d_v"]:
    """Compute one position after the other."""
    gram = k.new_zeros(k.shape[-1], k.shape[-1])
    memory, outputs = k.new_zeros(k.shape[-1], v.shape[-1]), []
    for t in range(q.shape[-2]):
        q_t, k_t, v_t = (x[..., t, :] for x in (q, k, v))
        y_t, gram, memory = mesa_step(
            q_t, k_t, v_t, beta[..., t], log_decay[..., t], ridge, gram, memory
        )
        outputs.append(y_t)
    return torch.stack(outputs, dim=-2)


@declares(
    lambda q, k, v, beta, log_decay, ridge: (
        rows(q, k, v, beta[..., None], log_decay[..., None], ridge[..., None])
        * mesa_multiply_adds(q.shape[-2], q.shape[-1], v.shape[-1])
    )
)
def mesa(
    q: Float[Tensor, "... L d"],
    k: Float[Tensor, "... L d"],
    v: Float[Tensor, "... L d_v"],
    beta: Float[Tensor, "... L"],
    log_decay: Float[Tensor, "... L"],
    ridge: Float[Tensor, "... d"],
) -> Float[Tensor, "... L d_v"]:
    """Compute the outputs by chunks on the CPU, and all at once on other devices.

    Args:
        q: queries.
        k: keys; unit length makes the regression independent of their norms.
        v: values.
        beta: the weight of each key-value pair, in [0, 1].
        log_decay: logarithm of the decay, at most 0, -inf included.
        ridge: λ, above 0.
    """
    if forms.form_for(q, k, v, beta, log_decay, ridge) != "cpu":
        return _all_at_once(q, k, v, beta, log_decay, ridge)
    gram = k.new_zeros(k.shape[-1], k.shape[-1])
    memory, outputs = k.new_zeros(k.shape[-1], v.shape[-1]), []
    for begin in range(0, q.shape[-2], CHUNK):
        here = slice(begin, begin + CHUNK)
        q_i, k_i, v_i = q[..., here, :], k[..., here, :], v[..., here, :]
        between = decay_between(log_decay[..., here]).tril()
        weights = between * beta[..., None, here]  # weight at t of the pair of s
        since = log_decay[..., here].cumsum(-1).exp()[..., None]
        pairs = (k_i[..., :, None] * k_i[..., None, :]).flatten(-2)
        grams = (weights @ pairs).unflatten(-1, (k.shape[-1], -1))
        grams = grams + since[..., None] * gram[..., None, :, :]
        x = _solved(grams, ridge[..., None, :], q_i)
        outputs.append((weights * (x @ k_i.mT)) @ v_i + since * (x @ memory))
        gram = grams[..., -1, :, :]
        memory = since[..., -1:, :] * memory + (weights[..., -1, :, None] * k_i).mT @ v_i
    return torch.cat(outputs, dim=-2)


def mesa_step(
    q_t: Float[Tensor, "... d"],
    k_t: Float[Tensor, "... d"],
    v_t: Float[Tensor, "... d_v"],
    beta_t: Float[Tensor, ...],
    log_decay_t: Float[Tensor, ...],
    ridge: Float[Tensor, "... d"],
    gram: Float[Tensor, "... d d"],
    memory: Float[Tensor, "... d d_v"],
) -> tuple[Float[Tensor, "... d_v"], Float[Tensor, "... d d"], Float[Tensor, "... d d_v"]]:
    """Return one output, and G and S after it; arguments as in `mesa`, at one position."""
    decay, written = log_decay_t.exp()[..., None, None], beta_t[..., None] * k_t
    gram = decay * gram + written[..., :, None] * k_t[..., None, :]
    memory = decay * memory + written[..., :, None] * v_t[..., None, :]
    x = _solved(gram, ridge, q_t)
    return (x[..., None, :] @ memory).squeeze(-2), gram, memory


def mesa_multiply_adds(length: int, d: int, d_v: int) -> int:
    """Multiply-adds of one sequence and head.

    These are the factorisations (d^3 / 3 each), the updates of G, and the products with keys and
    values.
    """
    chunk = min(CHUNK, length)
    each = d**3 // 3 + 2 * d**2 + chunk * d**2 + chunk * (d + d_v) + 2 * d * d_v
    return length * each


def _all_at_once(
    q: Float[Tensor, "... L d"],
    k: Float[Tensor, "... L d"],
    v: Float[Tensor, "... L d_v"],
    beta: Float[Tensor, "... L"],
    log_decay: Float[Tensor, "... L"],
    ridge: Float[Tensor, "... d"],
) -> Float[Tensor, "... L d_v"]:
    """Compute all positions at once, since launches cost more than memory off the CPU.

    A diagonal scan gives the matrices G; their solutions read an outer-product memory.
    """
    written, log_decay = beta[..., None] * k, log_decay[..., None]
    pairs = (written[..., :, None] * k[..., None, :]).flatten(-2)
    decay = log_decay.exp().expand(*log_decay.shape[:-1], pairs.shape[-1])
    grams = diagonal_scan(decay, pairs).unflatten(-1, (k.shape[-1], -1))
    x = _solved(grams, ridge[..., None, :], q)
    return outer_product_memory(x, written, v, log_decay)


def _solved(
    gram: Float[Tensor, "... d d"], ridge: Float[Tensor, "... d"], q: Float[Tensor, "... d"]
) -> Float[Tensor, "... d"]:
    """(G + diag(λ))^-1 q."""
    matrix = gram + torch.diag_embed(ridge)
    if forms.form_for(gram, ridge, q) != "cpu":
        q = q.expand(matrix.shape[:-1])
        x: Tensor = _Solution.apply(matrix, q)[0]  # type: ignore[no-untyped-call]
        return x
    # unchecked, so that diverged inputs give NaN instead of an exception
    factor, _ = torch.linalg.cholesky_ex(matrix)
    return torch.cholesky_solve(q[..., None], factor).squeeze(-1)


class _Solution(torch.autograd.Function):
    """The solution x of A x = q for symmetric A, whose gradient is one more solution.

    Autograd through the factors takes many more launches. PyTorch's `cholesky_solve` of a batch
    cannot be captured as a CUDA graph.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        matrix: Float[Tensor, "... d d"], q: Float[Tensor, "... d"]
    ) -> tuple[Float[Tensor, "... d"], Float[Tensor, "... d d"]]:
        factor, _ = torch.linalg.cholesky_ex(matrix)
        return _by_factor(factor, q), factor

    @staticmethod
    def setup_context(ctx: Any, _: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_x: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        x, factor = ctx.saved_tensors
        by_q = _by_factor(factor, by_x)
        return -by_q[..., None] * x[..., None, :], by_q


def _by_factor(
    factor: Float[Tensor, "... d d"], q: Float[Tensor, "... d"]
) -> Float[Tensor, "... d"]:
    """The solution x of L L' x = q."""
    half = torch.linalg.solve_triangular(factor, q[..., None], upper=False)
    return torch.linalg.solve_triangular(factor.mT, half, upper=True).squeeze(-1)
