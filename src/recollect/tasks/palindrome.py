"""Repeating a string backwards (Kimi Linear, 2025, arXiv 2510.26692, section 5.1).

    c a b | b a c
          b a c

The first token is asked last. Unlike in copying, the distance between a token and its question
varies.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Int64
from pydantic import Field
from torch import Tensor

from recollect.tasks._chance import best_remaining
from recollect.tasks._label import short_label
from recollect.tasks._sampling import generator
from recollect.tasks._vocabulary import Vocabulary
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, Task, register_task


@register_task("palindrome")
class Palindrome(Task):
    """Repeat a string backwards.

    Tokens are independent and uniform. After a mark, each answer follows in the input after its
    question (teacher forcing). The paper trains on up to 2,048 tokens, and does not state its
    vocabulary.

    Attributes:
        length: length of the string, in tokens.
        num_tokens: number of different tokens.
    """

    length: int = Field(default=32, gt=0)
    num_tokens: int = Field(default=64, gt=1)

    @property
    def _tokens(self) -> Vocabulary:
        return Vocabulary({"t": self.num_tokens, "|": 1})

    @property
    def label(self) -> str:
        """A label like `palindrome-32`, with the number of tokens if it is not the default."""
        return short_label(self, str(self.length), {"num_tokens": "v"})

    @property
    def vocab_size(self) -> int:
        """Number of token ids: the tokens and the mark."""
        return self.num_tokens + 1

    @property
    def max_len(self) -> int:
        """Length of two strings and the mark, without the last answer."""
        return 2 * self.length

    @property
    def chance(self) -> float:
        """Accuracy of guessing the most frequent token that was not repeated yet."""
        return best_remaining(self.length, self.num_tokens)

    @property
    def marginal_loss(self) -> float:
        """Loss of a uniform guess among all tokens."""
        return math.log(self.num_tokens)

    @property
    def answer_bits(self) -> float:
        """Entropy of the string."""
        return self.length * math.log2(self.num_tokens)

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        shape = (n, self.length)
        string = torch.randint(self.num_tokens, shape, generator=generator(seed))
        mark, backwards = torch.full((n, 1), self._tokens["|"]), string.flip(1)
        inputs = torch.cat([string, mark, backwards[:, :-1]], dim=1)
        return Batch(inputs, torch.arange(self.length, 2 * self.length).repeat(n, 1), backwards)

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token, as indices into `list(Role)`."""
        roles = torch.full_like(batch.inputs, Role.QUERY.index)
        roles[:, : self.length] = Role.VALUE.index
        roles[:, self.length] = Role.MARK.index
        return roles

    def spell(self, token: int) -> str:
        """Return `t3` for a token, `|` for the mark."""
        return self._tokens.spell(token)
