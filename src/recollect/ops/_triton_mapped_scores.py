"""Products of queries with keys through maps between their positions, as Triton kernels.

    scores[s, t] = q_t' M_t ... M_{s+1} k_s for s <= t, else 0,   M_j = I - β_j w_j w_j'
    ends[t] = q_t' M_t ... M_1

The queries may outnumber the positions: all queries from the last position on see every key, and
pass through every map. A program holds some queries of one row in registers, and takes them
backwards through the maps, position by position. The queries that enter a chunk from its end are
kept for the backward pass, which goes through the chunks in the opposite direction. There,

    back_t = the query t on its way back, and d_t = the gradient of what M_s makes of it

give the gradients of all inputs at s. Those of keys and maps are sums over queries: each program
writes its part, and the parts are summed in a fixed order, so that equal inputs give equal bits.

All tensors are contiguous and float32: q (rows, Q, d), k and w (rows, L, d), β (rows, L, 1), scores
(rows, L, Q), ends (rows, Q, d).
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

from recollect.ops._fused import fused
from recollect.ops._triton_memory import NUMBERS_OF_A_WARP
from recollect.ops._triton_rows import at, put

CHUNK = 32
"""Positions from one place where queries are kept to the next."""
PART = 4
"""Positions of a chunk at which the backward pass holds the queries; more are spilled."""
NUMBERS = 1024
"""Elements of the queries of a program, which has at least QUERIES of them."""
QUERIES = 16


def fused_mapped_scores(
    q: Float[Tensor, "... Q d"],
    k: Float[Tensor, "... L d"],
    w: Float[Tensor, "... L d"],
    beta: Float[Tensor, "... L"],
) -> tuple[Float[Tensor, "... L Q"], Float[Tensor, "... Q d"]]:
    """Return the scores and the ends, with first derivatives.

    Args:
        q: queries.
        k: keys.
        w: directions of the maps.
        beta: β.
    """
    return fused(sys.modules[__name__], q, k, w, beta[..., None])


def saved(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the inputs and the queries that enter the chunks."""
    return *inputs, outputs[2]


