"""What the chunked forms of memories with decay share.

Decays are multiplied on, or their logarithms summed up, from one position to the other; never
divided, nor taken as a difference of sums from the start. So nothing overflows, and a weak decay
after a strong one keeps its digits.

Letters: L length, C length of a chunk, n number of chunks, t the position that reads, s the one
that has written, d_k width of a key, r and u how many vectors each position has that read and that
write. All leading dimensions broadcast.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from recollect.ops import forms


def in_chunks(x: Tensor, chunk: int, *, dim: int) -> Tensor:
    """Split a dimension, counted from the end, into chunks, the last filled up with zeros."""
    missing = -x.shape[dim] % chunk
    if not missing and forms.form_for(x) != "cpu":  # where a copy is a launch
        return x.unflatten(dim, (-1, chunk))
    return F.pad(x, (0, 0) * (-dim - 1) + (0, missing)).unflatten(dim, (-1, chunk))


def power_of_two(at_least: int) -> int:
    """The smallest one."""
    return 1 << (at_least - 1).bit_length()


def scan_by_doubling(
    a: Float[Tensor, "... L channels"], b: Float[Tensor, "... L channels"], *, backwards: bool
) -> Float[Tensor, "... L channels"]:
    """The states h_t = a_t h_{t-1} + b_t, or, backwards, h_t = a_t h_{t+1} + b_t.

    It takes two operators each time that blocks of positions double, from one position to all.
    Where two blocks meet, every position of the one takes up the other's state at the border; its
    decay from the border on is kept in place of its own.
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
    """The product of the decays over (s, t]; 1, that of none, for s >= t."""
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
    """Products of what reads at t with what was written at s < t, weakened by the decays between.

    These are the w_s+1 ... w_t-1 of each channel. Where two halves of a block meet, the decay
    between t and s is the writer's from s to the border times the reader's from the border to t.
    So blocks double, from single positions to the chunk, whose length is a power of two.

    Returns:
        The products, 0 for s >= t; the readers, weakened from the start of the chunk; the writers,
        weakened to its end; and the decay over the whole of it.
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
    """The first and the second of each pair of neighbours along dimension -3."""
    first, second = blocks.unflatten(-3, (-1, 2)).unbind(-3)
    return first, second
