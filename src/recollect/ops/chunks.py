"""Helpers for the chunked forms of recurrences with decay.

The decay between two positions is the product of the decays between them, or the sum of their
logarithms. It is never a quotient, nor a difference of sums from the start. So nothing overflows,
and a weak decay after a strong one keeps its digits.

Dimensions: L length, C length of a chunk, n number of chunks, t position of a read, s position of
a write, d_k width of a key, r reading vectors per position, u writing vectors per position. All
leading dimensions broadcast.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from recollect.ops import forms


def in_chunks(x: Tensor, chunk: int, *, dim: int) -> Tensor:
    """Split a dimension (counted from the end) into chunks; zeros fill up the last chunk."""
    missing = -x.shape[dim] % chunk
    if not missing and forms.form_for(x) != "cpu":  # where a copy is a launch
        return x.unflatten(dim, (-1, chunk))
    return F.pad(x, (0, 0) * (-dim - 1) + (0, missing)).unflatten(dim, (-1, chunk))


def power_of_two(at_least: int) -> int:
    """The smallest power of two that is at least `at_least`."""
    return 1 << (at_least - 1).bit_length()


def scan_by_doubling(
    a: Float[Tensor, "... L channels"], b: Float[Tensor, "... L channels"], *, backwards: bool
) -> Float[Tensor, "... L channels"]:
    """The states h_t = a_t h_{t-1} + b_t, or, backwards, h_t = a_t h_{t+1} + b_t.

    Blocks of scanned positions double in length until one block holds them all. To join two blocks,
    every position of the second adds the decayed state at the border. From then on its decay is
    counted from the start of the joined block. Each doubling takes two operators.
    """
    length = b.shape[-2]
    missing = power_of_two(length) - length
    decays, states = (F.pad(x, (0, 0, 0, missing)) for x in (a, b))  # copies, in any case
    given, taking, border = (1, 0, 0) if backwards else (0, 1, -1)
    block = 1
    while block < length:
        pairs = [x.unflatten(-2, (-1, 2, block)) for x in (decays, states)]
        decay, state = (x.select(-3, taking) for x in pairs)
        border_decay, border_state = (x.select(-3, given)[..., border, None, :] for x in pairs)
        state.addcmul_(decay, border_state)
        decay.mul_(border_decay)
        block *= 2
    return states[..., :length, :]


def decay_between(log_decay: Float[Tensor, "... C"]) -> Float[Tensor, "... C C"]:
    """The product of the decays over (s, t]; 1 for s >= t."""
    chunk = log_decay.shape[-1]
    after = torch.ones(chunk, chunk, dtype=torch.bool, device=log_decay.device).tril(-1)  # i > s
    return torch.where(after, log_decay[..., :, None], 0).cumsum(-2).exp()


def weakened_products(
    readers: Float[Tensor, "... C r d_k"],
    writers: Float[Tensor, "... C u d_k"],
    w: Float[Tensor, "... C d_k"],
) -> tuple[
    Float[Tensor, "... C r C u"],
    Float[Tensor, "... C r d_k"],
    Float[Tensor, "... C u d_k"],
    Float[Tensor, "... d_k"],
]:
    """Products of readers at t with writers at s < t, times the decay between s and t.

    The decay is the product w_s+1 ... w_t-1 of each channel. Blocks double in length, from single
    positions to the whole chunk, whose length is a power of two. Across the border of two halves of
    a block, the decay is the writer's from s to the border times the reader's from the border to t.

    Returns:
        The products, 0 for s >= t; the readers, decayed since the start of the chunk; the writers,
        decayed until its end; and the decay over the whole chunk.
    """
    (chunk, r), u = readers.shape[-3:-1], writers.shape[-2]
    decay = w[..., None, :]
    products = readers.new_zeros(*readers.shape[:-1], u)  # of each position with itself
    while readers.shape[-3] > 1:
        (early_r, late_r), (early_w, late_w) = halves(readers), halves(writers)
        (early_p, late_p), (early_decay, late_decay) = halves(products), halves(decay)
        below = torch.cat([late_r @ early_w.mT, late_p], dim=-1)
        products = torch.cat([F.pad(early_p, (0, early_p.shape[-1])), below], dim=-2)
        readers = torch.cat([early_r, early_decay * late_r], dim=-2)
        writers = torch.cat([late_decay * early_w, late_w], dim=-2)
        decay = early_decay * late_decay
    products = products.squeeze(-3).unflatten(-1, (chunk, u)).unflatten(-3, (chunk, r))
    readers, writers = (x.squeeze(-3).unflatten(-2, (chunk, -1)) for x in (readers, writers))
    return products, readers, writers, decay[..., 0, 0, :]


def halves(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """The even and the odd entries along dimension -3."""
    first, second = blocks.unflatten(-3, (-1, 2)).unbind(-3)
    return first, second
