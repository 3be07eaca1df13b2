"""The delta rule: a memory that corrects what it holds at a key, where linear attention only adds.

    delta rule               S_t = α_t (I - β_t k_t k_t') S_{t-1} + β_t k_t v_t'
    generalized delta rule   S_t = (diag(w_t) - (η_t * κ_t) κ_t') S_{t-1} + k_t v_t'
    output of both           y_t = S_t' q_t

from S_0 = 0. The first is DeltaNet's with α = 1 (Yang et al., 2024, arXiv 2406.06484) and Gated
DeltaNet's with a decay α = exp(log_decay) (Yang et al., 2024, arXiv 2412.06464). The second is
RWKV-7's (Peng et al., 2025, arXiv 2503.14456): each key channel has its own decay w, given by its
logarithm too, and the memory gives up what it holds at another key, κ. The papers write S
transposed.

The fast forms work on chunks. What a position writes depends on what those before it wrote, so the
writes of one chunk solve a unit lower triangular system. With the inverse of its matrix (the UT
transform) a chunk is a few matrix products, and a recurrence only carries the memory from chunk to
chunk. Decays are products of numbers up to 1, never divided: a strong one ends in zero.

Letters: L length, C length of a chunk, n number of chunks, t a position, s one before it, S the
memory, with d_k rows (keys) and d_v columns (values). Leading dimensions, heads among them,
broadcast.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.ops.chunks import decay_between, in_chunks, power_of_two, weakened_products
from recollect.ops.cost import declares, rows

CHUNK = 16
"""Length of a chunk, a power of two (measured on one CPU core, forward and backward, 128 sequences
of 256 positions, two heads of width 32: the gated rule takes 0.19, 0.22 and 0.33 s in chunks of 16,
32 and 64, the generalized one 0.52, 0.69 and 0.97 s; with one head of width 64, 16 and 32 are
alike)."""


def delta_rule_definition(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    beta: Float[Tensor, "... L"],
    log_decay: Float[Tensor, "... L"] | None = None,
) -> tuple[Float[Tensor, "... L d_v"], Float[Tensor, "... d_k d_v"]]:
    """The recurrence, position by position."""
    state, outputs = k.new_zeros(k.shape[-1], v.shape[-1]), []
    for t in range(q.shape[-2]):
        log_decay_t = None if log_decay is None else log_decay[..., t]
        y_t, state = delta_rule_step(
            q[..., t, :], k[..., t, :], v[..., t, :], beta[..., t], state, log_decay_t
        )
        outputs.append(y_t)
    return torch.stack(outputs, dim=-2), state


@declares(
    lambda q, k, v, beta, log_decay: (
        rows(q[..., 0], k[..., 0], v[..., 0], beta, log_decay, dims=1)
        * delta_rule_multiply_adds(q.shape[-2], q.shape[-1], v.shape[-1])
    )
)
def delta_rule(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    beta: Float[Tensor, "... L"],
    log_decay: Float[Tensor, "... L"] | None = None,
) -> tuple[Float[Tensor, "... L d_v"], Float[Tensor, "... d_k d_v"]]:
    """The same by chunks.

    With e_t what position t writes, S_t = α_t S_{t-1} + k_t e_t', and S the memory before a chunk:

        (I + A) E = diag(β) (V - diag(α_1 ... α_t) K S),   A_ts = β_t (α_s+1 ... α_t) k_t' k_s

    Args:
        q: queries.
        k: keys, of length 1 if the memory shall not grow without bound.
        v: values.
        beta: the share of what the memory holds at a key that its new value replaces, in [0, 1].
        log_decay: logarithm of the decay, at most 0, -inf included; None: no decay.

    Returns:
        The outputs, and the memory after the last position.
    """
    length = q.shape[-2]
    if log_decay is None:
        log_decay = q.new_zeros(length)
    chunk = min(CHUNK, length)
    q, k, v = (in_chunks(x, chunk, dim=-2) for x in (q, k, v))
    beta, log_decay = (in_chunks(x, chunk, dim=-1) for x in (beta, log_decay))

    between = decay_between(log_decay)
    from_start = log_decay.cumsum(-1).exp()[..., None]
    to_end = between[..., -1, :, None]
    a = beta[..., None] * between * (k @ k.mT)  # only what is below the diagonal is read
    inverse = torch.linalg.solve_triangular(  # (I + A)^-1 diag(β)
        a, torch.diag_embed(beta), upper=False, unitriangular=True
    )
    decay = from_start[..., -1:, :]
    y, state = _over_chunks(
        writes=inverse @ v,
        held=inverse @ (from_start * k),
        k=to_end * k,
        q=from_start * q,
        scores=between * (q @ k.mT).tril(),
        decay=decay,
        added=torch.zeros_like(decay),
    )
    return y[..., :length, :], state


def delta_rule_step(
    q_t: Float[Tensor, "... d_k"],
    k_t: Float[Tensor, "... d_k"],
    v_t: Float[Tensor, "... d_v"],
    beta_t: Float[Tensor, ...],
    state: Float[Tensor, "... d_k d_v"],
    log_decay_t: Float[Tensor, ...] | None = None,
) -> tuple[Float[Tensor, "... d_v"], Float[Tensor, "... d_k d_v"]]:
    """One output, and the memory after it; arguments as those of `delta_rule` at one position."""
    if log_decay_t is not None:
        state = log_decay_t.exp()[..., None, None] * state
    written = beta_t[..., None] * (v_t - _read(state, k_t))
    state = state + _outer(k_t, written)
    return _read(state, q_t), state


def delta_rule_multiply_adds(length: int, d_k: int, d_v: int) -> int:
    """Multiply-adds in the matrix products of `delta_rule`, for one sequence and head.

    What several rows share counts for each of them. The products by decays, of lower order, are
    left out.
    """
    chunk = min(CHUNK, length)
    within = chunk**2 * (3 * d_k + 2 * d_v) + _solving(chunk)
    return -(-length // chunk) * (within + 3 * chunk * d_k * d_v)


def generalized_delta_rule_definition(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    removal_key: Float[Tensor, "... L d_k"],
    rate: Float[Tensor, "... L d_k"],
    log_decay: Float[Tensor, "... L d_k"],
) -> tuple[Float[Tensor, "... L d_v"], Float[Tensor, "... d_k d_v"]]:
    """The recurrence, position by position."""
    state, outputs = k.new_zeros(k.shape[-1], v.shape[-1]), []
    for t in range(q.shape[-2]):
        q_t, k_t, v_t, removal_key_t, rate_t, log_decay_t = (
            x[..., t, :] for x in (q, k, v, removal_key, rate, log_decay)
        )
        y_t, state = generalized_delta_rule_step(
            q_t, k_t, v_t, removal_key_t, rate_t, state, log_decay_t
        )
        outputs.append(y_t)
    return torch.stack(outputs, dim=-2), state


@declares(
    lambda q, k, v, removal_key, rate, log_decay: (
        rows(q, k, v, removal_key, rate, log_decay)
        * generalized_delta_rule_multiply_adds(q.shape[-2], q.shape[-1], v.shape[-1])
    )
)
def generalized_delta_rule(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    removal_key: Float[Tensor, "... L d_k"],
    rate: Float[Tensor, "... L d_k"],
    log_decay: Float[Tensor, "... L d_k"],
) -> tuple[Float[Tensor, "... L d_v"], Float[Tensor, "... d_k d_v"]]:
    """The same by chunks.

    With e_t = -S_{t-1}' κ_t, which position t writes at η_t * κ_t, S the memory before a chunk, and
    <x_t, y_s> the product of two vectors whose channels are weakened by w_s+1 ... w_t-1:

        (I + A) E = -(<κ, S> + B V),   A_ts = <κ_t, η_s * κ_s>,   B_ts = <κ_t, k_s>

    Args:
        q: queries (RWKV-7's receptance).
        k: keys at which values are added (its replacement key).
        v: values.
        removal_key: κ, the keys at which the memory gives up what it holds; of length 1 if it shall
            not grow without bound.
        rate: η, the share of it that each channel gives up, in [0, 1].
        log_decay: logarithm of each channel's decay, at most 0, -inf included.

    Returns:
        The outputs, and the memory after the last position.
    """
    length = q.shape[-2]
    chunk = _power_of_two_chunk(length)
    removed = rate * removal_key
    q, k, removal_key, removed, log_decay = torch.broadcast_tensors(
        *(in_chunks(x, chunk, dim=-2) for x in (q, k, removal_key, removed, log_decay))
    )
    v, w = in_chunks(v, chunk, dim=-2), log_decay.exp()

    products, readers, writers, decay = weakened_products(
        torch.stack([removal_key, w * q], dim=-2), torch.stack([removed, k], dim=-2), w
    )
    (a, b), (scores, value_scores) = (read.unbind(-1) for read in products.unbind(-3))
    # a query reads after the write of its own position
    scores = scores + torch.diag_embed((q * removed).sum(-1))
    value_scores = value_scores + torch.diag_embed((q * k).sum(-1))
    removal_key, q = readers.unbind(-2)
    removed, k = writers.unbind(-2)

    identity = torch.eye(chunk, dtype=a.dtype, device=a.device)
    # (I + A)^-1
    inverse = torch.linalg.solve_triangular(a, identity, upper=False, unitriangular=True)
    y, state = _over_chunks(
        writes=-inverse @ (b @ v),
        held=inverse @ removal_key,
        k=removed,
        q=q,
        scores=scores,
        decay=decay[..., None],
        added=k.mT @ v,
    )
    y = y + (value_scores @ v).flatten(-3, -2)
    return y[..., :length, :], state


def generalized_delta_rule_step(
    q_t: Float[Tensor, "... d_k"],
    k_t: Float[Tensor, "... d_k"],
    v_t: Float[Tensor, "... d_v"],
    removal_key_t: Float[Tensor, "... d_k"],
    rate_t: Float[Tensor, "... d_k"],
    state: Float[Tensor, "... d_k d_v"],
    log_decay_t: Float[Tensor, "... d_k"],
) -> tuple[Float[Tensor, "... d_v"], Float[Tensor, "... d_k d_v"]]:
    """One output, and the memory after it; arguments as those of `generalized_delta_rule`."""
    removed = _outer(rate_t * removal_key_t, _read(state, removal_key_t))
    state = log_decay_t.exp()[..., None] * state - removed + _outer(k_t, v_t)
    return _read(state, q_t), state


def generalized_delta_rule_multiply_adds(length: int, d_k: int, d_v: int) -> int:
    """Multiply-adds in the matrix products of `generalized_delta_rule`, for one sequence and head.

    What several rows share counts for each of them. The products by decays, of lower order, are
    left out.
    """
    chunk = _power_of_two_chunk(length)
    pairs = 2 * chunk * (chunk - 1) * d_k
    within = pairs + chunk**2 * (d_k + 4 * d_v) + _solving(chunk)
    return -(-length // chunk) * (within + 4 * chunk * d_k * d_v)


def _read(
    state: Float[Tensor, "... d_k d_v"], key: Float[Tensor, "... d_k"]
) -> Float[Tensor, "... d_v"]:
    """What the memory holds at a key."""
    return (key[..., None, :] @ state).squeeze(-2)


def _outer(
    x: Float[Tensor, "... d_k"], y: Float[Tensor, "... d_v"]
) -> Float[Tensor, "... d_k d_v"]:
    return x[..., :, None] * y[..., None, :]


def _solving(chunk: int) -> int:
    """Multiply-adds of the inverse of a unit lower triangular matrix, by substitution."""
    return chunk**2 * (chunk - 1) // 2


def _power_of_two_chunk(length: int) -> int:
    return min(CHUNK, power_of_two(length))


def _over_chunks(
    *,
    writes: Float[Tensor, "... n C d_v"],
    held: Float[Tensor, "... n C d_k"],
    k: Float[Tensor, "... n C d_k"],
    q: Float[Tensor, "... n C d_k"],
    scores: Float[Tensor, "... n C C"],
    decay: Float[Tensor, "... n rows 1"],
    added: Float[Tensor, "... n rows columns"],
) -> tuple[Float[Tensor, "... L d_v"], Float[Tensor, "... d_k d_v"]]:
    """Carry the memory from chunk to chunk; the positions of one write E = writes - held S at k."""
    state, outputs = k.new_zeros(k.shape[-1], writes.shape[-1]), []
    arguments = (writes, held, k, q, scores, decay, added)
    for writes_i, held_i, k_i, q_i, scores_i, decay_i, added_i in zip(
        *(x.unbind(-3) for x in arguments), strict=True
    ):
        written = writes_i - held_i @ state
        outputs.append(q_i @ state + scores_i @ written)
        state = decay_i * state + k_i.mT @ written + added_i
    return torch.cat(outputs, dim=-2), state
