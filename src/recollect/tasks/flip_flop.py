"""Flip-flop: recall the last written bit among many ignored ones (Liu et al., 2023, arXiv
2306.00946).

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
"""Number of examples on which the chance level is measured."""


@register_task("flip-flop")
class FlipFlop(Task):
    """Recall the last written bit.

    An instruction writes, reads or ignores, and has a bit. The bit of a read is that of the last
    write; it follows in the input after the question (teacher forcing). All other bits are
    independent and uniform.

    The first instruction writes and the last one reads, as in the paper. There each other one
    ignores with probability `ignored`, and writes or reads with equal probability. Here the number
    of reads is the expected one, so all examples have equally many answers; their places are drawn
    uniformly. The paper trains on 256 instructions with `ignored=0.8`, and also tests with 0.98 and
    0.1.

    Attributes:
        num_instructions: number of instructions in an example; each has two tokens.
        ignored: fraction of instructions that ignore.
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
        """A label like `flip-flop-256`, with `ignored` if it is not the default."""
        return short_label(self, str(self.num_instructions), {"ignored": "i"})

    @property
    def vocab_size(self) -> int:
        """Number of token ids: two bits and three instructions."""
        return len(self._tokens)

    @property
    def max_len(self) -> int:
        """Length of the input: two tokens for each instruction, without the last bit."""
        return 2 * self.num_instructions - 1

    @cached_property
    def chance(self) -> float:
        """Accuracy of the best of several guesses, measured on `MEASURED` examples.

        They are the bit of the previous read, and the guesses of `best_repeat`.
        """
        batch = self.sample(MEASURED, seed=0)
        before = torch.cat([batch.inputs[:, 1:2], batch.targets[:, :-1]], dim=1)
        repeated = float((before == batch.targets).double().mean())
        return max(repeated, best_repeat(batch, self.vocab_size))

    @property
    def marginal_loss(self) -> float:
        """Loss of a uniform guess among both bits."""
        return math.log(2)

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        source, tokens, count = generator(seed), self._tokens, self.num_instructions
        # fraction of writes among instructions that do not read
        writes = (1 - self.ignored) / (1 + self.ignored)
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
        """Return the role of each token, as indices into `list(Role)`."""
        roles = torch.full_like(batch.inputs, Role.VALUE.index)
        roles[:, ::2] = Role.MARK.index
        assert batch.positions is not None
        return roles.scatter_(1, batch.positions, Role.QUERY.index)

    def spell(self, token: int) -> str:
        """Return `w`, `r`, `i` or a bit."""
        return self._tokens.spell(token)
