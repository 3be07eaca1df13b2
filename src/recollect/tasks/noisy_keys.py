"""MQAR with noisy queries: the answer is the value of the nearest key.

    a3 a1 a4 v1  a2 a2 a5 v2   a2 a7 a5 .  a3 a1 a6 .
                                     v2          v1

Lookup by exact equality fails here; a model that compares keys by similarity can succeed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Int64
from pydantic import Field, model_validator
from torch import Generator, Tensor

from recollect.errors import UserError
from recollect.tasks._recall import SlottedRecall
from recollect.tasks._sampling import distinct, generator, num_values
from recollect.tasks._vocabulary import Vocabulary
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, register_task


@register_task("noisy-keys")
class NoisyKeysMQAR(SlottedRecall):
    """Multi-query recall by the nearest key.

    A key is a word of `key_len` letters. In its query, `num_errors` letters at random places are
    replaced by other letters. Keys and errors are drawn independently and uniformly, and drawn
    again until every query differs in fewer places from its own key than from any other. Letters
    are token ids from 1 on; values come from the second half of the vocabulary.

    Attributes:
        key_len: number of letters in a key.
        num_letters: number of different letters.
        num_errors: number of wrong letters in a query.

    Raises:
        UserError: if seq_len is too short for the queries, the vocabulary is too small, or keys
            would be too close to each other.
    """

    letters: ClassVar[Mapping[str, str]] = {
        "key_len": "l",
        "num_letters": "n",
        "num_errors": "e",
        **SlottedRecall.letters,
    }

    key_len: int = Field(default=4, gt=0)
    num_letters: int = Field(default=16, gt=1)
    num_errors: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _is_unambiguous(self) -> NoisyKeysMQAR:
        if 2 * self.num_errors >= self.key_len:
            raise UserError(
                f"num_errors={self.num_errors} of key_len={self.key_len} letters: expected fewer"
                " than half of the letters"
            )
        near = sum(
            math.comb(self.key_len, errors) * (self.num_letters - 1) ** errors
            for errors in range(self.num_errors + 1)
        )
        # the expected number of keys too near a query; with more, sampling might never end
        if self.num_kv_pairs**2 * near > self.num_letters**self.key_len:
            raise UserError(
                f"num_kv_pairs={self.num_kv_pairs} keys of key_len={self.key_len} letters out of"
                f" num_letters={self.num_letters} are too close to each other: use longer keys or"
                " more letters"
            )
        needed = 2 * max(self.num_letters + 1, self.num_kv_pairs)
        if self.vocab_size < needed:
            raise UserError(f"vocab_size={self.vocab_size} is too small: use at least {needed}")
        return self

    @property
    def _tokens(self) -> Vocabulary:
        half = self.vocab_size // 2
        rest = half - 1 - self.num_letters
        return Vocabulary({".": 1, "a": self.num_letters, "-": rest, "v": self.vocab_size - half})

    @property
    def query_len(self) -> int:
        """Number of letters in a query."""
        return self.key_len

    @property
    def context_len(self) -> int:
        """Number of tokens before the first slot: a key and a value for each pair."""
        return (self.key_len + 1) * self.num_kv_pairs

    @property
    def context_tokens(self) -> int:
        """The most different tokens before the first slot: letters and values."""
        return min(self.num_letters, self.num_kv_pairs * self.key_len) + self.num_kv_pairs

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        source, tokens, pairs = generator(seed), self._tokens, self.num_kv_pairs
        values = tokens["v"] + distinct(n, pairs, num_values(self.vocab_size), source)
        words = torch.empty(2, n, pairs, self.key_len, dtype=torch.int64)
        rows = torch.arange(n)
        while len(rows):
            words[:, rows] = self._draw(len(rows), source)
            keys, queries = words[:, rows]
            too_near = torch.zeros(len(rows), dtype=torch.bool)
            for pair in range(pairs):
                apart = (queries != keys[:, pair, None]).sum(-1)
                apart[:, pair] = self.key_len  # not its own query
                too_near |= (apart <= self.num_errors).any(1)
            rows = rows[too_near]
        keys, queries = tokens["a"] + words
        context = torch.cat([keys, values[:, :, None]], dim=-1).flatten(1)
        return self.ask(context, queries, values, source)

    def _draw(self, n: int, source: Generator) -> Int64[Tensor, "2 {n} D w"]:
        """Draw keys and their queries, which may be too near other keys."""
        shape = (n, self.num_kv_pairs, self.key_len)
        keys = torch.randint(self.num_letters, shape, generator=source)
        wrong = distinct(n * self.num_kv_pairs, self.num_errors, self.key_len, source)
        shifts = torch.randint(1, self.num_letters, wrong.shape, generator=source)
        shift = torch.zeros(len(wrong), self.key_len, dtype=torch.int64).scatter_(1, wrong, shifts)
        return torch.stack([keys, (keys + shift.view(shape)) % self.num_letters])

    def context_roles(self) -> list[Role]:
        """Return the roles of the pairs: letters of a key and a value each."""
        return [*[Role.KEY] * self.key_len, Role.VALUE] * self.num_kv_pairs

    def spell(self, token: int) -> str:
        """Return `a3` for a letter, `v3` for a value, a dot for token 0."""
        return self._tokens.spell(token)
