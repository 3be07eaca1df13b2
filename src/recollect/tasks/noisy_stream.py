"""A few pairs in a long stream of noise, all asked at the end: the model must find and keep little
among much.

    n3 n1 k2 v4 n5 n2 n2 k1 v3 n4 n1 k1 k2
                                     v3 v4
"""

from __future__ import annotations

import torch
from jaxtyping import Int64
from pydantic import Field, model_validator
from torch import Tensor

from recollect.errors import UserError
from recollect.tasks._label import short_label
from recollect.tasks._recall import DistinctAnswers, check_keys
from recollect.tasks._sampling import distinct, generator, sort_rows
from recollect.tasks._vocabulary import Vocabulary
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, register_task


@register_task("noisy-stream")
class NoisyStream(DistinctAnswers):
    """Multi-query recall of pairs hidden in noise.

    Keys and values are drawn without repetition within an example. Noise is independent and uniform
    over separate tokens. Every arrangement of the pairs in the stream is equally likely. The keys
    are asked in random order.

    Attributes:
        seq_len: length of an example, in tokens.
        num_kv_pairs: D, the number of pairs and of queries.
        num_keys: number of different keys, of values, and of noise tokens.

    Raises:
        UserError: if seq_len is too short for the pairs, or there are fewer keys than pairs.
    """

    seq_len: int = Field(default=1024, gt=0)
    num_kv_pairs: int = Field(default=2, gt=0)
    num_keys: int = Field(default=64, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> NoisyStream:
        if self.seq_len < 3 * self.num_kv_pairs:
            raise UserError(
                f"seq_len={self.seq_len} is too short for num_kv_pairs={self.num_kv_pairs}: use at"
                f" least {3 * self.num_kv_pairs}"
            )
        check_keys(self.num_keys, self.num_kv_pairs)
        return self

    @property
    def _tokens(self) -> Vocabulary:
        return Vocabulary(dict.fromkeys("kvn", self.num_keys))

    @property
    def label(self) -> str:
        """A label like `noisy-stream-1024x2`, with the number of keys if not the default."""
        head = f"{self.seq_len}x{self.num_kv_pairs}"
        return short_label(self, head, {"num_keys": "k"})

    @property
    def vocab_size(self) -> int:
        """Number of token ids: keys, values and noise."""
        return 3 * self.num_keys

    @property
    def max_len(self) -> int:
        """Length of the input: `seq_len`."""
        return self.seq_len

    @property
    def num_choices(self) -> int:
        """Number of values."""
        return self.num_keys

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        source, tokens, pairs = generator(seed), self._tokens, self.num_kv_pairs
        keys = distinct(n, pairs, self.num_keys, source)
        values = tokens["v"] + distinct(n, pairs, self.num_keys, source)
        room = self.seq_len - pairs
        inputs = tokens["n"] + torch.randint(self.num_keys, (n, self.seq_len), generator=source)
        # draw places with each pair as one token, so every order of pairs and noise is possible
        place, _ = sort_rows(distinct(n, pairs, room - pairs, source))
        place = place + torch.arange(pairs)
        inputs.scatter_(1, place, keys).scatter_(1, place + 1, values)
        asked = distinct(n, pairs, pairs, source)
        inputs[:, room:] = keys.gather(1, asked)
        return Batch(inputs, torch.arange(room, self.seq_len).repeat(n, 1), values.gather(1, asked))

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token, as indices into `list(Role)`."""
        roles = torch.full_like(batch.inputs, Role.FILLER.index)
        roles[batch.inputs < self._tokens["v"]] = Role.KEY.index
        is_value = (batch.inputs >= self._tokens["v"]) & (batch.inputs < self._tokens["n"])
        roles[is_value] = Role.VALUE.index
        roles[:, -self.num_kv_pairs :] = Role.QUERY.index
        return roles

    def spell(self, token: int) -> str:
        """Return `k3` for a key, `v3` for a value, `n3` for noise."""
        return self._tokens.spell(token)
