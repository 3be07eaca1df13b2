"""Helpers for the chunked forms of the delta rules.

A write depends on the writes before it, so the writes of a chunk solve a unit lower triangular
system. With the inverse of its matrix (the UT transform) a chunk is a few matrix products, and the
recurrence only carries the state from chunk to chunk.

Dimensions: L length, C length of a chunk, n number of chunks, d_k width of a key, d_v width of a
value.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.ops import forms
from recollect.ops.chunks import power_of_two

CHUNK = 16
"""Length of a chunk on the CPU, a power of two (measured on one CPU core, forward and backward, 128
sequences of 256 positions, two heads of width 32: chunks of 16, 32 and 64 take 0.19, 0.22 and
0.33 s for the gated rule, 0.52, 0.69 and 0.97 s for the generalized one; with one head of width 64,
16 and 32 take the same time)."""
GPU_CHUNK = 64
"""Length of a chunk on other devices, where fewer iterations make up for larger products."""


def read(
    state: Float[Tensor, "... d_k d_v"], key: Float[Tensor, "... d_k"]
) -> Float[Tensor, "... d_v"]:
    """Read the state at a key: S' k."""
    return (key[..., None, :] @ state).squeeze(-2)


def outer(x: Float[Tensor, "... d_k"], y: Float[Tensor, "... d_v"]) -> Float[Tensor, "... d_k d_v"]:
    """The outer product x y'."""
    return x[..., :, None] * y[..., None, :]


def solving(chunk: int) -> int:
    """Multiply-adds of the inverse of a unit lower triangular matrix, by substitution."""
    return chunk**2 * (chunk - 1) // 2


def longest_chunk(like: Tensor) -> int:
    """The longest chunk for the device of a tensor."""
    return CHUNK if forms.form_for(like) == "cpu" else GPU_CHUNK


def power_of_two_chunk(length: int, longest: int = CHUNK) -> int:
    """Length of a chunk that must be a power of two."""
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
    """Carry the state S from chunk to chunk; a chunk writes E = writes - held S at its keys k."""
    state, outputs = k.new_zeros(k.shape[-1], writes.shape[-1]), []
    arguments = (writes, held, k, q, scores, decay, added)
    for writes_i, held_i, k_i, q_i, scores_i, decay_i, added_i in zip(
        *(x.unbind(-3) for x in arguments), strict=True
    ):
        written = writes_i - held_i @ state
        outputs.append(q_i @ state + scores_i @ written)
        state = decay_i * state + k_i.mT @ written + added_i
    return torch.cat(outputs, dim=-2), state
