"""Compression: a whole string from one state (after MAD, Poli et al., 2024, arXiv 2403.17844;
athms/mad-lab, `mad/data/instances.py`).

    a c b | | |
        a c b

A recurrent model answers from the state that it has at the first mark; attention looks back.
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


@register_task("compression")
class Compression(Task):
    """A string, said again from one state.

    Tokens are independent and uniform. As many marks follow, at which they are to be said in order;
    unlike in copying, no answer is given.

    MAD reads the string and one mark into a model, and has an MLP say every token from the output
    at the mark and the token's place. Here the model itself answers, at a mark for each token: for
    a recurrent model that asks the same of its state, for attention it is copying.

    Attributes:
        seq_len: length of the string and one mark, as in MAD.
        vocab_size: the tokens and the mark.
    """

    seq_len: int = Field(default=32, gt=1)
    vocab_size: int = Field(default=16, gt=2)

    @property
    def _tokens(self) -> Vocabulary:
        return Vocabulary({"t": self.vocab_size - 1, "|": 1})

    @property
    def _length(self) -> int:
        return self.seq_len - 1

    @property
    def label(self) -> str:
        """`compression-32`, with the vocabulary if it is not the default."""
        return short_label(self, str(self.seq_len), {"vocab_size": "v"})

    @property
    def max_len(self) -> int:
        """The string, and a mark for each token."""
        return 2 * self._length

    @property
    def chance(self) -> float:
        """The most frequent token of the string."""
        return best_guess(self._length, self.vocab_size - 1)

    @property
    def marginal_loss(self) -> float:
        """All tokens alike."""
        return math.log(self.vocab_size - 1)

    @property
    def answer_bits(self) -> float:
        """The string."""
        return self._length * math.log2(self.vocab_size - 1)

    def sample(self, n: int, seed: int) -> Batch:
        """`n` examples; the same seed gives the same bytes."""
        shape = (n, self._length)
        string = torch.randint(self.vocab_size - 1, shape, generator=generator(seed))
        inputs = torch.cat([string, torch.full_like(string, self._tokens["|"])], dim=1)
        return Batch(inputs, torch.arange(self._length, self.max_len).repeat(n, 1), string)

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """What each token is there for, as indices into `list(Role)`."""
        roles = torch.full_like(batch.inputs, Role.VALUE.index)
        roles[:, self._length :] = Role.QUERY.index
        return roles

    def spell(self, token: int) -> str:
        """`t3` for a token, `|` for a mark."""
        return self._tokens.spell(token)
