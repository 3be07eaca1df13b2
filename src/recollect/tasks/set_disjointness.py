"""Set disjointness: find the token in both of two sets (Arora et al., 2024, Just read twice, arXiv
2407.05483).

    ^ a d b & e b f c =
                      b

If the larger set comes first, a model must hold it; if it comes last, holding the smaller set is
enough. The task follows the paper's code (HazyResearch/prefix-linear-attention,
`synthetic/zoology/data/non_autoreg.py`).
"""

from __future__ import annotations

import math

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


@register_task("set-disjointness")
class SetDisjointness(Task):
    """Find the token that two sets have in common.

    Each set is in random order. The paper trains on 20,000 examples each of (4, 16), (8, 32),
    (64, 16), (4, 128), (16, 256) and (4, 256), in both orders, and tests with up to 768 tokens in a
    set; use a `Mixture` and test tasks for this.

    Attributes:
        first_len: number of tokens in the first set.
        second_len: number of tokens in the second set.
        vocab_size: number of token ids, four of which are marks.

    Raises:
        UserError: if the vocabulary has too few tokens.
    """

    first_len: int = Field(default=4, gt=0)
    second_len: int = Field(default=16, gt=0)
    vocab_size: int = 2048

    @model_validator(mode="after")
    def _has_tokens(self) -> SetDisjointness:
        needed = self.first_len + self.second_len + 3
        if self.vocab_size < needed:
            raise UserError(
                f"vocab_size={self.vocab_size} is too small for sets of {self.first_len} and"
                f" {self.second_len} tokens: use at least {needed}"
            )
        return self

    @property
    def _tokens(self) -> Vocabulary:
        marks = {".": 1, "^": 1, "&": 1, "=": 1}
        return Vocabulary({**marks, "t": self.vocab_size - len(marks)})

    @property
    def label(self) -> str:
        """A label like `set-disjointness-4x16`, with the vocabulary if it is not the default."""
        return short_label(self, f"{self.first_len}x{self.second_len}", {"vocab_size": "v"})

    @property
    def max_len(self) -> int:
        """Length of both sets and three marks."""
        return self.first_len + self.second_len + 3

    @property
    def filler_token(self) -> int | None:
        """Token 0, which is in neither set."""
        return 0

    @property
    def chance(self) -> float:
        """Accuracy of guessing any token of the smaller set."""
        return 1 / min(self.first_len, self.second_len)

    @property
    def marginal_loss(self) -> float:
        """Loss of a uniform guess among all tokens."""
        return math.log(self._tokens.sizes["t"])

    @property
    def answer_bits(self) -> float:
        """Entropy of one token. Before the second set, a model must hold the whole first set."""
        return math.log2(self._tokens.sizes["t"])

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        source, tokens = generator(seed), self._tokens
        count = self.first_len + self.second_len - 1
        drawn = tokens["t"] + distinct(n, count, tokens.sizes["t"], source)
        common = drawn[:, :1]
        sets = []
        for others in (drawn[:, 1 : self.first_len], drawn[:, self.first_len :]):
            whole = torch.cat([common, others], dim=1)
            size = whole.shape[1]
            sets.append(whole.gather(1, distinct(n, size, size, source)))
        begin, between, end = (torch.full((n, 1), tokens[mark]) for mark in "^&=")
        inputs = torch.cat([begin, sets[0], between, sets[1], end], dim=1)
        return Batch(inputs, torch.full((n, 1), self.max_len - 1), common)

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token, as indices into `list(Role)`."""
        roles = torch.full_like(batch.inputs, Role.VALUE.index)
        roles[batch.inputs < self._tokens["t"]] = Role.MARK.index
        roles[:, -1] = Role.QUERY.index
        return roles

    def spell(self, token: int) -> str:
        """Return `t3` for a token, or a mark."""
        return self._tokens.spell(token)
