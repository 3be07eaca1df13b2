"""Smooth signals: predict the next value of a sum of sinusoids.

No lookup is needed: a state of a few rotating numbers is enough, which linear recurrences provide.

    8 b d f e c a 7 5 4
              c a 7 5 4 3
"""

from __future__ import annotations

import math
from functools import cached_property

import torch
from jaxtyping import Float64, Int64
from pydantic import Field, model_validator
from torch import Tensor

from recollect.errors import UserError
from recollect.tasks._chance import best_repeat
from recollect.tasks._label import short_label
from recollect.tasks._sampling import distinct, generator
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, Task, register_task

MEASURED = 1000
"""Number of examples on which the chance level is measured."""
FINE = 2**30
"""Steps that the range of values is rounded to, so that levels do not depend on last digits, which
differ between machines."""


@register_task("signal")
class SmoothSignal(Task):
    """Predict the next value of a sum of sinusoids.

    The mean of the sinusoids is quantised into equal levels. Each position in the second half asks
    for the next value.

    Periods are between `shortest` tokens and `seq_len`, equally spaced in log. Phases are multiples
    of 1 / `num_phases` of a turn, shifted by half a step. All choices are equally likely. The
    signal is known once the values exclude all choices except one.

    Attributes:
        seq_len: length of the input, in values.
        num_waves: number of sinusoids in an example.
        num_levels: number of levels, which are the token ids.
        num_periods: number of periods to choose from.
        num_phases: number of phases to choose from.
        shortest: the shortest period, in tokens.

    Raises:
        UserError: if there are fewer periods than waves, or `shortest` is not below seq_len.
    """

    seq_len: int = Field(default=64, gt=3)
    num_waves: int = Field(default=2, gt=0)
    num_levels: int = Field(default=32, gt=1)
    num_periods: int = Field(default=16, gt=1)
    num_phases: int = Field(default=16, gt=1)
    shortest: float = Field(default=8.0, ge=2)

    @model_validator(mode="after")
    def _fits(self) -> SmoothSignal:
        if self.num_periods < self.num_waves:
            raise UserError(
                f"num_periods={self.num_periods} for num_waves={self.num_waves}: expected a"
                " different period for each wave"
            )
        if self.shortest >= self.seq_len:
            raise UserError(f"shortest={self.shortest} must be below seq_len={self.seq_len}")
        return self

    @property
    def label(self) -> str:
        """A label like `signal-64x2`, length by waves, with settings not at their defaults."""
        letters = {"num_levels": "v", "num_periods": "p", "num_phases": "f", "shortest": "s"}
        return short_label(self, f"{self.seq_len}x{self.num_waves}", letters)

    @property
    def vocab_size(self) -> int:
        """Number of token ids: the levels."""
        return self.num_levels

    @property
    def max_len(self) -> int:
        """Length of the input: `seq_len`."""
        return self.seq_len

    @cached_property
    def chance(self) -> float:
        """Accuracy of the best constant or repeated value; measured on `MEASURED` examples."""
        return best_repeat(self.sample(MEASURED, seed=0), self.num_levels)

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        source, waves = generator(seed), self.num_waves
        periods = self.periods()[distinct(n, waves, self.num_periods, source)]
        phases = torch.randint(self.num_phases, (n, waves), generator=source)
        text = self.levels(periods, phases)
        first = self.seq_len // 2
        positions = torch.arange(first, self.seq_len).repeat(n, 1)
        return Batch(text[:, :-1], positions, text[:, first + 1 :])

    def periods(self) -> Float64[Tensor, " P"]:
        """Return the periods to choose from, in tokens, the shortest first."""
        steps = torch.arange(self.num_periods, dtype=torch.float64) / (self.num_periods - 1)
        return self.shortest * (self.seq_len / self.shortest) ** steps

    def levels(
        self, periods: Float64[Tensor, "n W"], phases: Int64[Tensor, "n W"]
    ) -> Int64[Tensor, "n L+1"]:
        """Return the levels of signals, given periods in tokens and indices of phases."""
        times = torch.arange(self.seq_len + 1, dtype=torch.float64)
        turns = (
            times / periods[:, :, None] + ((phases.double() + 0.5) / self.num_phases)[:, :, None]
        )
        mean = (2 * math.pi * turns).sin().mean(1)
        return (((mean + 1) / 2 * FINE).round().long() * self.num_levels // FINE).clamp(
            max=self.num_levels - 1
        )

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token: values, and queries in the second half."""
        roles = torch.full_like(batch.inputs, Role.VALUE.index)
        roles[:, self.seq_len // 2 :] = Role.QUERY.index
        return roles
