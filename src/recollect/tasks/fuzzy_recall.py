"""Fuzzy in-context recall: keys and values of several letters (MAD, Poli et al., 2024, arXiv
2403.17844; athms/mad-lab, `mad/data/instances.py`).

    k1 k4 v3  k2 v1 v5  k3 k1 k2 v2 v1  k1 k4 v3
                                           *
"""

from __future__ import annotations

import torch
from jaxtyping import Int64
from pydantic import Field, PrivateAttr, model_validator
from torch import Generator, Tensor

from recollect.errors import UserError
from recollect.tasks._in_context import InContext
from recollect.tasks._label import short_label
from recollect.tasks._sampling import generator
from recollect.tasks._vocabulary import Vocabulary
from recollect.tasks.batch import Batch
from recollect.tasks.task import Split, register_task


@register_task("fuzzy-in-context-recall")
class FuzzyRecall(InContext):
    """In-context recall of words.

    Keys and values have up to three letters each, all different. Every next token is a target, and
    the last pair occurred before.

    In training keys have any number of letters, in validation and test the largest; values have any
    number in all of them. Words of equal length are equally likely. One pair occurs at a random
    place and again at the end; pads fill up the front. The public generator sometimes leaves out
    the first occurrence, if its place is too far back; here it is always in the input.

    Attributes:
        seq_len: length of the input, in tokens.
        vocab_size: number of token ids: letters of keys, letters of values, and the pad.
        k_motif_size: largest number of letters in a key.
        v_motif_size: largest number of letters in a value.

    Raises:
        UserError: if there are too few letters, or seq_len is too short.
    """

    seq_len: int = Field(default=128, gt=0)
    vocab_size: int = 16
    k_motif_size: int = Field(default=3, gt=0)
    v_motif_size: int = Field(default=3, gt=0)
    _part: Split = PrivateAttr(default="train")

    @model_validator(mode="after")
    def _fits(self) -> FuzzyRecall:
        needed = 2 * max(self.k_motif_size, self.v_motif_size, 2) + 1
        if self.vocab_size < needed:
            raise UserError(
                f"vocab_size={self.vocab_size} has too few letters: use at least {needed}"
            )
        needed = 3 * self._longest
        if self.seq_len < needed:
            raise UserError(f"seq_len={self.seq_len} is too short for pairs: use at least {needed}")
        return self

    @property
    def _longest(self) -> int:
        return self.k_motif_size + self.v_motif_size

    @property
    def tokens(self) -> Vocabulary:
        """The ranges of token ids: letters of keys, letters of values, the pad."""
        letters = self.vocab_size - 1
        return Vocabulary({"k": letters // 2, "v": letters - letters // 2, ".": 1})

    @property
    def label(self) -> str:
        """A label like `fuzzy-in-context-recall-128`, with settings not at their defaults."""
        letters = {"vocab_size": "v", "k_motif_size": "k", "v_motif_size": "w"}
        return short_label(self, str(self.seq_len), letters)

    @property
    def max_len(self) -> int:
        """Length of the input: `seq_len`."""
        return self.seq_len

    def split(self, name: Split) -> FuzzyRecall:
        """Return the task with the keys of training, or those of validation and test."""
        other = self.model_copy()
        other._part = name
        return other

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        source = generator(seed)
        text = _Text(n, self.seq_len + 1, self.tokens["."])
        # the pair asked at the end, and the earliest place of its first occurrence
        asked = self._draw(n, source)
        ends = self.seq_len - asked.size - self._longest  # pairs begin before this place
        from_here = (torch.rand(n, dtype=torch.float64, generator=source) * ends).long()
        is_read = torch.zeros(n, dtype=torch.bool)
        most = -(-int(ends.max()) // 2)  # pairs of two letters
        read = _Pairs.none(n, most, self.k_motif_size, self.v_motif_size)
        turn = 0
        while bool((text.length < ends).any()):
            writes = text.length < ends
            drawn = self._draw(n, source)
            may_be_last = text.length + self._longest >= ends
            now = ((text.length >= from_here) | may_be_last) & ~is_read
            pair = drawn.where(now, asked)
            same = (read.key[:, :turn] == pair.key[:, None]).all(2)
            known = same.any(1)
            if turn:
                pair = pair.with_value(known, read.at(same.long().argmax(1)))
            is_asked = (pair.key == asked.key).all(1)
            pair = pair.with_value(is_asked, asked)
            is_read |= writes & is_asked
            read.key[writes, turn], read.value[writes, turn] = pair.key[writes], pair.value[writes]
            text.write(pair, writes, known)
            turn += 1
        everywhere = torch.ones(n, dtype=torch.bool)
        text.write(asked, everywhere, everywhere)
        tokens, marks = text.padded()
        return Batch(tokens[:, :-1], None, tokens[:, 1:], marks[:, 1:])

    def _draw(self, n: int, source: Generator) -> _Pairs:
        """Draw a key and a value for each of `n` examples."""
        shortest = 1 if self._part == "train" else self.k_motif_size
        parts = []
        for name, low, high in (
            ("k", shortest, self.k_motif_size),
            ("v", 1, self.v_motif_size),
        ):
            size = torch.randint(low, high + 1, (n,), generator=source)
            scores = torch.randint(2**40, (n, self.tokens.sizes[name]), generator=source)
            letters = self.tokens[name] + scores.topk(high, dim=1).indices
            parts.append(letters.masked_fill_(torch.arange(high) >= size[:, None], -1))
        return _Pairs(*parts)


class _Pairs:
    """One or several keys and values for each example, with -1 after the last letter."""

    def __init__(self, key: Int64[Tensor, "n *p k"], value: Int64[Tensor, "n *p v"]) -> None:
        self.key, self.value = key, value

    @classmethod
    def none(cls, n: int, room: int, key_len: int, value_len: int) -> _Pairs:
        """Return room for several pairs, all empty."""
        return cls(*(torch.full((n, room, length), -1) for length in (key_len, value_len)))

    def at(self, places: Int64[Tensor, " n"]) -> _Pairs:
        """Select one of several pairs for each example."""
        rows = torch.arange(len(places))
        return _Pairs(self.key[rows, places], self.value[rows, places])

    @property
    def size(self) -> Int64[Tensor, " n"]:
        """Number of letters of key and value together."""
        return (self.key >= 0).sum(1) + (self.value >= 0).sum(1)

    def where(self, rows: Tensor, other: _Pairs) -> _Pairs:
        """Return the pairs, with those of `other` in some rows."""
        key = torch.where(rows[:, None], other.key, self.key)
        return _Pairs(key, self.value).with_value(rows, other)

    def with_value(self, rows: Tensor, other: _Pairs) -> _Pairs:
        """Return the pairs, with the values of `other` in some rows."""
        return _Pairs(self.key, torch.where(rows[:, None], other.value, self.value))


class _Text:
    """Sequences that grow independently of each other."""

    def __init__(self, n: int, room: int, pad: int) -> None:
        self.length, self._pad = torch.zeros(n, dtype=torch.int64), pad
        # the last place takes letters that are not written
        self._tokens = torch.full((n, room + 1), pad)
        self._marks = torch.zeros_like(self._tokens)

    def write(self, pair: _Pairs, rows: Tensor, marked: Tensor) -> None:
        """Append the letters of a pair in some rows, and mark its value where `marked`."""
        for letters, is_value in ((pair.key, False), (pair.value, True)):
            for letter in letters.T:
                there = rows & (letter >= 0)
                place = torch.where(there, self.length, self._tokens.shape[1] - 1)[:, None]
                self._tokens.scatter_(1, place, letter[:, None])
                self._marks.scatter_(1, place, (marked & is_value).long()[:, None])
                self.length += there

    def padded(self) -> tuple[Int64[Tensor, "n L"], Int64[Tensor, "n L"]]:
        """Return tokens and marks, with pads in front."""
        room = self._tokens.shape[1] - 1
        start = room - self.length
        place = torch.arange(room) - start[:, None]
        pads = place < 0
        tokens, marks = (each.gather(1, place.clamp(min=0)) for each in (self._tokens, self._marks))
        return tokens.masked_fill_(pads, self._pad), marks.masked_fill_(pads, 0)
