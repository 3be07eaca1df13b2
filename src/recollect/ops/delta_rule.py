"""The delta rule: a state that replaces the value at a key, where linear attention only adds.

    S_t = D_t S_{t-1} + β_t k_t (v_t - (D_t S_{t-1})' p_t)',   y_t = S_t' q_t

with S_0 = 0. D = diag(exp(log_decay)) is the decay, one per head or one per key channel. The new
value is written at the key k; the old value is read at the erase key p, which defaults to k. With
`read_first` it is read before the state decays, S_{t-1}' p_t in place of (D_t S_{t-1})' p_t.

    DeltaNet            D = 1, p = k                    Yang et al., 2024, arXiv 2406.06484
    Gated DeltaNet      D per head, p = k               Yang et al., 2024, arXiv 2412.06464
    Comba               D per head, p a share of k, read first: D_t is not on the erasure
                                                        Hu et al., 2025, arXiv 2506.02475
    KDA                 D per channel, p = k            Kimi Team, 2025, arXiv 2510.26692
    Gated DeltaNet-2    D per channel, p = b * k, and w * v for v: separate strengths of
                        erasing and writing             Hatamizadeh et al., 2026, arXiv 2605.22791
    DeltaProduct        several steps per token         Siems et al., 2025, arXiv 2502.10297

With n keys for each query, a token takes n steps: the state decays before the first step and is
read after the last. Some papers write S transposed. Decays are products of factors up to 1, never
quotients: a strong decay underflows to zero.

Dimensions: L length, C length of a chunk, t a position, s an earlier one, S the state, with d_k
rows (keys) and d_v columns (values). Leading dimensions, heads among them, broadcast.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from recollect.errors import UserError
from recollect.ops import forms
from recollect.ops.chunks import decay_between, in_chunks, weakened_products
from recollect.ops.cost import declares, rows
from recollect.ops.delta_chunks import (
    CHUNK,
    longest_chunk,
    outer,
    over_chunks,
    power_of_two_chunk,
    read,
    solving,
)


def delta_rule_definition(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... nL d_k"],
    v: Float[Tensor, "... nL d_v"],
    beta: Float[Tensor, "... nL"],
    log_decay: Float[Tensor, "... L d_k_or_1"] | None = None,
    erase_key: Float[Tensor, "... nL d_k"] | None = None,
    *,
    read_first: bool = False,
) -> tuple[Float[Tensor, "... L d_v"], Float[Tensor, "... d_k d_v"]]:
    """Compute the recurrence step by step."""
    steps = _steps(q, k)
    state, outputs = k.new_zeros(k.shape[-1], v.shape[-1]), []
    for t in range(k.shape[-2]):
        token, step = divmod(t, steps)
        y_t, state = delta_rule_step(
            q[..., token, :],
            k[..., t, :],
            v[..., t, :],
            beta[..., t],
            state,
            None if log_decay is None or step else log_decay[..., token, :],
            None if erase_key is None else erase_key[..., t, :],
            read_first=read_first,
        )
        if step == steps - 1:
            outputs.append(y_t)
    return torch.stack(outputs, dim=-2), state


@declares(
    lambda q, k, v, beta, log_decay, erase_key: (
        rows(q, k, v, beta[..., None], log_decay, erase_key)
        * delta_rule_multiply_adds(
            k.shape[-2], k.shape[-1], v.shape[-1], by_channel=_is_by_channel(log_decay)
        )
    )
)
def delta_rule(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... nL d_k"],
    v: Float[Tensor, "... nL d_v"],
    beta: Float[Tensor, "... nL"],
    log_decay: Float[Tensor, "... L d_k_or_1"] | None = None,
    erase_key: Float[Tensor, "... nL d_k"] | None = None,
    *,
    read_first: bool = False,
) -> tuple[Float[Tensor, "... L d_v"], Float[Tensor, "... d_k d_v"]]:
    """Compute the recurrence by chunks, or on a GPU by a step-by-step kernel (`forms.py`).

    Let e_t be the value written at step t, S_t = D_t S_{t-1} + k_t e_t', S the state before a
    chunk, and <x_t, y_s> the product of two vectors times the decays D_s+1 ... D_t. Then

        (I + A) E = diag(β) (V - <p, S>),   A_ts = β_t <p_t, k_s>

    With `read_first`, the products of p_t end with D_t-1.

    Args:
        q: queries.
        k: keys, n for each query; unit length keeps the state bounded.
        v: values.
        beta: the fraction of the old value at a key that the new value replaces, in [0, 1], or up
            to 2 to overshoot.
        log_decay: logarithm of the decay, at most 0, -inf included; None: no decay.
        erase_key: p; None: k.
        read_first: whether the old value is read before the state decays.

    Returns:
        The outputs, and the state after the last position.

    Raises:
        UserError: if the number of keys is not a multiple of the number of queries.
    """
    length, steps = q.shape[-2], _steps(q, k)
    if log_decay is None:
        log_decay = q.new_zeros(length, 1)
    if steps > 1:
        q, log_decay = q.repeat_interleave(steps, -2), _before_the_first(log_decay, steps)
    if forms.form_for_memory(k.shape[-1], v.shape[-1], q, k, v, beta, log_decay) == "triton":
        fast = _by_kernel
    else:
        fast = _by_channel if _is_by_channel(log_decay) else _by_head
    y, state = fast(q, k, v, beta, log_decay, erase_key, read_first)
    return y[..., steps - 1 : steps * length : steps, :], state


def delta_rule_step(
    q_t: Float[Tensor, "... d_k"],
    k_t: Float[Tensor, "... d_k"],
    v_t: Float[Tensor, "... d_v"],
    beta_t: Float[Tensor, ...],
    state: Float[Tensor, "... d_k d_v"],
    log_decay_t: Float[Tensor, "... d_k_or_1"] | None = None,
    erase_key_t: Float[Tensor, "... d_k"] | None = None,
    *,
    read_first: bool = False,
) -> tuple[Float[Tensor, "... d_v"], Float[Tensor, "... d_k d_v"]]:
    """Return one output and the state after it; arguments as in `delta_rule`, at one step."""
    decayed = state if log_decay_t is None else log_decay_t.exp()[..., None] * state
    held = read(state if read_first else decayed, k_t if erase_key_t is None else erase_key_t)
    written = beta_t[..., None] * (v_t - held)
    state = decayed + outer(k_t, written)
    return read(state, q_t), state


def delta_rule_multiply_adds(steps: int, d_k: int, d_v: int, *, by_channel: bool = False) -> int:
    """Multiply-adds in the matrix products of `delta_rule`, for one sequence and head.

    Products with decays are of lower order and are left out.

    Args:
        steps: number of steps of all tokens.
        d_k: width of a key.
        d_v: width of a value.
        by_channel: whether each channel of a key has its own decay.
    """
    chunk = power_of_two_chunk(steps) if by_channel else min(CHUNK, steps)
    pairs = chunk * (chunk - 1) if by_channel else 2 * chunk**2
    within = pairs * d_k + chunk**2 * (d_k + 2 * d_v) + solving(chunk)
    return -(-steps // chunk) * (within + 3 * chunk * d_k * d_v)


def _steps(q: Float[Tensor, "... L d_k"], k: Float[Tensor, "... nL d_k"]) -> int:
    """Steps per token.

    Raises:
        UserError: if the number of keys is not a multiple of the number of queries.
    """
    steps, rest = divmod(k.shape[-2], q.shape[-2])
    if rest or not steps:
        raise UserError(
            f"{k.shape[-2]} keys for {q.shape[-2]} queries: expected the same number of keys for"
            " each query"
        )
    return steps


def _is_by_channel(log_decay: Tensor | None) -> bool:
    return log_decay is not None and log_decay.shape[-1] > 1


def _before_the_first(log_decay: Float[Tensor, "... L d"], steps: int) -> Float[Tensor, "... nL d"]:
    """The log decay of a token at its first step, 0 at its other steps."""
    return torch.stack([log_decay, *[torch.zeros_like(log_decay)] * (steps - 1)], -2).flatten(
        -3, -2
    )


def _by_kernel(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    beta: Float[Tensor, "... L"],
    log_decay: Float[Tensor, "... L d_k_or_1"],
    erase_key: Float[Tensor, "... L d_k"] | None,
    read_first: bool,
) -> tuple[Float[Tensor, "... L d_v"], Float[Tensor, "... d_k d_v"]]:
    """Call the Triton kernel. It reads first, so p is decayed where the state decays first."""
    from recollect.ops._triton_memory import fused_memory  # Triton may not be installed

    written = beta[..., None] * k
    p = k if erase_key is None else erase_key
    p = p if read_first else log_decay.exp() * p
    return fused_memory(q, written, v, log_decay, removal=(p, written))


def _by_head(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    beta: Float[Tensor, "... L"],
    log_decay: Float[Tensor, "... L 1"],
    erase_key: Float[Tensor, "... L d_k"] | None,
    read_first: bool,
) -> tuple[Float[Tensor, "... L_and_fill d_v"], Float[Tensor, "... d_k d_v"]]:
    """One decay per head multiplies whole products of keys."""
    chunk = min(longest_chunk(q), q.shape[-2])
    q, k, v = (in_chunks(x, chunk, dim=-2) for x in (q, k, v))
    p = k if erase_key is None else in_chunks(erase_key, chunk, dim=-2)
    beta, log_decay = (in_chunks(x, chunk, dim=-1) for x in (beta, log_decay.squeeze(-1)))

    between = decay_between(log_decay)
    from_start = log_decay.cumsum(-1).exp()[..., None]
    to_end = between[..., -1, :, None]
    between_p, from_start_p = between, from_start
    if read_first:  # a read at t comes after the decays of t - 1
        between_p = F.pad(between[..., :-1, :], (0, 0, 1, 0))
        from_start_p = F.pad(from_start[..., :-1, :], (0, 0, 1, 0), value=1.0)
    a = beta[..., None] * between_p * (p @ k.mT)  # only entries below the diagonal are read
    inverse = _inverse(a, beta)
    decay = from_start[..., -1:, :]
    return over_chunks(
        writes=inverse @ v,
        held=inverse @ (from_start_p * p),
        k=to_end * k,
        q=from_start * q,
        scores=between * (q @ k.mT).tril(),
        decay=decay,
        added=torch.zeros_like(decay),
    )


def _by_channel(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    beta: Float[Tensor, "... L"],
    log_decay: Float[Tensor, "... L d_k"],
    erase_key: Float[Tensor, "... L d_k"] | None,
    read_first: bool,
) -> tuple[Float[Tensor, "... L_and_fill d_v"], Float[Tensor, "... d_k d_v"]]:
    """One decay per channel multiplies each channel of the products of keys."""
    chunk = power_of_two_chunk(q.shape[-2], longest_chunk(q))
    erase_key = k if erase_key is None else erase_key
    q, k, p, log_decay = torch.broadcast_tensors(
        *(in_chunks(x, chunk, dim=-2) for x in (q, k, erase_key, log_decay))
    )
    v, beta, w = in_chunks(v, chunk, dim=-2), in_chunks(beta, chunk, dim=-1), log_decay.exp()

    products, readers, writers, decay = weakened_products(
        torch.stack([p if read_first else w * p, w * q], dim=-2), k[..., None, :], w
    )
    a, scores = products.squeeze(-1).unbind(-2)
    p, weak_q = readers.unbind(-2)
    inverse = _inverse(beta[..., None] * a, beta)
    decay = decay[..., None]
    return over_chunks(
        writes=inverse @ v,
        held=inverse @ p,
        k=writers.squeeze(-2),
        q=weak_q,
        scores=scores + torch.diag_embed((q * k).sum(-1)),
        decay=decay,
        added=torch.zeros_like(decay),
    )


def _inverse(a: Float[Tensor, "... C C"], beta: Float[Tensor, "... C"]) -> Float[Tensor, "... C C"]:
    """(I + A)^-1 diag(β); only the entries of A below the diagonal are read."""
    return torch.linalg.solve_triangular(a, torch.diag_embed(beta), upper=False, unitriangular=True)
