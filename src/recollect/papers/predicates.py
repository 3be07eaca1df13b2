"""Common parts of claims."""

from __future__ import annotations

from typing import Literal

from recollect.papers.bounds import Of
from recollect.papers.margins import (
    AS_WIDE,
    FAILED,
    ONE_PAIR,
    SOLVED,
    WHY_AS_WIDE,
    WHY_FAILED,
    WHY_ONE_PAIR,
    WHY_SOLVED,
)
from recollect.papers.measures import ACCURACY, PAIRS, WINDOW, Measure
from recollect.papers.parts import Part
from recollect.papers.selectors import Where


def solves(
    cells: Where, *, of: Literal["each", "best"] = "each", measure: Measure = ACCURACY
) -> Part:
    """The part that says that the task is solved."""
    return Part(cells=cells, measure=measure, at_least=SOLVED, of=of, why=WHY_SOLVED)


def fails(cells: Where, *, measure: Measure = ACCURACY) -> Part:
    """The part that says that the task is failed."""
    return Part(cells=cells, measure=measure, below=FAILED, why=WHY_FAILED)


def recalls_one_pair(cells: Where) -> Part:
    """The part that says that about one pair is recalled, whatever the number of pairs."""
    low, high = ONE_PAIR
    return Part(cells=cells, measure=PAIRS, at_least=low, below=high, why=WHY_ONE_PAIR)


def is_narrower(cells: Where, than: Where, *, measure: Measure = WINDOW) -> Part:
    """The part that says that a learning-rate window is narrower; equal windows contradict it."""
    return Part(
        cells=cells,
        measure=measure,
        below=Of(cells=than, times=AS_WIDE),
        converse=Of(cells=than),
        why=WHY_AS_WIDE,
    )


def is_as_wide(cells: Where, as_of: Where) -> Part:
    """The part that says that a learning-rate window is about as wide as another's, or wider."""
    bound = Of(cells=as_of, times=AS_WIDE)
    return Part(cells=cells, measure=WINDOW, at_least=bound, why=WHY_AS_WIDE)
