"""Compression: repeat a whole string from one state (after MAD, Poli et al., 2024, arXiv
2403.17844; athms/mad-lab, `mad/data/instances.py`).

    a c b | | |
        a c b

A recurrent model answers from its state after the string; attention can look back.
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
    """Repeat a string from one state.

    Tokens are independent and uniform. The same number of marks follows, at which the model must
    repeat the tokens in order; unlike in copying, earlier answers are not given.

    In MAD the model reads the string and one mark, and an MLP predicts every token from the output
    at the mark and the token's position: the whole string must pass through one vector of 128
    numbers. Here the model itself answers, at one mark per token, and a recurrent model may read
    its whole state again at every mark: 34,304 numbers in each layer of Mamba-2 at width 128
    (`recollect mixers mamba2 --d-model 128`), so 68,608 in two. For attention this is copying.
    Scores are not comparable with those of MAD's compression.

    Attributes:
        seq_len: length of the string and one mark, as in MAD.
        vocab_size: number of token ids: the tokens and the mark.
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
        """A label like `compression-32`, with the vocabulary if it is not the default."""
        return short_label(self, str(self.seq_len), {"vocab_size": "v"})

    @property
    def max_len(self) -> int:
        """Length of the string and a mark for each token."""
        return 2 * self._length

    @property
    def chance(self) -> float:
        """Accuracy of guessing the most frequent token of the string."""
        return best_guess(self._length, self.vocab_size - 1)

    @property
    def marginal_loss(self) -> float:
        """Loss of a uniform guess among all tokens."""
        return math.log(self.vocab_size - 1)

    @property
    def answer_bits(self) -> float:
        """Entropy of the string."""
        return self._length * math.log2(self.vocab_size - 1)

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        shape = (n, self._length)
        string = torch.randint(self.vocab_size - 1, shape, generator=generator(seed))
        inputs = torch.cat([string, torch.full_like(string, self._tokens["|"])], dim=1)
        return Batch(inputs, torch.arange(self._length, self.max_len).repeat(n, 1), string)

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token, as indices into `list(Role)`."""
        roles = torch.full_like(batch.inputs, Role.VALUE.index)
        roles[:, self._length :] = Role.QUERY.index
        return roles

    def spell(self, token: int) -> str:
        """Return `t3` for a token, `|` for a mark."""
        return self._tokens.spell(token)
