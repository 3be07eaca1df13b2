"""The verdict of a check, and the difference between two outputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

Status = Literal["pass", "fail", "not measured", "not offered"]


class Misbehaviour(Exception):
    """Something that a module does but no mixer may do, in words."""


class Unmeasurable(Misbehaviour):
    """The reason why something cannot be measured, in words; not a fault of the module."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check.

    Attributes:
        status: "pass", "fail", "not measured" if the check could not be made (not a failure), or
            "not offered" if the mixer lacks the optional feature that is checked.
        evidence: the reason, in words; positions, rows and layers are counted from 0.
        facts: positions and numbers of a failure, for programs.
    """

    status: Status
    evidence: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def passed(evidence: str) -> Verdict:
    """Return a verdict: the mixer passes the check."""
    return Verdict("pass", evidence)


def failed(evidence: str, **facts: Any) -> Verdict:
    """Return a verdict: the mixer fails the check."""
    return Verdict("fail", evidence, facts)


def not_measured(reason: str) -> Verdict:
    """Return a verdict: the check could not be made."""
    return Verdict("not measured", reason)


def not_offered(evidence: str) -> Verdict:
    """Return a verdict: the mixer lacks the feature, so there is nothing to check."""
    return Verdict("not offered", evidence)


@dataclass(frozen=True)
class Change:
    """The largest difference between two outputs.

    Attributes:
        row: its row in the batch.
        position: its position in the sequence.
        size: absolute difference; infinite if one of the two is not finite.
        scale: the largest expected output.
    """

    row: int
    position: int
    size: float
    scale: float

    @property
    def relative(self) -> float:
        """The size divided by the scale."""
        if self.size == 0:
            return 0.0
        return self.size / self.scale if self.scale else math.inf

    @property
    def facts(self) -> dict[str, Any]:
        """The facts for a verdict."""
        return {"output": self.position, "change": self.size, "relative": self.relative}

    def __str__(self) -> str:
        if math.isinf(self.size):
            return "a number that is not finite"
        return f"{self.size:.2g}, where outputs reach {self.scale:.2g}"


def relative_text(relative: float) -> str:
    """Return a relative size as text: `2e-16`, or `0`."""
    return f"{relative:.0e}" if relative else "0"


def listed(numbers: Iterable[int]) -> str:
    """Return at least one number as text: `2, 7 and 64`."""
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}" if most else last


def largest_change(
    actual: Float[Tensor, "batch L d_model"],
    expected: Float[Tensor, "batch L d_model"],
    *,
    least_scale: float = 0.0,
) -> Change:
    """Return the largest difference of two outputs; equal infinities or NaN do not differ."""
    actual, expected = actual.detach().double(), expected.detach().double()
    difference = (actual - expected).abs().nan_to_num(math.inf, math.inf)
    same = (actual == expected) | (actual.isnan() & expected.isnan())
    difference = difference.masked_fill(same, 0).amax(-1)
    place = int(difference.argmax())
    row, position = divmod(place, difference.shape[1])
    scale = max(expected.nan_to_num(0, 0, 0).abs().max().item(), least_scale)
    return Change(row, position, difference.flatten()[place].item(), scale)
