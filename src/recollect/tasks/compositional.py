"""MQAR with keys of two tokens; a single token does not determine the value.

    a1 b2 v1  a2 b1 v2  a1 b1 v3  a2 b2 v4   a2 b1 .  a1 b2 .  .  .  .
                                                v2       v1

From Zoology's code (HazyResearch/zoology, `zoology/data/compositional_mqar.py`).
"""

from __future__ import annotations

import math

import torch
from pydantic import model_validator

from recollect.errors import UserError
from recollect.tasks._recall import SlottedRecall
from recollect.tasks._sampling import distinct, generator
from recollect.tasks._vocabulary import Vocabulary
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, register_task


@register_task("compositional")
class CompositionalMQAR(SlottedRecall):
    """Multi-query recall by compound keys.

    The D keys of an example are all combinations of sqrt(D) first and sqrt(D) second tokens, in
    random order. First tokens come from the first third of the vocabulary, second tokens from the
    second third, and values from the last third. A model that reads half of a key is correct with
    probability 1 / sqrt(D).

    Raises:
        UserError: if D is not a square, seq_len is too short for the queries, or the vocabulary is
            too small.
    """

    @model_validator(mode="after")
    def _is_a_grid(self) -> CompositionalMQAR:
        side = math.isqrt(self.num_kv_pairs)
        if side**2 != self.num_kv_pairs:
            raise UserError(
                f"num_kv_pairs={self.num_kv_pairs} is not a square: use {side**2} or"
                f" {(side + 1) ** 2}"
            )
        needed = 3 * (self.num_kv_pairs + 1)
        if self.vocab_size < needed:
            raise UserError(f"vocab_size={self.vocab_size} is too small: use at least {needed}")
        return self

    @property
    def _side(self) -> int:
        return math.isqrt(self.num_kv_pairs)

    @property
    def _tokens(self) -> Vocabulary:
        third = self.vocab_size // 3
        return Vocabulary({".": 1, "a": third - 1, "b": third, "v": self.vocab_size - 2 * third})

    @property
    def query_len(self) -> int:
        """Number of tokens in a query: two."""
        return 2

    @property
    def context_len(self) -> int:
        """Number of tokens before the first slot: two and a value for each pair."""
        return 3 * self.num_kv_pairs

    @property
    def num_choices(self) -> int:
        """Number of values."""
        return self._tokens.sizes["v"]

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        source, tokens = generator(seed), self._tokens
        a, b, values = (
            tokens[name] + distinct(n, count, tokens.sizes[name], source)
            for name, count in (("a", self._side), ("b", self._side), ("v", self.num_kv_pairs))
        )
        cells = distinct(n, self.num_kv_pairs, self.num_kv_pairs, source)
        keys = torch.stack([a.gather(1, cells // self._side), b.gather(1, cells % self._side)], -1)
        context = torch.cat([keys, values[:, :, None]], dim=-1).flatten(1)
        return self.ask(context, keys, values, source)

    def context_roles(self) -> list[Role]:
        """Return the roles of the pairs: two key tokens and a value each."""
        return [Role.KEY, Role.KEY, Role.VALUE] * self.num_kv_pairs

    def spell(self, token: int) -> str:
        """Return `a3` or `b3` for a token of a key, `v3` for a value, a dot for token 0."""
        return self._tokens.spell(token)
