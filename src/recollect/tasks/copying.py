"""Copying a string (Jelassi et al., 2024, arXiv 2402.01032).

    $ c a b | c a b
            c a b .

The model reads letters, a delimiter, and the same letters again. After the delimiter it must
predict each next letter, and finally the end mark.
"""

from __future__ import annotations

import math
import string
from functools import cached_property

import torch
from jaxtyping import Int64
from pydantic import Field, model_validator
from torch import Tensor

from recollect.errors import UserError
from recollect.tasks._chance import best_remaining
from recollect.tasks._sampling import generator
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, Task, register_task

TOKENS = string.ascii_lowercase + "$|."
START, DELIMITER, END = (TOKENS.index(mark) for mark in "$|.")
LETTERS = len(string.ascii_lowercase)


@register_task("copy")
class Copy(Task):
    """Copy a string: `$ string | string .`, with independent and uniform letters.

    The second string is given (teacher forcing); the loss is on its letters and the end mark. Each
    length of the range is a component: a batch has one length, drawn uniformly from the seed.

    Attributes:
        min_length: shortest string, in letters.
        max_length: longest string, in letters.

    Raises:
        UserError: if the range is empty.
    """

    min_length: int = Field(default=5, gt=0)
    max_length: int = Field(default=20, gt=0)

    @model_validator(mode="after")
    def _has_a_length(self) -> Copy:
        if self.min_length > self.max_length:
            raise UserError(
                f"min_length={self.min_length} exceeds max_length={self.max_length}:"
                " expected min_length <= max_length, equal for strings of one length"
            )
        return self

    @property
    def label(self) -> str:
        """A label like `copy-5to20`, or `copy-20` for one length."""
        lengths = dict.fromkeys((self.min_length, self.max_length))
        return "copy-" + "to".join(str(length) for length in lengths)

    @property
    def vocab_size(self) -> int:
        """Number of token ids: the letters and three marks."""
        return len(TOKENS)

    @property
    def max_len(self) -> int:
        """Length of two strings, start and delimiter; the end mark is never part of the input."""
        return 2 * self.max_length + 2

    @property
    def chance(self) -> float:
        """Accuracy of guessing the most frequent letter that was not repeated yet, with a known end
        mark, over the answers of all lengths."""
        lengths = range(self.min_length, self.max_length + 1)
        right = sum(k * best_remaining(k, LETTERS) + 1 for k in lengths)
        return right / sum(k + 1 for k in lengths)

    @property
    def answer_bits(self) -> float | None:
        """Entropy of the letters if there is one length, else None."""
        is_one = self.min_length == self.max_length
        return self.max_length * math.log2(LETTERS) if is_one else None

    @property
    def components(self) -> tuple[Task, ...]:
        """One task for each length."""
        return (self,) if self.min_length == self.max_length else self._each_length

    @cached_property
    def _each_length(self) -> tuple[Task, ...]:
        lengths = range(self.min_length, self.max_length + 1)
        return tuple(Copy(min_length=k, max_length=k) for k in lengths)

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples of one length; equal seeds give equal bytes."""
        if self.min_length < self.max_length:
            return self.component(seed).sample(n, seed)
        letters = torch.randint(LETTERS, (n, self.max_length), generator=generator(seed))
        start, delimiter, end = (torch.full((n, 1), mark) for mark in (START, DELIMITER, END))
        inputs = torch.cat([start, letters, delimiter, letters], dim=1)
        positions = torch.arange(self.max_length + 1, self.max_len).repeat(n, 1)
        return Batch(inputs, positions, torch.cat([letters, end], dim=1))

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token, as indices into `list(Role)`.

        The string to remember consists of values, its copy of queries.
        """
        length = batch.inputs.shape[1] // 2 - 1
        roles = torch.full_like(batch.inputs, Role.MARK.index)
        roles[:, 1 : length + 1] = Role.VALUE.index
        roles[:, length + 2 :] = Role.QUERY.index
        return roles

    def spell(self, token: int) -> str:
        """Return the letter or mark of a token."""
        return TOKENS[token]
