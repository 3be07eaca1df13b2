"""Selective copying: repeat the tokens that occur among blanks.

    . a . . c . b . | . . .
                    a c b

It is a task of MAD (Poli et al., 2024, arXiv 2403.17844; athms/mad-lab, `mad/data/instances.py`),
after Mamba (Gu and Dao, 2023, arXiv 2312.00752).
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float64, Int64
from pydantic import Field, model_validator
from torch import Tensor
from torch.distributions import Binomial

from recollect.errors import UserError
from recollect.tasks._chance import best_guess
from recollect.tasks._label import short_label
from recollect.tasks._sampling import generator, sort_rows
from recollect.tasks._vocabulary import Vocabulary
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, Task, register_task


@register_task("selective-copying")
class SelectiveCopying(Task):
    """Copy the tokens among blanks.

    The tokens are independent and uniform. One blank per token follows the mark; there the model
    must repeat the tokens in order.

    Each other blank is put into one of the gaps before, between and after the tokens, independently
    and uniformly. The public generator has no gap after the last token, which is therefore always
    right before the mark: `gaps="before"`. It draws the gaps from the global generator; here
    everything is drawn from the seed.

    Attributes:
        seq_len: length of an example, in tokens.
        num_tokens: number of tokens to copy.
        vocab_size: number of token ids: the tokens, the blank and the mark.
        gaps: places of blanks: "all" gaps, or only "before" some token, as in the public code.

    Raises:
        UserError: if seq_len is too short for the tokens.
    """

    seq_len: int = Field(default=256, gt=0)
    num_tokens: int = Field(default=16, gt=0)
    vocab_size: int = Field(default=16, ge=4)
    gaps: Literal["all", "before"] = "all"

    @model_validator(mode="after")
    def _fits(self) -> SelectiveCopying:
        needed = 2 * self.num_tokens + 1
        if self.seq_len < needed:
            raise UserError(
                f"seq_len={self.seq_len} is too short for num_tokens={self.num_tokens}: expected at"
                f" least {needed}; use longer examples or fewer tokens"
            )
        return self

    @property
    def _tokens(self) -> Vocabulary:
        return Vocabulary({"t": self.vocab_size - 2, ".": 1, "|": 1})

    @property
    def label(self) -> str:
        """A label like `selective-copying-256x16`, with settings not at their defaults."""
        head = f"{self.seq_len}x{self.num_tokens}"
        return short_label(self, head, {"vocab_size": "v", "gaps": ""})

    @property
    def max_len(self) -> int:
        """Length of the input: `seq_len`."""
        return self.seq_len

    @cached_property
    def chance(self) -> float:
        """Accuracy of the best of two guesses, for each answer: the most frequent token, or the
        token at the likeliest place of the answer, and the most frequent one if a blank is there.

        With few blanks, tokens have few places; with `gaps="before"` the last one has one.
        """
        choices, frequent = self.vocab_size - 2, best_guess(self.num_tokens, self.vocab_size - 2)
        at = self._places()
        some_token = at.sum(0)
        by_place = at + (some_token - at) / choices + (1 - some_token) * frequent
        return float(by_place.amax(1).clamp(min=frequent).mean())

    def _places(self) -> Float64[Tensor, "{self.num_tokens} places"]:
        """Probability of each token to stand at each place before the mark; the number of blanks
        before a token is binomial."""
        count, blanks = self.num_tokens, self._blanks
        share = torch.arange(1, count + 1, dtype=torch.float64) / (count + (self.gaps == "all"))
        before = torch.arange(blanks + 1, dtype=torch.float64)
        drawn = Binomial(blanks, share[:, None]).log_prob(before).exp()
        at = torch.zeros(count, count + blanks, dtype=torch.float64)
        places = torch.arange(count)[:, None] + torch.arange(blanks + 1)
        return at.scatter_(1, places, drawn)

    @property
    def marginal_loss(self) -> float:
        """Loss of a uniform guess among all tokens."""
        return math.log(self.vocab_size - 2)

    @property
    def answer_bits(self) -> float:
        """Entropy of the copied tokens."""
        return self.num_tokens * math.log2(self.vocab_size - 2)

    @property
    def _blanks(self) -> int:
        return self.seq_len - 2 * self.num_tokens - 1

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        source, tokens, count = generator(seed), self._tokens, self.num_tokens
        copied = torch.randint(tokens.sizes["t"], (n, count), generator=source)
        gaps = count + (self.gaps == "all")
        gap, _ = sort_rows(torch.randint(gaps, (n, self._blanks), generator=source))
        before = torch.searchsorted(gap, torch.arange(count).repeat(n, 1), right=True)
        inputs = torch.full((n, self.seq_len), tokens["."])
        inputs.scatter_(1, before + torch.arange(count), copied)
        inputs[:, self.seq_len - count - 1] = tokens["|"]
        positions = torch.arange(self.seq_len - count, self.seq_len).repeat(n, 1)
        return Batch(inputs, positions, copied)

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token, as indices into `list(Role)`."""
        roles = torch.full_like(batch.inputs, Role.FILLER.index)
        roles[batch.inputs < self._tokens["."]] = Role.VALUE.index
        roles[batch.inputs == self._tokens["|"]] = Role.MARK.index
        roles[:, -self.num_tokens :] = Role.QUERY.index
        return roles

    def spell(self, token: int) -> str:
        """Return `t3` for a token, a dot for a blank, `|` for the mark."""
        return self._tokens.spell(token)
