"""Continuation of a periodic pattern that was read with noise: no copy of it is clean, the answer
is what most of them say. Who looks up one copy is wrong as often as that copy.

    a c b  a c d  e c b  a c b      with one error in four at each place
                       a c b
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Int64
from pydantic import Field
from torch import Tensor

from recollect.tasks._chance import best_guess
from recollect.tasks._label import short_label
from recollect.tasks._sampling import distinct, generator
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, Task, register_task


@register_task("pattern")
class NoisyPattern(Task):
    """The next period of a pattern that was read with noise.

    The tokens of the pattern are independent and uniform, and it is read several times. At each
    place of the pattern a fixed number of its copies, fewer than half and randomly chosen, have
    another token, uniformly drawn. The period that is asked for is given clean while it is asked
    (teacher forcing).

    Attributes:
        period: tokens of the pattern.
        num_repeats: how often it is read.
        noise: the share of the copies that are wrong at each place, below one half; their number is
            rounded down.
        num_tokens: number of token ids.
    """

    period: int = Field(default=8, gt=0)
    num_repeats: int = Field(default=15, gt=0)
    noise: float = Field(default=0.3, ge=0, lt=0.5)
    num_tokens: int = Field(default=16, gt=1)

    @property
    def _wrong(self) -> int:
        return math.floor(self.noise * self.num_repeats)

    @property
    def label(self) -> str:
        """`pattern-8x15`, the period by its repeats, with other settings that are not the
        defaults."""
        letters = {"noise": "n", "num_tokens": "v"}
        return short_label(self, f"{self.period}x{self.num_repeats}", letters)

    @property
    def vocab_size(self) -> int:
        """The tokens."""
        return self.num_tokens

    @property
    def max_len(self) -> int:
        """All copies, and the next but for its last token."""
        return self.period * (self.num_repeats + 1) - 1

    @property
    def chance(self) -> float:
        """The most frequent token of the pattern."""
        return best_guess(self.period, self.num_tokens)

    @property
    def marginal_loss(self) -> float:
        """All tokens alike."""
        return math.log(self.num_tokens)

    @property
    def answer_bits(self) -> float:
        """The pattern but for its last token: the last noisy copy of that is read with the first
        question."""
        return (self.period - 1) * math.log2(self.num_tokens)

    def sample(self, n: int, seed: int) -> Batch:
        """`n` examples; the same seed gives the same bytes."""
        source, period, repeats = generator(seed), self.period, self.num_repeats
        pattern = torch.randint(self.num_tokens, (n, period), generator=source)
        wrong = distinct(n * period, self._wrong, repeats, source)
        shift = torch.randint(1, self.num_tokens, wrong.shape, generator=source)
        shifts = torch.zeros(n * period, repeats, dtype=torch.int64).scatter_(1, wrong, shift)
        copies = pattern[:, None] + shifts.view(n, period, repeats).transpose(1, 2)
        noisy = (copies % self.num_tokens).flatten(1)
        inputs = torch.cat([noisy, pattern[:, :-1]], dim=1)
        first = period * repeats - 1
        return Batch(inputs, torch.arange(first, first + period).repeat(n, 1), pattern)

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Every token is to be read; behind the copies they are questions."""
        roles = torch.full_like(batch.inputs, Role.VALUE.index)
        roles[:, self.period * self.num_repeats - 1 :] = Role.QUERY.index
        return roles
