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

    Keys and values have up to three letters each, all different; every next token is a target, and
    the last pair has been read before.

    In training a key has any number of letters, in validation and test the largest; a value has any
    number in both. Words of one length are equally likely. One pair is put in at a random place,
    and comes again at the end; pads stand in front where that leaves room. The public generator
    sometimes does not put it in, when its place lies too far behind; here it is always read.

    Attributes:
        seq_len: tokens that a model reads.
        vocab_size: number of token ids: letters of keys, letters of values, and the pad.
        k_motif_size: the most letters of a key.
        v_motif_size: the most letters of a value.

    Raises:
        UserError: if there are too few letters, or no room.
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
            raise UserError(f"seq_len={self.seq_len} has no room for pairs: use at least {needed}")
        return self

    @property
    def _longest(self) -> int:
        return self.k_motif_size + self.v_motif_size

    @property
    def tokens(self) -> Vocabulary:
        """Letters of keys, letters of values, the pad."""
        letters = self.vocab_size - 1
        return Vocabulary({"k": letters // 2, "v": letters - letters // 2, ".": 1})

    @property
    def label(self) -> str:
        """`fuzzy-in-context-recall-128`, with those settings that are not the defaults."""
        letters = {"vocab_size": "v", "k_motif_size": "k", "v_motif_size": "w"}
        return short_label(self, str(self.seq_len), letters)

    @property
    def max_len(self) -> int:
        """`seq_len`."""
        return self.seq_len

    def split(self, name: Split) -> FuzzyRecall:
        """The same task with the keys of training, or of validation and test."""
        other = self.model_copy()
        other._part = name
        return other

    def sample(self, n: int, seed: int) -> Batch:
        """`n` examples; the same seed gives the same bytes."""
        source = generator(seed)
        text = _Text(n, self.seq_len + 1, self.tokens["."])
        # the pair that is asked at the end, and from where on it is read first
        asked = self._draw(n, source)
        ends = self.seq_len - asked.size - self._longest  # pairs begin before that
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
        """A key and a value for each of `n` examples."""
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
    """A key and a value for each example, or several, with -1 behind the last letter."""

    def __init__(self, key: Int64[Tensor, "n *p k"], value: Int64[Tensor, "n *p v"]) -> None:
        self.key, self.value = key, value

    @classmethod
    def none(cls, n: int, room: int, key_len: int, value_len: int) -> _Pairs:
        """Room for several pairs."""
        return cls(*(torch.full((n, room, length), -1) for length in (key_len, value_len)))

    def at(self, places: Int64[Tensor, " n"]) -> _Pairs:
        """One of several, for each example."""
        rows = torch.arange(len(places))
        return _Pairs(self.key[rows, places], self.value[rows, places])

    @property
    def size(self) -> Int64[Tensor, " n"]:
        """Letters of both."""
        return (self.key >= 0).sum(1) + (self.value >= 0).sum(1)

    def where(self, rows: Tensor, other: _Pairs) -> _Pairs:
        """Those of `other` in some rows."""
        key = torch.where(rows[:, None], other.key, self.key)
        return _Pairs(key, self.value).with_value(rows, other)

    def with_value(self, rows: Tensor, other: _Pairs) -> _Pairs:
        """The same keys, with the values of `other` in some rows."""
        return _Pairs(self.key, torch.where(rows[:, None], other.value, self.value))


class _Text:
    """Sequences that grow at their own pace."""

    def __init__(self, n: int, room: int, pad: int) -> None:
        self.length, self._pad = torch.zeros(n, dtype=torch.int64), pad
        self._tokens = torch.full((n, room + 1), pad)  # the last place takes what is left out
        self._marks = torch.zeros_like(self._tokens)

    def write(self, pair: _Pairs, rows: Tensor, marked: Tensor) -> None:
        """Append the letters of a pair in some rows, of which the value may be marked."""
        for letters, is_value in ((pair.key, False), (pair.value, True)):
            for letter in letters.T:
                there = rows & (letter >= 0)
                place = torch.where(there, self.length, self._tokens.shape[1] - 1)[:, None]
                self._tokens.scatter_(1, place, letter[:, None])
                self._marks.scatter_(1, place, (marked & is_value).long()[:, None])
                self.length += there

    def padded(self) -> tuple[Int64[Tensor, "n L"], Int64[Tensor, "n L"]]:
        """Tokens and marks, with the pads in front."""
        room = self._tokens.shape[1] - 1
        start = room - self.length
        place = torch.arange(room) - start[:, None]
        pads = place < 0
        tokens, marks = (each.gather(1, place.clamp(min=0)) for each in (self._tokens, self._marks))
        return tokens.masked_fill_(pads, self._pad), marks.masked_fill_(pads, 0)
