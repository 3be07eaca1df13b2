"""MQAR, multi-query associative recall (Arora, Eyuboglu et al., 2023, arXiv 2312.04927).

    k1 v1 k2 v2 k3 v3  k2 .  .  .  k3 .  k1 .  .  .
                       v2          v3    v1

An example begins with D key-value pairs. Later every key occurs once more as a query, and the model
must answer with its value at that position.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Int64
from pydantic import Field, model_validator
from torch import Tensor

from recollect.errors import UserError
from recollect.tasks._recall import DistinctAnswers, draw_slots
from recollect.tasks._sampling import (
    allowed,
    draw_pairs,
    generator,
    num_values,
    spell_pair_token,
)
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, register_task


@register_task("mqar")
class MQAR(DistinctAnswers):
    """Multi-query associative recall.

    Keys are drawn from 1 ... vocab_size/2 - 1, values from vocab_size/2 ... vocab_size - 1, without
    repetition within an example. The even positions after the pairs are slots 1, 2, ... The slots
    of the D queries are drawn one after the other without replacement, with probability
    proportional to slot^(power - 1).

    Attributes:
        seq_len: length of an example, in tokens; even.
        num_kv_pairs: D, the number of pairs and of queries.
        vocab_size: number of token ids.
        power: exponent of the distribution of slots; small: queries come early, 1: uniform.
        filler: the tokens between queries: "zero": token 0; "random": independent and uniform over
            all tokens except 0 and the example's own keys and values.
        num_passes: number of times that the pairs occur before the queries, in the same order.
        slot_order: how drawn slots are given to keys: "random", or "drawn": the i-th key gets the
            i-th drawn slot, as in the paper's public generator. Then early pairs are asked early,
            and positions alone give 0.29 at (64, 4), where chance is 0.25
            (`benchmarks/positions_alone.py`).

    Raises:
        UserError: if seq_len is odd or too short for the queries, or vocab_size is not above it.
    """

    seq_len: int = Field(gt=0, examples=[64])
    num_kv_pairs: int = Field(gt=0, examples=[4])
    vocab_size: int = 8192
    power: float = Field(default=0.01, gt=0)
    filler: Literal["zero", "random"] = "zero"
    num_passes: int = Field(default=1, gt=0)
    slot_order: Literal["random", "drawn"] = "random"

    @model_validator(mode="after")
    def _fits(self) -> MQAR:
        if self.seq_len % 2:
            raise UserError(
                f"seq_len={self.seq_len} is odd, but an example is made of pairs of tokens:"
                f" use {self.seq_len + 1}"
            )
        needed = 2 * self.num_kv_pairs * (self.num_passes + 1)
        if needed > self.seq_len:
            raise UserError(
                f"num_kv_pairs={self.num_kv_pairs} with num_passes={self.num_passes} needs"
                f" seq_len >= {needed}, given {self.seq_len}: use longer examples, fewer pairs or"
                " fewer passes"
            )
        # with the room above, this is also enough for different keys, values and fillers
        if self.vocab_size <= self.seq_len:
            raise UserError(
                f"vocab_size={self.vocab_size} must exceed seq_len={self.seq_len}:"
                f" use at least {self.seq_len + 1}"
            )
        return self

    @property
    def label(self) -> str:
        """A label like `mqar-64x4`, with settings that are not at their defaults."""
        changed = {
            "vocab_size": f"-v{self.vocab_size}",
            "power": f"-a{self.power}",
            "filler": f"-{self.filler}",
            "num_passes": f"-p{self.num_passes}",
            "slot_order": f"-{self.slot_order}",
        }
        suffixes = [
            suffix
            for name, suffix in changed.items()
            if getattr(self, name) != type(self).model_fields[name].default
        ]
        return f"mqar-{self.seq_len}x{self.num_kv_pairs}" + "".join(suffixes)

    @property
    def max_len(self) -> int:
        """Length of the input: `seq_len`."""
        return self.seq_len

    @property
    def filler_token(self) -> int:
        """Token 0, which is neither a key nor a value."""
        return 0

    @property
    def num_choices(self) -> int:
        """Number of values."""
        return num_values(self.vocab_size)

    @property
    def context_len(self) -> int:
        """Number of tokens before the first slot."""
        return 2 * self.num_kv_pairs * self.num_passes

    @property
    def first_question(self) -> int:
        """The first slot."""
        return self.context_len

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        source = generator(seed)
        keys, values = draw_pairs(n, self.num_kv_pairs, self.vocab_size, source)
        count = (self.seq_len - self.context_len) // 2
        slots, asked = draw_slots(n, self.num_kv_pairs, count, self.power, self.slot_order, source)
        positions = self.context_len + 2 * slots
        inputs = torch.zeros(n, self.seq_len, dtype=torch.int64)
        if self.filler == "random":
            live = torch.cat([torch.zeros(n, 1, dtype=torch.int64), keys, values], dim=1)
            rest = self.seq_len - self.context_len
            inputs[:, self.context_len :] = allowed(n, rest, self.vocab_size, live, source)
        pairs = torch.stack([keys, values], dim=-1).flatten(1)
        inputs[:, : self.context_len] = pairs.repeat(1, self.num_passes)
        inputs.scatter_(1, positions, keys.gather(1, asked))
        return Batch(inputs, positions, values.gather(1, asked))

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token, as indices into `list(Role)`."""
        assert batch.positions is not None
        roles = torch.full_like(batch.inputs, Role.FILLER.index)
        roles[:, : self.context_len : 2] = Role.KEY.index
        roles[:, 1 : self.context_len : 2] = Role.VALUE.index
        return roles.scatter_(1, batch.positions, Role.QUERY.index)

    def spell(self, token: int) -> str:
        """Return `k3` for a key, `v3` for a value, a dot for token 0."""
        return spell_pair_token(token, self.vocab_size)
