"""MQAR in which some keys get a new value later; the last value counts.

    k1 v1 k2 v2 k3 v3  k2 v4  k3 .  .  .  k2 .  k1 .
                              v3          v4    v1

It follows Zoology's code (HazyResearch/zoology, `zoology/data/forgetting_mqar.py`).
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


@register_task("forgetting")
class ForgettingMQAR(SlottedRecall):
    """Multi-query recall of the last value of each key.

    The input has D keys with a value each, then `num_updates` of these keys, chosen at random and
    in random order, with a new value. Keys come from the first half of the vocabulary, values from
    the second.

    In the public generator a new value may equal that of another key, or the key's own old value,
    since it is compared with the value of the wrong key; here all values of an example differ. The
    public generator gives slots in the order of the pairs (`slot_order="drawn"`); then positions
    alone give 0.29 at (64, 4) with 4 updates, where chance is 0.25
    (`benchmarks/positions_alone.py`).

    Attributes:
        num_updates: number of keys that get a new value.

    Raises:
        UserError: if seq_len is too short for the queries, there are more updates than keys, or the
            vocabulary is too small.
    """

    letters: ClassVar[Mapping[str, str]] = {"num_updates": "u", **SlottedRecall.letters}

    num_updates: int = Field(default=4, gt=0)

    @model_validator(mode="after")
    def _has_keys_and_values(self) -> ForgettingMQAR:
        if self.num_updates > self.num_kv_pairs:
            raise UserError(
                f"num_updates={self.num_updates} exceeds num_kv_pairs={self.num_kv_pairs}: a key is"
                " updated at most once; use fewer updates or more pairs"
            )
        needed = 2 * (self.num_kv_pairs + max(self.num_updates, 1))
        if self.vocab_size < needed:
            raise UserError(f"vocab_size={self.vocab_size} is too small: use at least {needed}")
        return self

    @property
    def context_len(self) -> int:
        """Number of tokens in pairs and updates."""
        return 2 * (self.num_kv_pairs + self.num_updates)

    @property
    def context_tokens(self) -> int:
        """The most different tokens before the first slot: keys, values and new values."""
        return 2 * self.num_kv_pairs + self.num_updates

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        source = generator(seed)
        pairs, updates = self.num_kv_pairs, self.num_updates
        keys, _ = draw_pairs(n, pairs, self.vocab_size, source)
        first_value = self.vocab_size // 2
        values = first_value + distinct(n, pairs + updates, num_values(self.vocab_size), source)
        updated = distinct(n, updates, pairs, source)
        written = torch.cat([keys, keys.gather(1, updated)], dim=1)
        last = values[:, :pairs].scatter(1, updated, values[:, pairs:])
        context = torch.stack([written, values], dim=-1).flatten(1)
        return self.ask(context, keys[:, :, None], last, source)

    def spell(self, token: int) -> str:
        """Return `k3` for a key, `v3` for a value, a dot for token 0."""
        return spell_pair_token(token, self.vocab_size)
