"""The base of tasks like MQAR: pairs first, then a query for each pair, placed in slots.

A query of w tokens has a slot of w + 1 tokens; its answer is never part of the input. As in MQAR,
slot i is drawn with probability proportional to i^(power - 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from jaxtyping import Int64
from pydantic import Field, model_validator
from torch import Generator, Tensor

from recollect.errors import UserError
from recollect.tasks._label import short_label
from recollect.tasks._sampling import allowed, distinct, num_values, sort_rows, weighted
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, Task

SlotOrder = Literal["random", "drawn"]


def draw_slots(
    n: int, count: int, slots: int, power: float, order: SlotOrder, source: Generator
) -> tuple[Int64[Tensor, "{n} {count}"], Int64[Tensor, "{n} {count}"]]:
    """Draw the slots of the queries, ascending from 0, and the index of the pair asked at each."""
    log_places = torch.arange(1, slots + 1, dtype=torch.float64).log()
    ascending, turn = sort_rows(weighted(n, count, (power - 1) * log_places, source))
    return ascending, turn if order == "drawn" else distinct(n, count, count, source)


def falling_bits(size: int, count: int) -> float:
    """Return the entropy in bits of an ordered choice of `count` different items out of `size`."""
    return sum(math.log2(size - i) for i in range(count))


def check_keys(num_keys: int, num_kv_pairs: int) -> None:
    """Check that each pair of an example can have its own key.

    Raises:
        UserError: if there are fewer keys than pairs.
    """
    if num_keys < num_kv_pairs:
        raise UserError(
            f"num_keys={num_keys} for num_kv_pairs={num_kv_pairs}: expected a different key for"
            " each pair"
        )


class DistinctAnswers(Task):
    """A task that asks for D different values of an example, each once."""

    if TYPE_CHECKING:
        num_kv_pairs: int

        @property
        def context_len(self) -> int:
            """Number of tokens before the first question can come."""

    @property
    def num_choices(self) -> int:
        """Number of different values."""
        raise NotImplementedError

    @property
    def chance(self) -> float:
        """Accuracy of guessing any of the D values."""
        return 1 / self.num_kv_pairs

    @property
    def marginal_loss(self) -> float:
        """Loss of a uniform guess among all values."""
        return math.log(self.num_choices)

    @property
    def answer_bits(self) -> float:
        """Entropy of an ordered choice of D different values; a lower bound with random fillers.

        These are never values of the example, so those that are read after the first question rule
        values out.
        """
        shown = 0
        if getattr(self, "filler", "zero") == "random":
            shown = self.max_len - self.context_len - self.num_kv_pairs
        return falling_bits(max(self.num_kv_pairs, self.num_choices - shown), self.num_kv_pairs)


class SlottedRecall(DistinctAnswers):
    """Recall of pairs with queries in slots.

    Values are drawn without repetition within an example, so a guess among the requested values is
    correct with probability 1 / D.

    Attributes:
        seq_len: length of an example, in tokens.
        num_kv_pairs: D, the number of queries.
        vocab_size: number of token ids.
        power: exponent of the distribution of slots; small: queries come early, 1: uniform.
        filler: the tokens between queries: "zero": token 0; "random": independent and uniform over
            all tokens except 0 and those of the pairs.
        slot_order: how drawn slots are given to pairs: "random", or "drawn": the i-th pair gets
            the i-th drawn slot, as in the public generators. Then early pairs are asked early, so
            positions alone give more than chance.
    """

    letters: ClassVar[Mapping[str, str]] = {
        "vocab_size": "v",
        "power": "a",
        "filler": "",
        "slot_order": "",
    }

    seq_len: int = Field(gt=0, examples=[64])
    num_kv_pairs: int = Field(gt=0, examples=[4])
    vocab_size: int = 8192
    power: float = Field(default=0.01, gt=0)
    filler: Literal["zero", "random"] = "zero"
    slot_order: SlotOrder = "random"

    @model_validator(mode="after")
    def _has_room(self) -> SlottedRecall:
        needed = self.context_len + self.num_kv_pairs * (self.query_len + 1)
        if self.seq_len < needed:
            raise UserError(
                f"seq_len={self.seq_len} is too short for {self.num_kv_pairs} queries after"
                f" {self.context_len} tokens: expected at least {needed}; use longer examples or"
                " fewer pairs"
            )
        if self.filler == "random" and self.vocab_size < self.context_tokens + 2:
            raise UserError(
                f"vocab_size={self.vocab_size} leaves no token for fillers: use at least"
                f" {self.context_tokens + 2}"
            )
        return self

    @property
    def query_len(self) -> int:
        """Number of tokens in a query."""
        return 1

    @property
    def context_len(self) -> int:
        """Number of tokens before the first slot."""
        raise NotImplementedError

    @property
    def context_tokens(self) -> int:
        """The largest number of different tokens before the first slot."""
        return self.context_len

    @property
    def first_question(self) -> int:
        """The last token of a query in the first slot."""
        return self.context_len + self.query_len - 1

    @property
    def label(self) -> str:
        """A label like `name-64x4`, with settings that are not at their defaults."""
        return short_label(self, f"{self.seq_len}x{self.num_kv_pairs}", self.letters)

    @property
    def max_len(self) -> int:
        """Length of the input: `seq_len`."""
        return self.seq_len

    @property
    def filler_token(self) -> int | None:
        """Token 0."""
        return 0

    @property
    def num_choices(self) -> int:
        """Number of values."""
        return num_values(self.vocab_size)

    def ask(
        self,
        context: Int64[Tensor, "n C"],
        queries: Int64[Tensor, "n D w"],
        answers: Int64[Tensor, "n D"],
        source: Generator,
    ) -> Batch:
        """Build examples that start with `context` and ask each of `queries` in a slot.

        Args:
            context: tokens before the first slot.
            queries: the D queries of each example.
            answers: the answer to each query.
            source: generator of slots and fillers.
        """
        n, pairs, width = queries.shape
        start, room = context.shape[1], self.seq_len - context.shape[1]
        slots, asked = draw_slots(
            n, pairs, room // (width + 1), self.power, self.slot_order, source
        )
        inputs = torch.zeros(n, self.seq_len, dtype=torch.int64)
        if self.filler == "random":
            inputs[:, start:] = _fillers(context, room, self.vocab_size, source)
        inputs[:, :start] = context
        first = start + (width + 1) * slots
        places = (first[:, :, None] + torch.arange(width)).flatten(1)
        in_order = queries.gather(1, asked[:, :, None].expand(-1, -1, width))
        inputs.scatter_(1, places, in_order.flatten(1))
        return Batch(inputs, first + width - 1, answers.gather(1, asked))

    def context_roles(self) -> list[Role]:
        """Return the roles of the tokens before the first slot."""
        return [Role.KEY, Role.VALUE] * (self.context_len // 2)

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token, as indices into `list(Role)`."""
        assert batch.positions is not None
        roles = torch.full_like(batch.inputs, Role.FILLER.index)
        roles[:, : self.context_len] = torch.tensor([role.index for role in self.context_roles()])
        for back in range(self.query_len):
            roles.scatter_(1, batch.positions - back, Role.QUERY.index)
        return roles


def _fillers(
    context: Int64[Tensor, "n C"], count: int, vocab_size: int, source: Generator
) -> Int64[Tensor, "n {count}"]:
    """Draw fillers, independent and uniform over tokens except 0 and those of the row's context."""
    n = len(context)
    ordered, _ = sort_rows(context)
    is_new = torch.ones_like(ordered, dtype=torch.bool)
    is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    counts = is_new.sum(1)
    fillers = torch.empty(n, count, dtype=torch.int64)
    for different in counts.unique():  # rows with equal numbers of different tokens
        rows = counts == different
        live = ordered[rows][is_new[rows]].view(int(rows.sum()), -1)
        live = torch.cat([torch.zeros(len(live), 1, dtype=torch.int64), live], dim=1)
        fillers[rows] = allowed(len(live), count, vocab_size, live, source)
    return fillers
