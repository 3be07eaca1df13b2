"""Exact sampling of whole batches in torch on the CPU.

Nothing is approximate, and results do not depend on the machine: draws compare integers, or float64
numbers whose last digits, in which machines differ, do not matter.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64, Int64
from torch import Generator, Tensor

from recollect.seeding import derive_seed


def generator(seed: int) -> Generator:
    """Return the generator for a seed.

    On the CPU torch uses only 32 bits of a seed; the hash makes them depend on the whole seed.
    """
    return Generator().manual_seed(derive_seed("batch", seed))


def distinct(n: int, count: int, size: int, source: Generator) -> Int64[Tensor, "{n} {count}"]:
    """Draw `count` different numbers below `size` for each of `n` rows.

    Every ordered choice is equally likely.
    """
    assert count <= size, (
        f"{count} different numbers below {size}: the task must refuse its options"
    )
    if 2 * count > size:
        scores = torch.randint(2**40, (n, size), generator=source)
        return sort_rows(scores)[1][:, :count]
    # Redraw repeats until there are none. This is exact: the redrawn entries depend only on which
    # entries are equal, so all choices of different numbers stay equally likely.
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
    """Draw `count` different indices by weight for each of `n` rows, in the order drawn.

    Indices are drawn one after the other without replacement, with probability proportional to
    their weights. They are the largest values of log weight + Gumbel noise (Vieira, 2014; Kool et
    al., 2019, arXiv 1903.06059, section 2.3).
    """
    uniform = torch.rand(n, len(log_weights), dtype=torch.float64, generator=source)
    gumbel = uniform.neg_().log1p_().neg_().log_().neg_()
    return gumbel.add_(log_weights).topk(count, dim=1).indices


def allowed(
    n: int, count: int, size: int, excluded: Int64[Tensor, "{n} k"], source: Generator
) -> Int64[Tensor, "{n} {count}"]:
    """Draw `count` numbers below `size` for each of `n` rows, except the row's `excluded` ones.

    Numbers are independent and uniform over the rest; excluded numbers must differ from each other.
    """
    k = excluded.shape[1]
    ranks = torch.randint(size - k, (n, count), generator=source)
    # e_i - i allowed numbers are below the i-th excluded number e_i; it shifts all later ranks
    below = sort_rows(excluded)[0] - torch.arange(k)
    return ranks + torch.searchsorted(below, ranks, right=True)


def sort_rows(
    numbers: Int64[Tensor, "n k"],
) -> tuple[Int64[Tensor, "n k"], Int64[Tensor, "n k"]]:
    """Sort each row, and return the sorted numbers and their original places; the sort is stable.

    Numbers must be below 2**63 / (2 k): the place is packed into the last bits, which takes a third
    of the time of `torch.sort` on short rows.
    """
    k = numbers.shape[1]
    bits = k.bit_length()
    packed = (numbers << bits).bitwise_or_(torch.arange(k))
    packed.numpy().sort(axis=1)  # in place
    return packed >> bits, packed.bitwise_and_((1 << bits) - 1)


def draw_pairs(
    n: int, num_kv_pairs: int, vocab_size: int, source: Generator
) -> tuple[Int64[Tensor, "{n} {num_kv_pairs}"], Int64[Tensor, "{n} {num_kv_pairs}"]]:
    """Draw keys and values of `n` examples, without repetition within an example.

    Keys come from the first half of the vocabulary without token 0, values from the second half.
    """
    half = vocab_size // 2
    keys = 1 + distinct(n, num_kv_pairs, half - 1, source)
    values = half + distinct(n, num_kv_pairs, num_values(vocab_size), source)
    return keys, values


def num_values(vocab_size: int) -> int:
    """Return the number of values, the second half of the token ids."""
    return vocab_size - vocab_size // 2


def spell_pair_token(token: int, vocab_size: int) -> str:
    """Return `k3` for a key, `v3` for a value, a dot for token 0."""
    half = vocab_size // 2
    if token == 0:
        return "."
    return f"k{token}" if token < half else f"v{token - half}"
