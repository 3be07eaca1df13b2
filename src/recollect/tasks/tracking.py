"""State tracking: the product of all group elements so far (the word problem).

    g2 g1 g4 g1
    g2 g5 g0 g1

Sources: Grazzi et al. (2024, arXiv 2411.12537) and Siems et al. (2025, arXiv 2502.10297; code in
automl/DeltaProduct, `state_tracking/src/generate_data.py`). With the group Z2 it is parity.
"""

from __future__ import annotations

import math
from functools import cache, cached_property
from itertools import permutations
from typing import Literal

import torch
from jaxtyping import Int64
from pydantic import Field, model_validator
from torch import Tensor

from recollect.errors import UserError
from recollect.tasks._label import short_label
from recollect.tasks._sampling import generator
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, Task, register_task

Group = Literal["Z2", "Z3", "Z5", "Z60", "S2", "S3", "S4", "S5", "A3", "A4", "A5"]
"""Cyclic groups of numbers, and the symmetric and alternating groups of permutations."""


@cache
def group_elements(group: str) -> tuple[tuple[int, ...], ...]:
    """Return the elements of a group as permutations; the first is the identity."""
    kind, size = group[0], int(group[1:])
    if kind == "Z":
        return tuple(tuple((i + shift) % size for i in range(size)) for shift in range(size))
    return tuple(p for p in permutations(range(size)) if kind == "S" or _is_even(p))


def _is_even(permutation: tuple[int, ...]) -> bool:
    size = len(permutation)
    swapped = sum(permutation[i] > permutation[j] for j in range(size) for i in range(j))
    return swapped % 2 == 0


@cache
def group_table(group: str) -> Int64[Tensor, "G G"]:
    """Return the index of the product of each two elements; the first one is applied first."""
    elements = group_elements(group)
    index = {element: i for i, element in enumerate(elements)}
    products = [[index[tuple(b[i] for i in a)] for b in elements] for a in elements]
    return torch.tensor(products)


@register_task("tracking")
class StateTracking(Task):
    """Compute the product of all group elements so far.

    The elements in the input are independent and uniform. Their token ids follow the lexical order
    of the permutations (for cyclic groups the size of the shift); 0 is the identity. Each length of
    the range is a component.

    DeltaProduct trains S3, S4, A5 and S5 on 128 elements and tests on 512, with a question at every
    element. Its code puts a [BOS] token before the elements (`state_tracking/src/main.py`); here
    there is none, so a linear recurrence starts from state 0 and cannot write an initial state.

    Grazzi et al. train parity (group Z2) on lengths from 3 to 40 and test it from 40 to 256. Their
    lengths include the answer, which is asked only at the end: `min_length=2, max_length=39,
    asked="last"`.

    Attributes:
        group: Z2 (parity), Z3, Z5, Z60, S2, S3, S4, S5, A3, A4 or A5.
        min_length: smallest number of elements in an example.
        max_length: largest number of elements in an example.
        asked: the elements after which the product is asked: "all", or only the "last".

    Raises:
        UserError: if the range is empty.
    """

    group: Group = "S3"
    min_length: int = Field(default=128, gt=0)
    max_length: int = Field(default=128, gt=0)
    asked: Literal["all", "last"] = "all"

    @model_validator(mode="after")
    def _has_a_length(self) -> StateTracking:
        if self.min_length > self.max_length:
            raise UserError(
                f"min_length={self.min_length} exceeds max_length={self.max_length}: expected"
                " min_length <= max_length, equal for one length"
            )
        return self

    @property
    def label(self) -> str:
        """A label like `tracking-S3-128` or `tracking-Z2-2to39-last`."""
        lengths = dict.fromkeys((self.min_length, self.max_length))
        return short_label(self, f"{self.group}-{'to'.join(map(str, lengths))}", {"asked": ""})

    @property
    def vocab_size(self) -> int:
        """Number of token ids: the elements of the group."""
        return len(group_elements(self.group))

    @property
    def max_len(self) -> int:
        """Length of the longest input: `max_length`."""
        return self.max_length

    @property
    def chance(self) -> float:
        """Accuracy of guessing any element; the first product is known, it is the first element."""
        if self.min_length < self.max_length:
            answers = [(task.chance, task._questions) for task in self.components]
            return sum(c * count for c, count in answers) / sum(count for _, count in answers)
        known = 1 if self.asked == "all" or self.max_length == 1 else 0
        return (known + (self._questions - known) / self.vocab_size) / self._questions

    @property
    def _questions(self) -> int:
        return self.max_length if self.asked == "all" else 1

    @property
    def marginal_loss(self) -> float:
        """Loss of a uniform guess among all elements."""
        return math.log(self.vocab_size)

    @property
    def answer_bits(self) -> float | None:
        """Entropy of one element if there is one question, else None."""
        return math.log2(self.vocab_size) if self._questions == 1 else None

    @property
    def components(self) -> tuple[StateTracking, ...]:
        """One task for each length."""
        return (self,) if self.min_length == self.max_length else self._each_length

    @cached_property
    def _each_length(self) -> tuple[StateTracking, ...]:
        lengths = range(self.min_length, self.max_length + 1)
        return tuple(self.replace(min_length=k, max_length=k) for k in lengths)

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples of one length; equal seeds give equal bytes."""
        if self.min_length < self.max_length:
            return self.component(seed).sample(n, seed)
        length, table = self.max_length, group_table(self.group)
        elements = torch.randint(self.vocab_size, (n, length), generator=generator(seed))
        states = [elements[:, 0]]
        for place in range(1, length):
            states.append(table[states[-1], elements[:, place]])
        first = length - self._questions
        positions = torch.arange(first, length).repeat(n, 1)
        return Batch(elements, positions, torch.stack(states[first:], dim=1))

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token: all are values."""
        return torch.full_like(batch.inputs, Role.VALUE.index)

    def spell(self, token: int) -> str:
        """Return a number, or for a permutation the images of 1, 2, 3 ...: `213`."""
        if self.group[0] == "Z":
            return str(token)
        return "".join(str(i + 1) for i in group_elements(self.group)[token])
