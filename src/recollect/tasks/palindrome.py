"""Saying a string backwards (Kimi Linear, 2025, arXiv 2510.26692, section 5.1).

    c a b | b a c
          b a c

The first token that was read is asked last: no fixed distance leads back, unlike in copying.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Int64
from pydantic import Field
from torch import Tensor

from recollect.tasks._chance import best_guess
from recollect.tasks._label import short_label
from recollect.tasks._sampling import generator
from recollect.tasks._vocabulary import Vocabulary
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, Task, register_task


@register_task("palindrome")
class Palindrome(Task):
    """A string, said backwards.

    Tokens are independent and uniform; behind a mark the string is given while it is said (teacher
    forcing). The paper trains on up to 2,048 tokens; its vocabulary is not given.

    Attributes:
        length: of the string, in tokens.
        num_tokens: how many different tokens there are.
    """

    length: int = Field(default=32, gt=0)
    num_tokens: int = Field(default=64, gt=1)

    @property
    def _tokens(self) -> Vocabulary:
        return Vocabulary({"t": self.num_tokens, "|": 1})

    @property
    def label(self) -> str:
        """`palindrome-32`, with the number of tokens if it is not the default."""
        return short_label(self, str(self.length), {"num_tokens": "v"})

    @property
    def vocab_size(self) -> int:
        """The tokens and the mark."""
        return self.num_tokens + 1

    @property
    def max_len(self) -> int:
        """Two strings and the mark; what is said last is never read."""
        return 2 * self.length

    @property
    def chance(self) -> float:
        """The most frequent token of the string."""
        return best_guess(self.length, self.num_tokens)

    @property
    def marginal_loss(self) -> float:
        """All tokens alike."""
        return math.log(self.num_tokens)

    @property
    def answer_bits(self) -> float:
        """The string."""
        return self.length * math.log2(self.num_tokens)

    def sample(self, n: int, seed: int) -> Batch:
        """`n` examples; the same seed gives the same bytes."""
        shape = (n, self.length)
        string = torch.randint(self.num_tokens, shape, generator=generator(seed))
        mark, backwards = torch.full((n, 1), self._tokens["|"]), string.flip(1)
        inputs = torch.cat([string, mark, backwards[:, :-1]], dim=1)
        return Batch(inputs, torch.arange(self.length, 2 * self.length).repeat(n, 1), backwards)

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """What each token is there for, as indices into `list(Role)`."""
        roles = torch.full_like(batch.inputs, Role.QUERY.index)
        roles[:, : self.length] = Role.VALUE.index
        roles[:, self.length] = Role.MARK.index
        return roles

    def spell(self, token: int) -> str:
        """`t3` for a token, `|` for the mark."""
        return self._tokens.spell(token)
