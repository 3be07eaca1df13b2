"""Bounds of a number, fixed or measured, and on which side of one a number lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from recollect.papers.measures import Bounds, Measure
from recollect.papers.selectors import Where, in_words, plain


@dataclass(frozen=True, kw_only=True)
class Of:
    """A bound that is measured too, seed by seed.

    Attributes:
        cells: those with which each cell is compared, on the same task at the same width, by their
            mean; None: the cells themselves, by another measure.
        measure: of them; None: that of the part.
        times: a factor.
        plus: what is added.
        own_rates: whether something is claimed of the rates that they were tried at: they are held
            by the best of these on each seed, whatever other rates might give.
    """

    cells: Where | None = None
    measure: Measure | None = None
    times: float = 1.0
    plus: float = 0.0
    own_rates: bool = False

    def __post_init__(self) -> None:
        if self.cells is None and self.measure is None:
            raise ValueError("cells=None and measure=None: a number cannot be its own bound")

    def __str__(self) -> str:
        if self.cells is None:
            return self.of(f"the {self.measure.name if self.measure else ''}")
        rates = " at the best of its rates" if self.own_rates else ""
        return self.of(f"that of {in_words(self.cells)} on the same task at the same width{rates}")

    def of(self, what: str) -> str:
        """The bound in words, where the number that it is measured of has some."""
        times = "" if self.times == 1 else f"{self.times:g} times "
        sign = "plus" if self.plus > 0 else "minus"
        return f"{times}{what}" + (f" {sign} {abs(self.plus):g}" if self.plus else "")


Bound = float | Of
Sign = Literal["at least", "above", "below"]
Place = Literal["right", "wrong", "between", "open", "none"]
"""Where a seed is: beyond doubt on one of the sides; between the bounds of a claim and of its
converse; at a place that is not known; without a number."""


@dataclass(frozen=True)
class Side:
    """What a number has to be.

    Attributes:
        sign: how it has to lie to the bound.
        bound: to which.
        converse: the bound on the other side of which the converse holds.
    """

    sign: Sign
    bound: Bound
    converse: Bound

    def __str__(self) -> str:
        return f"{self.sign} {_text(self.bound)}"

    @property
    def is_high(self) -> bool:
        """Whether a high number is right."""
        return self.sign != "below"

    @property
    def other(self) -> str:
        """What the converse says, in words."""
        if not self.is_high:
            return f"at least {_text(self.converse)}"
        is_strict = self.sign == "at least" and self.converse == self.bound
        return f"{'below' if is_strict else 'at most'} {_text(self.converse)}"

    def record(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "sign": self.sign,
            "bound": _plain(self.bound),
            "converse": _plain(self.converse),
        }

    def place(self, number: Bounds | None, bound: Bounds | None, converse: Bounds | None) -> Place:
        """Where a number lies that has to lie so to a bound, all known by their ends."""
        if number is None or bound is None or converse is None:
            return "none"
        if not self.is_high:
            number, bound, converse = ((-high, -low) for low, high in (number, bound, converse))

        def is_right(value: float, bound: float) -> bool:
            return value >= bound if self.sign == "at least" else value > bound

        may_be_right = is_right(number[1], bound[0])
        if is_right(number[0], bound[1]):
            return "right"
        if not may_be_right and number[1] <= converse[0]:
            return "wrong"
        may_be_wrong = number[0] <= converse[1]
        return "open" if may_be_right or may_be_wrong else "between"


def _text(bound: Bound) -> str:
    return str(bound) if isinstance(bound, Of) else f"{bound:g}"


def _plain(bound: Bound) -> Any:
    if not isinstance(bound, Of):
        return bound
    return {
        "cells": None if bound.cells is None else plain(bound.cells),
        "measure": None if bound.measure is None else bound.measure.name,
        "times": bound.times,
        "plus": bound.plus,
        "own_rates": bound.own_rates,
    }
