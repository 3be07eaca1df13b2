"""Log-linear attention: the past in blocks of doubling size, each with its own matrix state and
weight (Guo et al., 2025, arXiv 2506.04761).

    y_t = λ_t,0 M_t,0' q_t + sum over the levels j of the blocks before t of λ_t,j M_t,j' q_t

The binary digits of t cut the t positions before it into blocks: bit j - 1, if set, is a block of
2^(j-1) positions at level j, the largest first. Level 0 is t itself. At every position each block's
state M_j is updated as in a linear mixer, and the position starts a state of its own:

    outer product    M_j = a_t M_j,                             M_0 = k_t v_t'
    delta rule       M_j = a_t (I - β_t k_t k_t') M_j,          M_0 = β_t k_t v_t'

If all λ are 1, the sum is the output of the linear mixer. Decays a come as logarithms, at most 0.

Dimensions: L length, C length of a chunk, t position of a read, s position of a write, d_k width of
a key, d_v width of a value. All leading dimensions, heads among them, broadcast.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from recollect.ops import forms
from recollect.ops.chunks import decay_between, halves, in_chunks, power_of_two
from recollect.ops.cost import declares, rows
from recollect.ops.delta_chunks import longest_chunk, outer, power_of_two_chunk, read, solving
from recollect.ops.log_linear_kernels import CHUNK, by_kernels
from recollect.ops.shapes import broadcast_shapes

Memories = dict[int, Float[Tensor, "... d_k d_v"]]
"""The matrix state of each block, by its bit in the number of positions read."""


def levels(length: int) -> int:
    """The number of λ per position in a sequence of this length."""
    return (length - 1).bit_length() + 1


def log_linear_definition(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    log_decay: Float[Tensor, "... L"],
    scales: Float[Tensor, "... L levels"],
    beta: Float[Tensor, "... L"] | None = None,
) -> Float[Tensor, "... L d_v"]:
    """Compute one position after the other."""
    memories: Memories = {}
    outputs = []
    for t in range(q.shape[-2]):
        q_t, k_t, v_t, scales_t = (x[..., t, :] for x in (q, k, v, scales))
        beta_t = None if beta is None else beta[..., t]
        y_t, memories = log_linear_step(
            q_t, k_t, v_t, log_decay[..., t], scales_t, memories, beta_t
        )
        outputs.append(y_t)
    return torch.stack(outputs, dim=-2)


@declares(
    lambda q, k, v, log_decay, scales, beta: (
        rows(q, k, v, log_decay[..., None], scales)
        * log_linear_multiply_adds(q.shape[-2], q.shape[-1], v.shape[-1], delta=beta is not None)
    )
)
def log_linear(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    log_decay: Float[Tensor, "... L"],
    scales: Float[Tensor, "... L levels"],
    beta: Float[Tensor, "... L"] | None = None,
) -> Float[Tensor, "... L d_v"]:
    """Compute the outputs by chunks, whose length is a power of two.

    Within a chunk the weights of the linear mixer are multiplied by λ; between chunks each block of
    chunks has a state. On a GPU both are computed in Triton kernels (`log_linear_kernels.py`).

    Args:
        q: queries.
        k: keys.
        v: values.
        log_decay: logarithm of the decay, -inf included.
        scales: λ, at least `levels(L)` of them.
        beta: β of the delta rule; None: the outer product.
    """
    length, d_k = q.shape[-2:]
    form = forms.form_for_memory(d_k, max(d_k, v.shape[-1]), q, k, v, log_decay, scales)
    chunk = power_of_two_chunk(length, CHUNK if form == "triton" else longest_chunk(q))
    q, k, v, scales = (in_chunks(x, chunk, dim=-2) for x in (q, k, v, scales))
    log_decay = in_chunks(log_decay, chunk, dim=-1)
    beta = None if beta is None else in_chunks(beta, chunk, dim=-1)
    if form == "triton":
        y = by_kernels(q, k, v, log_decay, scales, beta)
        return y.flatten(-3, -2)[..., :length, :]
    between = decay_between(log_decay)
    from_start = log_decay.cumsum(-1).exp()[..., None]
    weights, held = between * (q @ k.mT).tril(), None
    queries, values = from_start * q, v
    if beta is not None:
        inverse = torch.linalg.solve_triangular(
            beta[..., None] * between * (k @ k.mT),
            torch.diag_embed(beta),
            upper=False,
            unitriangular=True,
        )
        held = inverse @ (from_start * k)
        queries = queries - weights @ held
        weights, values = weights @ inverse, inverse @ v
    within = _levels_within(chunk, q.device).expand(*scales.shape[:-1], chunk)
    y = (weights * scales.take_along_dim(within, -1)) @ v
    if length <= chunk:
        return y.squeeze(-3)[..., :length, :]
    to_end = between[..., -1, :, None] * k
    fast = _over_chunks if form == "cpu" else _by_doubling
    earlier = fast(
        queries, to_end, values, from_start[..., -1:, :], held, scales[..., chunk.bit_length() :]
    )
    return (y + earlier).flatten(-3, -2)[..., :length, :]


def log_linear_step(
    q_t: Float[Tensor, "... d_k"],
    k_t: Float[Tensor, "... d_k"],
    v_t: Float[Tensor, "... d_v"],
    log_decay_t: Float[Tensor, ...],
    scales_t: Float[Tensor, "... levels"],
    memories: Memories,
    beta_t: Float[Tensor, ...] | None = None,
) -> tuple[Float[Tensor, "... d_v"], Memories]:
    """Return one output and the states of blocks after it; a sequence starts with none."""
    decay, now = log_decay_t.exp()[..., None, None], {}
    written = v_t if beta_t is None else beta_t[..., None] * v_t
    new = outer(k_t, written)
    y_t = scales_t[..., :1] * read(new, q_t)
    for bit, memory in memories.items():
        memory = decay * memory
        if beta_t is not None:
            memory = memory - outer(k_t, beta_t[..., None] * read(memory, k_t))
        y_t = y_t + scales_t[..., bit + 1, None] * read(memory, q_t)
        now[bit] = memory
    return y_t, _joined(now, new)


def log_linear_multiply_adds(length: int, d_k: int, d_v: int, *, delta: bool = False) -> int:
    """Multiply-adds in the matrix products of `log_linear`, for one sequence and head."""
    chunk = power_of_two_chunk(length)
    chunks = -(-length // chunk)
    blocks = sum(i.bit_count() for i in range(chunks))
    moved = sum(i.bit_count() for i in range(chunks - 1)) if delta else 0
    within = chunk**2 * (d_k + d_v)
    if delta:
        within += chunk**2 * (3 * d_k + d_v + chunk) + solving(chunk)
    return chunks * within + (blocks + 2 * moved + chunks - 1) * chunk * d_k * d_v


def _over_chunks(
    queries: Float[Tensor, "... n C d_k"],
    keys: Float[Tensor, "... n C d_k"],
    values: Float[Tensor, "... n C d_v"],
    decay: Float[Tensor, "... n 1 1"],
    held: Float[Tensor, "... n C d_k"] | None,
    scales: Float[Tensor, "... n C levels"],
) -> Float[Tensor, "... n C d_v"]:
    """The contribution of earlier blocks of chunks to each chunk's outputs."""
    memories: Memories = {}
    outputs = []
    for i in range(queries.shape[-3]):
        queries_i, keys_i, values_i, decay_i, scales_i = (
            x[..., i, :, :] for x in (queries, keys, values, decay, scales)
        )
        new, now, y = keys_i.mT @ values_i, {}, torch.zeros_like(values_i)
        for bit, memory in memories.items():
            y = y + scales_i[..., bit, None] * (queries_i @ memory)
            now[bit] = decay_i * memory
            if held is not None:
                now[bit] = now[bit] - keys_i.mT @ (held[..., i, :, :] @ memory)
        outputs.append(y)
        memories = _joined(now, new)
    return torch.stack(torch.broadcast_tensors(*outputs), dim=-3)


