"""What a check says, and how much two outputs differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

Status = Literal["pass", "fail", "not measured", "not offered"]


class Misbehaviour(Exception):
    """What a module did that no mixer may do, in words."""


class Unmeasurable(Misbehaviour):
    """Why something cannot be measured, in words: no fault of the module."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check.

    Attributes:
        status: "not measured" where the check could not be made, which is no failure; "not offered"
            where the mixer lacks what the check is about.
        evidence: why, in words; positions, rows and layers count from 0.
        facts: the places and numbers of a failure, for programs.
    """

    status: Status
    evidence: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def passed(evidence: str) -> Verdict:
    """The mixer does what it must."""
    return Verdict("pass", evidence)


def failed(evidence: str, **facts: Any) -> Verdict:
    """The mixer does not."""
    return Verdict("fail", evidence, facts)


def not_measured(reason: str) -> Verdict:
    """The check could not be made."""
    return Verdict("not measured", reason)


def not_offered(evidence: str) -> Verdict:
    """There is nothing to judge."""
    return Verdict("not offered", evidence)


@dataclass(frozen=True)
class Change:
    """The largest difference between two outputs.

    Attributes:
        row: where it is, in the batch.
        position: where it is, in the sequence.
        size: absolute; infinite if one of the two is not finite.
        scale: the largest value expected.
    """

    row: int
    position: int
    size: float
    scale: float

    @property
    def relative(self) -> float:
        """Size by scale."""
        if self.size == 0:
            return 0.0
        return self.size / self.scale if self.scale else math.inf

    @property
    def facts(self) -> dict[str, Any]:
        """For a verdict."""
        return {"output": self.position, "change": self.size, "relative": self.relative}

    def __str__(self) -> str:
        if math.isinf(self.size):
            return "a number that is not finite"
        return f"{self.size:.2g}, where outputs reach {self.scale:.2g}"


def share(relative: float) -> str:
    """A share in words: `2e-16`, or `0`."""
    return f"{relative:.0e}" if relative else "0"


def largest_change(
    actual: Float[Tensor, "batch L d_model"],
    expected: Float[Tensor, "batch L d_model"],
    *,
    least_scale: float = 0.0,
) -> Change:
    """Where two outputs differ most; what is not finite in both is no difference."""
    actual, expected = actual.detach().double(), expected.detach().double()
    difference = (actual - expected).abs().nan_to_num(math.inf, math.inf)
    same = (actual == expected) | (actual.isnan() & expected.isnan())
    difference = difference.masked_fill(same, 0).amax(-1)
    place = int(difference.argmax())
    row, position = divmod(place, difference.shape[1])
    scale = max(expected.nan_to_num(0, 0, 0).abs().max().item(), least_scale)
    return Change(row, position, difference.flatten()[place].item(), scale)
