"""Memorization: learn a fixed map from keys to values into the weights (MAD, Poli et al., 2024,
arXiv 2403.17844; athms/mad-lab, `mad/data/instances.py`).

    k3 ? k1 ? k3 ?
       v2   v5   v2
"""

from __future__ import annotations

import math
from functools import cache

import torch
from jaxtyping import Int64
from pydantic import Field, model_validator
from torch import Tensor

from recollect.errors import UserError
from recollect.tasks._label import short_label
from recollect.tasks._sampling import distinct, generator
from recollect.tasks._vocabulary import Vocabulary
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, Task, register_task


@cache
def fixed_map(size: int, values: int, seed: int) -> Int64[Tensor, " size"]:
    """Return a different value for each key."""
    return distinct(1, size, values, generator(seed))[0]


@register_task("memorization")
class Memorization(Task):
    """Answer the value of each key from a fixed map.

    Keys are independent and uniform, each followed by a question mark. The map is the same in all
    examples, and values are never part of the input: the task measures the capacity of the weights,
    not recall from the context. A map of K keys to K values has log2 K! bits.

    Attributes:
        seq_len: length of an example, in tokens; even.
        vocab_size: number of token ids: keys, values, and the question mark.
        map_seed: seed of the map.

    Raises:
        UserError: if seq_len is odd.
    """

    seq_len: int = Field(default=32, gt=0)
    vocab_size: int = Field(default=256, ge=5)
    map_seed: int = 12345

    @model_validator(mode="after")
    def _is_even(self) -> Memorization:
        if self.seq_len % 2:
            raise UserError(f"seq_len={self.seq_len} is odd: use {self.seq_len + 1}")
        return self

    @property
    def _tokens(self) -> Vocabulary:
        keys = (self.vocab_size - 1) // 2
        return Vocabulary({"k": keys, "v": self.vocab_size - 1 - keys, "?": 1})

    @property
    def label(self) -> str:
        """A label like `memorization-32`, with settings that are not at their defaults."""
        return short_label(self, str(self.seq_len), {"vocab_size": "v", "map_seed": "m"})

    @property
    def max_len(self) -> int:
        """Length of the input: `seq_len`."""
        return self.seq_len

    @property
    def chance(self) -> float:
        """Accuracy of guessing any of the keys' values."""
        return 1 / self._tokens.sizes["k"]

    @property
    def marginal_loss(self) -> float:
        """Loss of a uniform guess among the keys' values."""
        return math.log(self._tokens.sizes["k"])

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        tokens, asked = self._tokens, self.seq_len // 2
        keys = torch.randint(tokens.sizes["k"], (n, asked), generator=generator(seed))
        values = fixed_map(tokens.sizes["k"], tokens.sizes["v"], self.map_seed)
        inputs = torch.stack([keys, torch.full_like(keys, tokens["?"])], dim=-1).flatten(1)
        positions = torch.arange(1, self.seq_len, 2).repeat(n, 1)
        return Batch(inputs, positions, tokens["v"] + values[keys])

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token, as indices into `list(Role)`."""
        roles = torch.full_like(batch.inputs, Role.KEY.index)
        roles[:, 1::2] = Role.QUERY.index
        return roles

    def spell(self, token: int) -> str:
        """Return `k3` for a key, `v3` for a value, `?` for the question mark."""
        return self._tokens.spell(token)