def _by_doubling(
    queries: Float[Tensor, "... n C d_k"],
    keys: Float[Tensor, "... n C d_k"],
    values: Float[Tensor, "... n C d_v"],
    decay: Float[Tensor, "... n 1 1"],
    held: Float[Tensor, "... n C d_k"] | None,
    scales: Float[Tensor, "... n C levels"],
) -> Float[Tensor, "... n C d_v"]:
    """Compute the same without a loop over chunks, by blocks of twice the length.

    A block maps an earlier memory M to T M + N. `maps` holds T and N side by side.
    """
    (n, chunk, d_k), d_v = queries.shape[-3:], values.shape[-1]
    maps = decay * torch.eye(d_k, dtype=keys.dtype, device=keys.device)
    if held is not None:
        maps = maps - keys.mT @ held
    own = keys.mT @ values
    leading = broadcast_shapes(maps.shape[:-2], own.shape[:-2], queries.shape[:-2])
    maps = torch.cat([maps.expand(*leading, -1, -1), own.expand(*leading, -1, -1)], dim=-1)
    queries, scales = queries.expand(*leading, -1, -1), scales.expand(*leading, -1, -1)
    missing = power_of_two(n) - n
    if missing:
        maps, queries, scales = (
            F.pad(x, (0, 0, 0, 0, 0, missing)) for x in (maps, queries, scales)
        )
    y = queries.new_zeros(*queries.shape[:-1], d_v)
    for share in scales.flatten(-3, -2).unbind(-1)[: (n - 1).bit_length()]:
        (early, late), (early_queries, late_queries) = halves(maps), halves(queries)
        moved, read = (late_queries @ early).split([d_k, d_v], dim=-1)
        early_y, late_y = halves(y)
        late_share = share.unflatten(-1, (-1, 2, read.shape[-2]))[..., 1, :, None]
        y = torch.cat([early_y, late_y + late_share * read], dim=-2)
        queries = torch.cat([early_queries, moved], dim=-2)
        late_maps, late_own = late.split([d_k, d_v], dim=-1)
        maps = late_maps @ early + F.pad(late_own, (d_k, 0))
    return y.reshape(*y.shape[:-3], -1, chunk, d_v)[..., :n, :, :]


def _joined(memories: Memories, new: Float[Tensor, "... d_k d_v"]) -> Memories:
    """Add the state of a new smallest block; two blocks of one size merge, like a binary carry."""
    bit = 0
    while bit in memories:
        new = memories[bit] + new
        bit += 1
    return {bit: new} | {other: memory for other, memory in memories.items() if other > bit}


def _levels_within(chunk: int, device: torch.device) -> Int64[Tensor, "C C"]:
    """The level at which t sees s in the same chunk; arbitrary where s > t."""
    t = torch.arange(chunk, device=device)
    differing = t[:, None] ^ t[None, :]  # the highest bit is the first to differ
    bits = torch.arange(chunk.bit_length(), device=device)
    return (differing[..., None] >= 2**bits).sum(-1)
