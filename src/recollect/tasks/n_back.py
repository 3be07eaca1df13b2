"""Recall of the value that a key had N writes ago (MQRAR-N-back in PaTH, Yang et al., 2025, arXiv
2505.16381).

    k1 v1 k2 v2 k1 v3 k2 v4  k2 .  k1 .  .  .      N = 2
                             v2    v1
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field, model_validator

from recollect.errors import UserError
from recollect.tasks._recall import SlottedRecall
from recollect.tasks._sampling import distinct, draw_pairs, generator, num_values, spell_pair_token
from recollect.tasks.batch import Batch
from recollect.tasks.task import register_task


@register_task("n-back")
class NBackRecall(SlottedRecall):
    """Multi-query recall of the value that each key had N writes ago.

    Each of the D keys is written `num_writes` times with a new value each time; all writes are in
    random order. Then every key is asked once; N = 1 asks for the last value. The paper uses 32
    pairs, 768 tokens and N from 1 to 4, and has no public code. The number of writes and the places
    of queries are our choice.

    Attributes:
        n_back: N, the answer is the value of the N-th last write.
        num_writes: number of writes of each key.

    Raises:
        UserError: if seq_len is too short for the queries, N exceeds the writes, or the vocabulary
            is too small.
    """

    letters: ClassVar[Mapping[str, str]] = {
        "n_back": "n",
        "num_writes": "w",
        **SlottedRecall.letters,
    }

    n_back: int = Field(default=2, gt=0)
    num_writes: int = Field(default=4, gt=0)

    @model_validator(mode="after")
    def _has_writes(self) -> NBackRecall:
        if self.n_back > self.num_writes:
            raise UserError(
                f"n_back={self.n_back} exceeds num_writes={self.num_writes}: expected at most"
                " num_writes"
            )
        needed = 2 * max(self.num_kv_pairs + 1, self.num_kv_pairs * self.num_writes)
        if self.vocab_size < needed:
            raise UserError(f"vocab_size={self.vocab_size} is too small: use at least {needed}")
        return self

    @property
    def context_len(self) -> int:
        """Number of tokens before the first slot: a key and a value for each write."""
        return 2 * self.num_kv_pairs * self.num_writes

    @property
    def context_tokens(self) -> int:
        """The most different tokens before the first slot: a key and its values."""
        return self.num_kv_pairs * (self.num_writes + 1)

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        source, pairs = generator(seed), self.num_kv_pairs
        keys, _ = draw_pairs(n, pairs, self.vocab_size, source)
        count = pairs * self.num_writes
        first_value = self.vocab_size // 2
        values = first_value + distinct(n, count, num_values(self.vocab_size), source)
        order = distinct(n, count, count, source)  # the write at each place
        context = torch.stack([keys.gather(1, order % pairs), values], dim=-1).flatten(1)
        places = order.argsort(1).view(n, self.num_writes, pairs).sort(1).values
        asked = values.gather(1, places[:, -self.n_back])
        return self.ask(context, keys[:, :, None], asked, source)

    def spell(self, token: int) -> str:
        """Return `k3` for a key, `v3` for a value, a dot for token 0."""
        return spell_pair_token(token, self.vocab_size)
