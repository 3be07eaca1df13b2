"""Stacks: name the element that is popped (Kimi Linear, 2025, arXiv 2510.26692, section 5.1).

push s1 t3 push s0 t2 push s1 t1 pop s1 t1 pop s1 t3
                                     t1        t3
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cached_property

import torch
from jaxtyping import Int64
from pydantic import Field, model_validator
from torch import Generator, Tensor

from recollect.errors import UserError
from recollect.tasks._label import short_label
from recollect.tasks._sampling import distinct, generator
from recollect.tasks._vocabulary import Vocabulary
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, Task, register_task

MEASURED = 256
"""Number of examples on which the chance level is measured."""


@register_task("stacks")
class Stacks(Task):
    """Name the elements popped from several stacks.

    The stacks start empty. An operation is three tokens: push or pop, a stack, and an element; the
    element of a pop follows in the input after its question (teacher forcing). Half of the
    operations are pops. The order of pushes and pops is uniform among those in which a pop never
    meets only empty stacks. A push goes to a uniformly drawn stack, a pop to the stack of a
    uniformly drawn element. Elements are independent and uniform. The paper uses 64 stacks; it does
    not state lengths, elements, and how operations are drawn.

    Attributes:
        num_operations: number of operations in an example; even.
        num_stacks: number of stacks.
        num_elements: number of different elements.

    Raises:
        UserError: if the number of operations is odd.
    """

    num_operations: int = Field(default=64, gt=1)
    num_stacks: int = Field(default=64, gt=0)
    num_elements: int = Field(default=64, gt=1)

    @model_validator(mode="after")
    def _is_even(self) -> Stacks:
        if self.num_operations % 2:
            raise UserError(
                f"num_operations={self.num_operations} is odd, but half of them are pops: use"
                f" {self.num_operations + 1}"
            )
        return self

    @property
    def _tokens(self) -> Vocabulary:
        sizes = {"t": self.num_elements, "s": self.num_stacks, "push": 1, "pop": 1}
        return Vocabulary(sizes)

    @property
    def label(self) -> str:
        """A label like `stacks-64`, with settings that are not at their defaults."""
        return short_label(self, str(self.num_operations), {"num_stacks": "s", "num_elements": "v"})

    @property
    def vocab_size(self) -> int:
        """Number of token ids: elements, stacks, push and pop."""
        return len(self._tokens)

    @property
    def max_len(self) -> int:
        """Length of the operations, three tokens each."""
        return 3 * self.num_operations

    @cached_property
    def chance(self) -> float:
        """Accuracy of the best guess that knows all stacks, but not which one is popped.

        Measured on `MEASURED` examples.
        """
        batch = self.sample(MEASURED, seed=0)
        shares = [share for tokens in batch.inputs.tolist() for share in self._guesses(tokens)]
        return sum(shares) / len(shares)

    def _guesses(self, tokens: list[int]) -> Iterator[float]:
        """Yield the probability of the likeliest answer to each question."""
        stacks = defaultdict[int, list[int]](list)
        for what, stack, element in zip(tokens[::3], tokens[1::3], tokens[2::3], strict=True):
            if what == self._tokens["push"]:
                stacks[stack].append(element)
                continue
            tops = Counter[int]()
            for held in filter(None, stacks.values()):
                tops[held[-1]] += len(held)
            yield max(tops.values()) / tops.total()
            stacks[stack].pop()

    @property
    def marginal_loss(self) -> float:
        """Loss of a uniform guess among all elements."""
        return math.log(self.num_elements)

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        source, tokens, count = generator(seed), self._tokens, self.num_operations
        is_pop = _orders(n, count, source)
        stacks, elements = self._operate(is_pop, source)
        what = torch.where(is_pop, tokens["pop"], tokens["push"])
        inputs = torch.stack([what, tokens["s"] + stacks, elements], dim=-1).flatten(1)
        asked = is_pop.nonzero()[:, 1].view(n, count // 2)
        return Batch(inputs, 3 * asked + 1, elements.gather(1, asked))

    def _operate(
        self, is_pop: Tensor, source: Generator
    ) -> tuple[Int64[Tensor, "n T"], Int64[Tensor, "n T"]]:
        """Draw the stack and the element of each operation."""
        n, count = is_pop.shape
        rows = torch.arange(n)
        stacks = torch.randint(self.num_stacks, (n, count), generator=source)
        elements = torch.randint(self.num_elements, (n, count), generator=source)
        # whether the element pushed by each operation is still on its stack
        lies = torch.zeros(n, count, dtype=torch.bool)
        for now in range(count):
            pops = is_pop[:, now]
            scores = torch.randint(2**40, (n, count), generator=source)
            any_left = torch.where(lies, scores, -1).argmax(1)
            same = lies & (stacks == stacks[rows, any_left][:, None])
            top = torch.where(same, torch.arange(count), -1).argmax(1)
            stacks[:, now] = torch.where(pops, stacks[rows, top], stacks[:, now])
            elements[:, now] = torch.where(pops, elements[rows, top], elements[:, now])
            lies[rows[pops], top[pops]] = False
            lies[:, now] = ~pops
        return stacks, elements

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token, as indices into `list(Role)`."""
        roles = torch.full_like(batch.inputs, Role.KEY.index)
        roles[:, ::3] = Role.MARK.index
        roles[:, 2::3] = Role.VALUE.index
        assert batch.positions is not None
        return roles.scatter_(1, batch.positions, Role.QUERY.index)

    def spell(self, token: int) -> str:
        """Return `t3` for an element, `s3` for a stack, `push` or `pop`."""
        return self._tokens.spell(token)


def _orders(n: int, count: int, source: Generator) -> Tensor:
    """Draw which operations are pops, (n, count), uniform over all valid orders.

    A valid order has equally many pushes and pops, and no prefix with more pops than pushes. By the
    cycle lemma (Dvoretzky and Motzkin, 1947), any order with one more push has exactly one rotation
    that is valid without its first push.
    """
    pops = torch.zeros(n, count + 1, dtype=torch.bool)
    pops.scatter_(1, distinct(n, count // 2, count + 1, source), True)
    height = torch.where(pops, -1, 1).cumsum(1)
    last_lowest = count - height.flip(1).argmin(1)  # the last place of the lowest height
    places = (last_lowest[:, None] + 1 + torch.arange(count + 1)) % (count + 1)
    return pops.gather(1, places)[:, 1:]
