"""Fixed or measured bounds of a number, and the side on which a number lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from recollect.papers.measures import Bounds, Measure
from recollect.papers.selectors import Where, in_words, plain


@dataclass(frozen=True, kw_only=True)
class Of:
    """A bound that is itself measured, seed by seed.

    Attributes:
        cells: the cells to compare with, on the same task at the same width; their mean is the
            bound. None: the judged cells themselves, by another measure.
        measure: the measure of the bound; None: the measure of the part.
        times: a factor on the bound.
        plus: a term added to the bound.
        own_rates: for claims about the tried rates: the bound is the best of these rates on each
            seed, and untried rates do not count.
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

    def value(self, compared: float) -> float:
        """The bound, given the number it is computed from.

        Several times a negative number would be less than the number, so such a number is not
        multiplied.
        """
        times = 1.0 if compared < 0 and self.times > 1 else self.times
        return times * compared + self.plus

    def of(self, what: str) -> str:
        """The bound in words, given words for the number it is computed from."""
        times = "" if self.times == 1 else f"{self.times:g} times "
        sign = "plus" if self.plus > 0 else "minus"
        return f"{times}{what}" + (f" {sign} {abs(self.plus):g}" if self.plus else "")


Bound = float | Of
Sign = Literal["at least", "above", "below"]
Place = Literal["right", "wrong", "between", "open", "none"]
"""Where a seed's number lies: certainly on the right or wrong side; between the bounds of a claim
and its converse; "open" if that is not known; "none" if there is no number."""


@dataclass(frozen=True)
class Side:
    """The side of a bound on which a number must lie.

    Attributes:
        sign: the relation to the bound.
        bound: the bound.
        converse: the bound of the converse, which holds on its other side.
    """

    sign: Sign
    bound: Bound
    converse: Bound

    def __str__(self) -> str:
        return f"{self.sign} {_text(self.bound)}"

    @property
    def is_high(self) -> bool:
        """True if high numbers are on the right side."""
        return self.sign != "below"

    @property
    def other(self) -> str:
        """The converse in words."""
        if not self.is_high:
            return f"at least {_text(self.converse)}"
        is_strict = self.sign == "at least" and self.converse == self.bound
        return f"{'below' if is_strict else 'at most'} {_text(self.converse)}"

    def record(self) -> dict[str, Any]:
        """The side as plain values, for JSON."""
        return {
            "sign": self.sign,
            "bound": _plain(self.bound),
            "converse": _plain(self.converse),
        }

    def place(self, number: Bounds | None, bound: Bounds | None, converse: Bounds | None) -> Place:
        """Where a number lies; the number and both bounds are given as intervals."""
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
