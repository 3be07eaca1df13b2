"""Exact draws for whole batches at once, in torch on the CPU.

Nothing is approximate, and nothing depends on the machine: integers are compared, or numbers of
float64 whose last digits, where machines differ, decide nothing.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64, Int64
from torch import Generator, Tensor

from recollect.seeding import derive_seed


def generator(seed: int) -> Generator:
    """The generator that `seed` names.

    Torch reads 32 bits of a seed on the CPU; the hash makes those depend on all of it.
    """
    return Generator().manual_seed(derive_seed("batch", seed))


def distinct(n: int, count: int, size: int, source: Generator) -> Int64[Tensor, "{n} {count}"]:
    """For each of `n` rows, `count` different numbers below `size`, every ordered choice equally
    likely."""
    if 2 * count > size:
        scores = torch.randint(2**40, (n, size), generator=source)
        return sort_rows(scores)[1][:, :count]
    # Redraw repeats until there are none. That is exact: which entries are redrawn depends only on
    # which are equal, so no choice of different numbers is favoured over another.
    drawn = torch.randint(size, (n, count), generator=source)
    rows = torch.arange(n)
    while len(rows):
        entries = drawn[rows]
        ordered, place = sort_rows(entries)
        repeats = torch.zeros_like(entries, dtype=torch.bool)
        repeats.scatter_(1, place[:, 1:], ordered[:, 1:] == ordered[:, :-1])
        entries[repeats] = torch.randint(size, (int(repeats.sum()),), generator=source)
        drawn[rows] = entries
        rows = rows[repeats.any(dim=1)]
    return drawn


def weighted(
    n: int, count: int, log_weights: Float64[Tensor, " size"], source: Generator
) -> Int64[Tensor, "{n} {count}"]:
    """For each of `n` rows, `count` different indices drawn one after the other, each time with
    probability proportional to the weights of those that are left; in the order drawn.

    These are the largest of log weight + Gumbel noise (Vieira, 2014; Kool et al., 2019,
    arXiv 1903.06059, section 2.3).
    """
    uniform = torch.rand(n, len(log_weights), dtype=torch.float64, generator=source)
    gumbel = uniform.neg_().log1p_().neg_().log_().neg_()
    return gumbel.add_(log_weights).topk(count, dim=1).indices


def allowed(
    n: int, count: int, size: int, excluded: Int64[Tensor, "{n} k"], source: Generator
) -> Int64[Tensor, "{n} {count}"]:
    """For each of `n` rows, `count` numbers below `size`, independent and uniform over those that
    are not among the row's `excluded` (which differ from one another)."""
    k = excluded.shape[1]
    ranks = torch.randint(size - k, (n, count), generator=source)
    # below the i-th excluded number e_i lie e_i - i allowed ones: all later ranks are shifted by it
    below = sort_rows(excluded)[0] - torch.arange(k)
    return ranks + torch.searchsorted(below, ranks, right=True)


def sort_rows(
    numbers: Int64[Tensor, "n k"],
) -> tuple[Int64[Tensor, "n k"], Int64[Tensor, "n k"]]:
    """Each row in ascending order, and where in the row each number was, the first of equals first.

    The numbers must be below 2**63 / (2 k): the place is packed into their last bits, which takes a
    third of the time of `torch.sort` on short rows.
    """
    k = numbers.shape[1]
    bits = k.bit_length()
    packed = (numbers << bits).bitwise_or_(torch.arange(k))
    packed.numpy().sort(axis=1)  # in the same memory
    return packed >> bits, packed.bitwise_and_((1 << bits) - 1)


def draw_pairs(
    n: int, num_kv_pairs: int, vocab_size: int, source: Generator
) -> tuple[Int64[Tensor, "{n} {num_kv_pairs}"], Int64[Tensor, "{n} {num_kv_pairs}"]]:
    """For each of `n` examples, different keys from the first half of the vocabulary, but for token
    0, and different values from the second half."""
    half = vocab_size // 2
    keys = 1 + distinct(n, num_kv_pairs, half - 1, source)
    values = half + distinct(n, num_kv_pairs, num_values(vocab_size), source)
    return keys, values


def num_values(vocab_size: int) -> int:
    """How many token ids are values: the second half."""
    return vocab_size - vocab_size // 2


def spell_pair_token(token: int, vocab_size: int) -> str:
    """`k3` for a key, `v3` for a value, a dot for token 0."""
    half = vocab_size // 2
    if token == 0:
        return "."
    return f"k{token}" if token < half else f"v{token - half}"