def backward(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of all inputs."""
    dq, *parts = _gradients(*tensors)
    return dq, *(part.sum(1) for part in parts)


@torch.library.custom_op(
    "recollect::mapped_scores",
    mutates_args=(),
    schema="(Tensor q, Tensor k, Tensor w, Tensor beta) -> (Tensor, Tensor, Tensor)",
)
def forward(q: Tensor, k: Tensor, w: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the scores, the ends, and the queries that enter the chunks."""
    outputs = _outputs(q, k)
    _launch(_forward, q, k, (q, k, w, beta, *outputs))
    return outputs


@torch.library.custom_op(
    "recollect::mapped_scores_backward",
    mutates_args=(),
    schema="(Tensor q, Tensor k, Tensor w, Tensor beta, Tensor entering, Tensor dscores,"
    " Tensor dends) -> (Tensor, Tensor, Tensor, Tensor)",
)
def _gradients(q: Tensor, k: Tensor, *others: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    outputs = _gradient_outputs(q, k)
    _launch(_backward, q, k, (k, *others, *outputs), PART=PART)
    return outputs


def _outputs(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    (rows, queries, d), length = q.shape, k.shape[1]
    entering = q.new_empty(rows, triton.cdiv(length, CHUNK), queries, d)
    return q.new_empty(rows, length, queries), torch.empty_like(q), entering


def _gradient_outputs(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Empty tensors for the gradient of q, and for the parts of those of k, w and β."""
    rows, queries, d = q.shape
    parts = rows, triton.cdiv(queries, _queries_of_a_program(queries, d)), k.shape[1]
    dk, dw, dbeta = (q.new_empty(*parts, columns) for columns in (d, d, 1))
    return torch.empty_like(q), dk, dw, dbeta


forward.register_fake(lambda *inputs: _outputs(*inputs[:2]))
_gradients.register_fake(lambda *inputs: _gradient_outputs(*inputs[:2]))


def _queries_of_a_program(queries: int, d: int) -> int:
    most = max(QUERIES, NUMBERS // triton.next_power_of_2(d))
    return min(most, triton.next_power_of_2(queries))


def _launch(
    kernel: Any, q: Tensor, k: Tensor, tensors: tuple[Tensor, ...], **constants: int
) -> None:
    """Run a kernel on all rows and queries."""
    rows, queries, d = q.shape
    own, width = _queries_of_a_program(queries, d), triton.next_power_of_2(d)
    with torch.cuda.device_of(q):
        kernel[rows, triton.cdiv(queries, own)](
            *tensors,
            k.shape[1],
            queries,
            d,
            CHUNK=CHUNK,
            OWN=own,
            WIDTH=width,
            num_warps=max(1, min(16, own * width // NUMBERS_OF_A_WARP)),
            **constants,
        )


@triton.jit
@no_type_check
def _forward(
    q,
    k,
    w,
    beta,
    scores,
    ends,
    entering,
    length,
    queries,
    d,
    CHUNK: tl.constexpr,
    OWN: tl.constexpr,
    WIDTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    t = tl.program_id(1) * OWN + tl.arange(0, OWN)[:, None]
    n = tl.arange(0, WIDTH)[None, :]
    back = at(q, row, t, n, queries, d)
    chunks = tl.cdiv(length, CHUNK)
    seen = tl.minimum(chunks, tl.cdiv((tl.program_id(1) + 1) * OWN, CHUNK))
    for s in range(seen * CHUNK, length):
        put(scores, tl.zeros([OWN, 1], tl.float32), row, s, t, length, queries)
    for i in range(seen):
        chunk = seen - 1 - i
        put(entering, back, row * chunks + chunk, t, n, queries, d)
        for j in range(CHUNK):
            s = chunk * CHUNK + CHUNK - 1 - j
            score = tl.sum(back * at(k, row, s, n, length, d), 1, keep_dims=True)
            put(scores, tl.where(t >= s, score, 0.0), row, s, t, length, queries)
            back = _before(back, w, beta, row, s, t, n, length, d)
    put(ends, back, row, t, n, queries, d)


@triton.jit
@no_type_check
def _before(back, w, beta, row, s, t, n, length, d):
    """The queries before the map of position s, which those before s do not pass."""
    w_s, beta_s = at(w, row, s, n, length, d), at(beta, row, s, n * 0, length, 1)
    removed = beta_s * tl.sum(back * w_s, 1, keep_dims=True)
    return tl.where(t >= s, back - removed * w_s, back)


@triton.jit
@no_type_check
def _backward(
    k,
    w,
    beta,
    entering,
    dscores,
    dends,
    dq,
    dk,
    dw,
    dbeta,
    length,
    queries,
    d,
    CHUNK: tl.constexpr,
    PART: tl.constexpr,
    OWN: tl.constexpr,
    WIDTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    part = row * tl.num_programs(1) + tl.program_id(1)
    t = tl.program_id(1) * OWN + tl.arange(0, OWN)[:, None]
    n, one = tl.arange(0, WIDTH)[None, :], tl.arange(0, 1)[None, :]
    dback = at(dends, row, t, n, queries, d)
    chunks = tl.cdiv(length, CHUNK)
    seen = tl.minimum(chunks, tl.cdiv((tl.program_id(1) + 1) * OWN, CHUNK))
    for i in range(seen * (CHUNK // PART)):
        start = i * PART
        chunk = start // CHUNK
        back = at(entering, row * chunks + chunk, t, n, queries, d)
        for j in range(chunk * CHUNK + CHUNK - start - PART):
            s = chunk * CHUNK + CHUNK - 1 - j
            back = _before(back, w, beta, row, s, t, n, length, d)
        held = ()
        for j in tl.static_range(PART):
            held = held + (back,)
            s = start + PART - 1 - j
            back = _before(back, w, beta, row, s, t, n, length, d)
        for j in tl.static_range(PART):
            s, back = start + j, held[PART - 1 - j]
            k_s, w_s = at(k, row, s, n, length, d), at(w, row, s, n, length, d)
            beta_s = at(beta, row, s, n * 0, length, 1)
            dscore = tl.where(t >= s, at(dscores, row, s, t, length, queries), 0.0)
            dafter = tl.where(t >= s, dback, 0.0)
            along = tl.sum(back * w_s, 1, keep_dims=True)
            dalong = tl.sum(dafter * w_s, 1, keep_dims=True)
            by_w = tl.sum(along * dafter + dalong * back, 0, keep_dims=True)
            put(dk, tl.sum(dscore * back, 0, keep_dims=True), part, s, n, length, d)
            put(dw, -beta_s * by_w, part, s, n, length, d)
            put(dbeta, -tl.sum(along * dalong, 0, keep_dims=True), part, s, one, length, 1)
            dback += dscore * k_s - beta_s * dalong * w_s
    for s in range(seen * CHUNK, length):
        nothing = tl.zeros([1, WIDTH], tl.float32)
        put(dk, nothing, part, s, n, length, d)
        put(dw, nothing, part, s, n, length, d)
        put(dbeta, tl.sum(nothing, 1, keep_dims=True), part, s, one, length, 1)
    put(dq, dback, row, t, n, queries, d)
