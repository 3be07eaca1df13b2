"""MQAR with a key and its value in one token: recall does not need the previous token, so one layer
is enough.

    k1=v3 k2=v1 k3=v2  k2 k1 k3
                       v1 v3 v2

It follows Zoology's code (HazyResearch/zoology, `zoology/data/stacked_mqar.py`).
"""

from __future__ import annotations

import torch
from jaxtyping import Int64
from pydantic import Field, model_validator
from torch import Tensor

from recollect.tasks._label import short_label
from recollect.tasks._recall import DistinctAnswers, check_keys
from recollect.tasks._sampling import distinct, generator
from recollect.tasks._vocabulary import Vocabulary
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, register_task


@register_task("stacked")
class StackedMQAR(DistinctAnswers):
    """Multi-query recall of pairs that are one token each.

    The D pairs occur `num_passes` times, each time in a new random order. Then every key is asked
    once, in random order. In the public code an input is a vector: half is a fixed embedding of the
    key, half of the value. Here each pair is a token with a learned embedding.

    Attributes:
        num_kv_pairs: D, the number of pairs and of queries.
        num_keys: number of different keys, and of values.
        num_passes: number of times that the pairs occur.

    Raises:
        UserError: if there are fewer keys than pairs.
    """

    num_kv_pairs: int = Field(default=8, gt=0)
    num_keys: int = Field(default=32, gt=0)
    num_passes: int = Field(default=1, gt=0)

    @model_validator(mode="after")
    def _has_keys(self) -> StackedMQAR:
        check_keys(self.num_keys, self.num_kv_pairs)
        return self

    @property
    def _tokens(self) -> Vocabulary:
        return Vocabulary({"v": self.num_keys, "k": self.num_keys, "k=v": self.num_keys**2})

    @property
    def label(self) -> str:
        """A label like `stacked-8`, with settings that are not at their defaults."""
        return short_label(self, str(self.num_kv_pairs), {"num_keys": "k", "num_passes": "p"})

    @property
    def vocab_size(self) -> int:
        """Number of token ids: values, keys, and pairs."""
        return len(self._tokens)

    @property
    def max_len(self) -> int:
        """Length of the pairs and the queries."""
        return (self.num_passes + 1) * self.num_kv_pairs

    @property
    def num_choices(self) -> int:
        """Number of values."""
        return self.num_keys

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        source, tokens, pairs = generator(seed), self._tokens, self.num_kv_pairs
        keys = distinct(n, pairs, self.num_keys, source)
        values = distinct(n, pairs, self.num_keys, source)
        stacked = tokens["k=v"] + keys * self.num_keys + values
        passes = [
            stacked.gather(1, distinct(n, pairs, pairs, source)) for _ in range(self.num_passes)
        ]
        asked = distinct(n, pairs, pairs, source)
        inputs = torch.cat([*passes, tokens["k"] + keys.gather(1, asked)], dim=1)
        positions = torch.arange(self.max_len - pairs, self.max_len).repeat(n, 1)
        return Batch(inputs, positions, values.gather(1, asked))

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token, as indices into `list(Role)`."""
        roles = torch.full_like(batch.inputs, Role.VALUE.index)
        roles[:, -self.num_kv_pairs :] = Role.QUERY.index
        return roles

    def spell(self, token: int) -> str:
        """Return `k3` for a key, `v3` for a value, `k3=v1` for a pair."""
        pair = token - self._tokens["k=v"]
        if pair < 0:
            return self._tokens.spell(token)
        return f"k{pair // self.num_keys}=v{pair % self.num_keys}"
