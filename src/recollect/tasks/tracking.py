"""State tracking: the product of all group elements that were read so far (the word problem).

    g2 g1 g4 g1
    g2 g5 g0 g1

Grazzi et al. (2024, arXiv 2411.12537) and Siems et al. (2025, arXiv 2502.10297; the code in
automl/DeltaProduct, `state_tracking/src/generate_data.py`). Of two elements it is parity.
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
    """The elements as permutations, in lexical order; the first changes nothing."""
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
    """The index of the product of each two elements: the first is applied first."""
    elements = group_elements(group)
    index = {element: i for i, element in enumerate(elements)}
    products = [[index[tuple(b[i] for i in a)] for b in elements] for a in elements]
    return torch.tensor(products)


@register_task("tracking")
class StateTracking(Task):
    """The product of all group elements so far.

    The elements that are read are independent and uniform. They are token ids, in lexical order of
    the permutations; the first is the identity. Each length of the range is a component.

    DeltaProduct trains S3, S4, A5 and S5 on 128 elements and tests on 512, asking at every one.
    Grazzi et al. train parity (group Z2) on lengths from 3 to 40 and test it from 40 to 256; their
    lengths count the answer, which is asked for at the end alone: `min_length=2, max_length=39,
    asked="last"`.

    Attributes:
        group: Z2 (parity), Z3, Z5, Z60, S2, S3, S4, S5, A3, A4 or A5.
        min_length: elements of an example.
        max_length: elements of an example.
        asked: after which elements the product is asked for: "all", or the "last".

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
        """`tracking-S3-128`, or `tracking-Z2-2to39-last`."""
        lengths = dict.fromkeys((self.min_length, self.max_length))
        return short_label(self, f"{self.group}-{'to'.join(map(str, lengths))}", {"asked": ""})

    @property
    def vocab_size(self) -> int:
        """The elements."""
        return len(group_elements(self.group))

    @property
    def max_len(self) -> int:
        """`max_length`."""
        return self.max_length

    @property
    def chance(self) -> float:
        """Any element; but the first product is the first element itself."""
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
        """All elements alike."""
        return math.log(self.vocab_size)

    @property
    def answer_bits(self) -> float | None:
        """Any of the elements, where one is asked for."""
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
        """`n` examples of one length; the same seed gives the same bytes."""
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
        """Every element is to be remembered."""
        return torch.full_like(batch.inputs, Role.VALUE.index)

    def spell(self, token: int) -> str:
        """A number, or where a permutation takes 1, 2, 3 ...: `213`."""
        if self.group[0] == "Z":
            return str(token)
        return "".join(str(i + 1) for i in group_elements(self.group)[token])
