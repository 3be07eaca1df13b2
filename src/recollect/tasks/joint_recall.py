"""Joint recall: a key has a different value in each context (Zhan et al., 2025, arXiv 2507.00449).

    ^ c2 k1 v3 k2 v1 c1 k2 v3 k1 v2 | c1 k1 v2 k2 v3 c2 k2 v1 k1 v3
                                         v2    v3       v1    v3

It follows the paper's code (DeepGraphLearning/HAX, `scripts/create_dataset.py`).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Int64
from pydantic import Field, model_validator
from torch import Tensor

from recollect.errors import UserError
from recollect.tasks._chance import best_remaining
from recollect.tasks._label import short_label
from recollect.tasks._sampling import distinct, generator
from recollect.tasks._vocabulary import Vocabulary
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, Task, register_task


@register_task("joint-recall")
class JointRecall(Task):
    """Multi-query recall of a table.

    The table has a value, independent and uniform, for each context and key. The input lists it by
    contexts in random order, and by keys in random order within each context. Questions follow in
    the same form, in a new random order. Each answer follows in the input after its question
    (teacher forcing). The paper trains on all sizes from 5 to 16 contexts and 5 to 16 keys, with
    10,000 examples of each; use a `Mixture` for this.

    Attributes:
        num_contexts: number of contexts in the table.
        num_keys: number of keys in the table.
        num_values: number of different values.
        most: number of contexts, and of keys, in the vocabulary, so that tables of different sizes
            share it.

    Raises:
        UserError: if the vocabulary has too few contexts or keys.
    """

    num_contexts: int = Field(default=5, gt=0)
    num_keys: int = Field(default=5, gt=0)
    num_values: int = Field(default=16, gt=1)
    most: int = Field(default=16, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> JointRecall:
        size = max(self.num_contexts, self.num_keys)
        if size > self.most:
            raise UserError(f"most={self.most} is too small for {size} contexts or keys")
        return self

    @property
    def _tokens(self) -> Vocabulary:
        return Vocabulary({"v": self.num_values, "k": self.most, "c": self.most, "^": 1, "|": 1})

    @property
    def label(self) -> str:
        """A label like `joint-recall-5x5`, contexts by keys, with settings not at defaults."""
        head = f"{self.num_contexts}x{self.num_keys}"
        return short_label(self, head, {"num_values": "v", "most": "m"})

    @property
    def vocab_size(self) -> int:
        """Number of token ids: values, keys, contexts and two marks."""
        return len(self._tokens)

    @property
    def max_len(self) -> int:
        """Length of the table twice and two marks."""
        return 2 + 2 * self._table_len

    @property
    def _table_len(self) -> int:
        return self.num_contexts * (1 + 2 * self.num_keys)

    @property
    def chance(self) -> float:
        """Accuracy of guessing the most frequent value of the context that was not answered yet."""
        return best_remaining(self.num_keys, self.num_values)

    @property
    def marginal_loss(self) -> float:
        """Loss of a uniform guess among all values."""
        return math.log(self.num_values)

    @property
    def answer_bits(self) -> float:
        """Entropy of all values of the table."""
        return self.num_contexts * self.num_keys * math.log2(self.num_values)

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        source, tokens = generator(seed), self._tokens
        shape = (n, self.num_contexts, self.num_keys)
        table = torch.randint(self.num_values, shape, generator=source)
        read, answered = (self._read(table, source) for _ in range(2))
        begin, middle = (torch.full((n, 1), tokens[mark]) for mark in "^|")
        inputs = torch.cat([begin, read, middle, answered], dim=1)
        of_context = 1 + 2 * torch.arange(self.num_keys)
        starts = torch.arange(self.num_contexts) * (1 + 2 * self.num_keys)
        asked = (2 + self._table_len + starts[:, None] + of_context).flatten()
        return Batch(inputs, asked.repeat(n, 1), inputs[:, asked + 1])

    def _read(
        self, table: Int64[Tensor, "n C K"], source: torch.Generator
    ) -> Int64[Tensor, "n {self._table_len}"]:
        """Return the tokens of a table, in random order."""
        n, contexts, count = table.shape
        first = distinct(n, contexts, contexts, source)
        keys = distinct(n * contexts, count, count, source).view(n, contexts, count)
        rows = table.gather(1, first[:, :, None].expand_as(table))
        entries = torch.stack([self._tokens["k"] + keys, rows.gather(2, keys)], dim=-1).flatten(2)
        heads = self._tokens["c"] + first
        return torch.cat([heads[:, :, None], entries], dim=2).flatten(1)

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token, as indices into `list(Role)`."""
        roles = torch.full_like(batch.inputs, Role.KEY.index)
        roles[batch.inputs < self.num_values] = Role.VALUE.index
        roles[batch.inputs >= self._tokens["^"]] = Role.MARK.index
        assert batch.positions is not None
        return roles.scatter_(1, batch.positions, Role.QUERY.index)

    def spell(self, token: int) -> str:
        """Return `c3` for a context, `k3` for a key, `v3` for a value, or a mark."""
        return self._tokens.spell(token)
