"""What the chunked forms of the delta rules share.

What a position writes depends on what those before it wrote, so the writes of one chunk solve a
unit lower triangular system. With the inverse of its matrix (the UT transform) a chunk is a few
matrix products, and a recurrence only carries the memory from chunk to chunk.

Letters: L length, C length of a chunk, n number of chunks, d_k width of a key, d_v of a value.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.ops import forms
from recollect.ops.chunks import power_of_two

CHUNK = 16
"""Length of a chunk, a power of two (measured on one CPU core, forward and backward, 128 sequences
of 256 positions, two heads of width 32: the gated rule takes 0.19, 0.22 and 0.33 s in chunks of 16,
32 and 64, the generalized one 0.52, 0.69 and 0.97 s; with one head of width 64, 16 and 32 are
alike)."""
GPU_CHUNK = 64
"""The same off the CPU, where a loop with fewer turns is worth longer products."""


def read(
    state: Float[Tensor, "... d_k d_v"], key: Float[Tensor, "... d_k"]
) -> Float[Tensor, "... d_v"]:
    """What the memory holds at a key."""
    return (key[..., None, :] @ state).squeeze(-2)


def outer(x: Float[Tensor, "... d_k"], y: Float[Tensor, "... d_v"]) -> Float[Tensor, "... d_k d_v"]:
    """x y'."""
    return x[..., :, None] * y[..., None, :]


def solving(chunk: int) -> int:
    """Multiply-adds of the inverse of a unit lower triangular matrix, by substitution."""
    return chunk**2 * (chunk - 1) // 2


def longest_chunk(like: Tensor) -> int:
    """Where such a tensor is."""
    return CHUNK if forms.form_for(like) == "cpu" else GPU_CHUNK


def power_of_two_chunk(length: int, longest: int = CHUNK) -> int:
    """Length of a chunk, where it has to be a power of two."""
    return min(longest, power_of_two(length))


def over_chunks(
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
