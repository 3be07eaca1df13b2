"""Whether a model that does not solve a task has failed, or may only lack steps or rates.

That something fails is a statement about a budget and a range of rates. It counts where the whole
range was tried, and another model solves the task within the budget, or twice the budget brings no
gain.
"""

from __future__ import annotations

from statistics import median

from recollect.papers.margins import GAIN, SOLVED
from recollect.papers.measured import NotMeasured
from recollect.papers.results import CellResults, Results
from recollect.studies.learnt import rates_text

LOWEST, HIGHEST = 1e-4, 1e-1
"""The full range of rates."""
ROUNDING = 1.02
"""Rates have three digits."""


WIDER = f"a wider range of rates, {rates_text(LOWEST, HIGHEST)}"
LONGER = "a longer budget, at which it or another model solves the task"


def doubt(cell: CellResults, results: Results, metric: str) -> str:
    """What could change that this model does not solve the task, in words; empty where it does, or
    has failed beyond doubt."""
    if _solves(cell, metric):
        return ""
    if not _has_full_range(cell):
        return WIDER
    if _sibling_solves(cell, results, metric) or _longer_is_in_vain(cell, results, metric):
        return ""
    return LONGER


def _solves(cell: CellResults, metric: str) -> bool:
    return median(cell.by_seed(metric).values()) >= SOLVED


def _has_full_range(cell: CellResults) -> bool:
    lowest, highest = cell.known("lowest_rate"), cell.known("highest_rate")
    return bool(lowest <= LOWEST * ROUNDING and highest >= HIGHEST / ROUNDING)


def _sibling_solves(cell: CellResults, results: Results, metric: str) -> bool:
    siblings = [other for other in results.all if _is_sibling(other, cell)]
    if any(other.finished and _solves(other, metric) for other in siblings):
        return True
    waiting = [other for other in siblings if not other.finished and not other.failed]
    if waiting:
        raise NotMeasured(f"not finished: {waiting[0]}, which may solve what {cell} does not")
    return False


def _is_sibling(other: CellResults, cell: CellResults) -> bool:
    """Whether it is another model with the same task and budget."""
    one, two = other.cell.template, cell.cell.template
    return (
        one["task"] == two["task"]
        and one["model"] != two["model"]
        and other.cell.steps == cell.cell.steps
    )


def _longer_is_in_vain(cell: CellResults, results: Results, metric: str) -> bool:
    return any(
        other.finished
        and all(other.cell.template[of] == cell.cell.template[of] for of in ("task", "model"))
        and other.known("budget") >= 2 * cell.known("budget")
        and _has_full_range(other)
        and other.accuracy(metric).value < cell.accuracy(metric).value + GAIN
        for other in results.all
    )
