"""Dropout whose masks depend neither on the device nor on what else is computed.

    y_i = x_i m_i / (1 - p),   m_i = 1 where hash(key, call, example, i) >= 2^32 p, else 0

where i is the index of an element within its example. A random generator draws masks that depend on
how many elements are drawn at once, so a model in a population, or with half of its batch, would
get other masks than alone. The hash is the 32-bit integer hash "triple32" (Wellons,
github.com/skeeto/hash-prospector). The two words of the key are mixed in before its first and its
second round.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int32
from torch import Tensor

WORD = 2**32
CALLS_APART = 0x9E3779B9
"""The number of a call times this is mixed into the key. It is odd (the fraction of the golden
ratio in 32 bits), so no two calls share a key."""


@dataclass
class _Masks:
    """The masks of one forward pass: its key, its first example, and the number of calls so far."""

    key: Int32[Tensor, " 2"] | tuple[int, int]
    first: int
    calls: int = 0


_MASKS: ContextVar[_Masks | None] = ContextVar("masks", default=None)


@contextmanager
def masks_of(key: Int32[Tensor, " 2"] | tuple[int, int] | None, first: int = 0) -> Iterator[None]:
    """Context in which a forward pass takes its dropout masks from a key.

    Args:
        key: from `key_words`, or as a tensor; None: for passes without dropout.
        first: index in the whole batch of the first example; a pass may see a part of the batch.
    """
    token = _MASKS.set(None if key is None else _Masks(key, first))
    try:
        yield
    finally:
        _MASKS.reset(token)


def key_words(seed: int) -> tuple[int, int]:
    """Return the key of a seed of up to 64 bits, as two 32-bit integers."""
    return _signed(seed), _signed(seed >> 32)


def dropout(x: Float[Tensor, " examples *place"], p: float) -> Float[Tensor, " examples *place"]:
    """Set a fraction p of the elements to 0 at random, and scale the rest by 1 / (1 - p).

    Outside of `masks_of` PyTorch's generator draws the key.
    """
    return x * kept(x, p) / (1 - p)


def kept(x: Float[Tensor, " examples *place"], p: float) -> Bool[Tensor, " examples *place"]:
    """Return the mask of dropout, True for the elements to keep."""
    return _words(x) >= _signed(round(p * WORD) - WORD // 2)


def uniform(x: Float[Tensor, " examples *place"]) -> Float[Tensor, " examples *place"]:
    """Draw a number in the open interval (0, 1) for each element of x, in the way of the masks."""
    return ((_words(x).double() + WORD // 2 + 0.5) / WORD).to(x.dtype).clamp(max=_below_one(x))


def _words(x: Float[Tensor, " examples *place"]) -> Int32[Tensor, " examples *place"]:
    """A random 32-bit word for each element of x."""
    masks = _MASKS.get()
    if masks is None:
        drawn = torch.randint(-WORD // 2, WORD // 2, (2,), dtype=torch.int32, device=x.device)
        masks = _Masks(drawn, 0)
    low, high = masks.key.unbind(-1) if isinstance(masks.key, Tensor) else masks.key
    high = high ^ _signed(masks.calls * CALLS_APART)
    masks.calls += 1
    last = masks.first + len(x)
    examples = torch.arange(masks.first, last, dtype=torch.int32, device=x.device)
    places = torch.arange(math.prod(x.shape[1:]), dtype=torch.int32, device=x.device)
    return _hash(places, _hash(examples, low, high)[:, None], high).view(x.shape)


def _below_one(x: Tensor) -> float:
    """The largest number below 1 in x's type."""
    return 1 - torch.finfo(x.dtype).eps / 2


def _hash(
    x: Int32[Tensor, ...], low: Int32[Tensor, ...] | int, high: Int32[Tensor, ...] | int
) -> Int32[Tensor, ...]:
    x = x ^ low
    x = (x ^ _down(x, 17)) * _signed(0xED5AD4BB)
    x = x ^ high
    x = (x ^ _down(x, 11)) * _signed(0xAC4C1B51)
    x = (x ^ _down(x, 15)) * _signed(0x31848BAB)
    return x ^ _down(x, 14)


def _down(x: Int32[Tensor, ...], bits: int) -> Int32[Tensor, ...]:
    """The word shifted right, filled with zeros."""
    return (x >> bits) & (2 ** (32 - bits) - 1)


def _signed(word: int) -> int:
    """The 32 lowest bits as a signed integer."""
    return (word + WORD // 2) % WORD - WORD // 2
