"""Continue a periodic pattern from noisy copies.

Every copy has errors, so the answer is the majority of the copies. A model that looks up a single
copy is wrong as often as that copy.

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
    """Predict the next period of a pattern from noisy copies.

    The tokens of the pattern are independent and uniform. The input has several copies. At each
    place of the pattern a fixed number of copies, fewer than half and chosen at random, have a
    different token, drawn uniformly. In the requested period, each answer follows without noise
    after its question (teacher forcing).

    Attributes:
        period: length of the pattern, in tokens.
        num_repeats: number of copies.
        noise: fraction of copies that are wrong at each place, below one half; their number is
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
        """A label like `pattern-8x15`, period by repeats, with settings not at their defaults."""
        letters = {"noise": "n", "num_tokens": "v"}
        return short_label(self, f"{self.period}x{self.num_repeats}", letters)

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self.num_tokens

    @property
    def max_len(self) -> int:
        """Length of all copies and the requested period, without its last token."""
        return self.period * (self.num_repeats + 1) - 1

    @property
    def chance(self) -> float:
        """Accuracy of guessing the most frequent token of the pattern."""
        return best_guess(self.period, self.num_tokens)

    @property
    def marginal_loss(self) -> float:
        """Loss of a uniform guess among all tokens."""
        return math.log(self.num_tokens)

    @property
    def answer_bits(self) -> float:
        """Entropy of the pattern without its last token.

        The last copy of that token is read only with the first question.
        """
        return (self.period - 1) * math.log2(self.num_tokens)

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
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
        """Return the role of each token: values in the copies, then queries."""
        roles = torch.full_like(batch.inputs, Role.VALUE.index)
        roles[:, self.period * self.num_repeats - 1 :] = Role.QUERY.index
        return roles
