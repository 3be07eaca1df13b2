"""Flip-flop: the bit that was written last, among many that are to be ignored (Liu et al., 2023,
arXiv 2306.00946).

    w1 i0 i1 w0 i1 r0 i1 i1 r0
                    0        0      each letter and each bit is a token

A state of one bit is enough for any length; attention makes rare errors.
"""

from __future__ import annotations

import math
from functools import cached_property

import torch
from jaxtyping import Int64
from pydantic import Field
from torch import Tensor

from recollect.tasks._chance import best_repeat
from recollect.tasks._label import short_label
from recollect.tasks._sampling import distinct, generator
from recollect.tasks._vocabulary import Vocabulary
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, Task, register_task

MEASURED = 1000
"""Examples on which the level of guessing is measured."""


@register_task("flip-flop")
class FlipFlop(Task):
    """The bit that was written last.

    Instructions write, read or ignore, and have a bit each: a read that of the last write, given
    after it was asked (teacher forcing); the other bits are independent and uniform.

    The first instruction writes and the last reads, as in the paper, whose others ignore with the
    probability `ignored`, and write or read equally often. Here the number of reads is the expected
    one, so that all examples have as many answers; their places are drawn uniformly. The paper
    trains on 256 instructions with `ignored=0.8` and tests with 0.98 and 0.1 too.

    Attributes:
        num_instructions: of an example; each is two tokens.
        ignored: the share of ignored ones.
    """

    num_instructions: int = Field(default=256, gt=2)
    ignored: float = Field(default=0.8, ge=0, lt=1)

    @property
    def _tokens(self) -> Vocabulary:
        return Vocabulary({"0": 1, "1": 1, "w": 1, "r": 1, "i": 1})

    @property
    def _reads(self) -> int:
        return 1 + round((self.num_instructions - 2) * (1 - self.ignored) / 2)

    @property
    def label(self) -> str:
        """`flip-flop-256`, with the share of ignored ones if it is not the default."""
        return short_label(self, str(self.num_instructions), {"ignored": "i"})

    @property
    def vocab_size(self) -> int:
        """Two bits and three instructions."""
        return len(self._tokens)

    @property
    def max_len(self) -> int:
        """Two tokens for each instruction, but for the last bit."""
        return 2 * self.num_instructions - 1

    @cached_property
    def chance(self) -> float:
        """The bit of the read before, or one at a fixed place or distance; measured on `MEASURED`
        examples."""
        batch = self.sample(MEASURED, seed=0)
        before = torch.cat([batch.inputs[:, 1:2], batch.targets[:, :-1]], dim=1)
        repeated = float((before == batch.targets).double().mean())
        return max(repeated, best_repeat(batch, self.vocab_size))

    @property
    def marginal_loss(self) -> float:
        """Both bits alike."""
        return math.log(2)

    def sample(self, n: int, seed: int) -> Batch:
        """`n` examples; the same seed gives the same bytes."""
        source, tokens, count = generator(seed), self._tokens, self.num_instructions
        writes = (1 - self.ignored) / (1 + self.ignored)  # of those that do not read
        drawn = torch.rand(n, count, dtype=torch.float64, generator=source)
        what = torch.where(drawn < writes, tokens["w"], tokens["i"])
        reads = 1 + distinct(n, self._reads - 1, count - 2, source)
        what.scatter_(1, reads, tokens["r"])
        what[:, 0], what[:, -1] = tokens["w"], tokens["r"]
        bits = torch.randint(2, (n, count), generator=source)
        is_written = what == tokens["w"]
        last = torch.where(is_written, torch.arange(count), 0).cummax(1).values
        bits = torch.where(what == tokens["r"], bits.gather(1, last), bits)
        asked = (what == tokens["r"]).nonzero()[:, 1].view(n, self._reads)
        text = torch.stack([what, bits], dim=-1).flatten(1)
        return Batch(text[:, :-1], 2 * asked, bits.gather(1, asked))

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """What each token is there for, as indices into `list(Role)`."""
        roles = torch.full_like(batch.inputs, Role.VALUE.index)
        roles[:, ::2] = Role.MARK.index
        assert batch.positions is not None
        return roles.scatter_(1, batch.positions, Role.QUERY.index)

    def spell(self, token: int) -> str:
        """`w`, `r`, `i` or a bit."""
        return self._tokens.spell(token)
