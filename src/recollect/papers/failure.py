"""Whether a model that does not solve a task has failed, or may only lack steps or rates.

That something fails is a statement about a budget and a range of rates. It counts where the whole
range was tried, and another model solves the task within the budget, or twice the budget brings no
gain.
"""

from __future__ import annotations

from statistics import median

from recollect.papers.margins import GAIN, SOLVED
from recollect.papers.results import CellResults, Results

LOWEST, HIGHEST = 1e-4, 1e-1
"""The full range of rates."""
ROUNDING = 1.02
"""Rates have three digits."""


def doubt(cell: CellResults, results: Results, metric: str) -> str:
    """What a longer search of this model could change, in words; empty where it solves the task, or
    has failed beyond doubt."""
    if _solves(cell, metric):
        return ""
    if not _has_full_range(cell):
        return f"a wider range of rates for {cell} ({LOWEST:g} to {HIGHEST:g})"
    if _sibling_solves(cell, results, metric) or _longer_is_in_vain(cell, results, metric):
        return ""
    return f"a longer budget for {cell}, at which it or another model solves the task"


def _solves(cell: CellResults, metric: str) -> bool:
    return median(cell.by_seed(metric).values()) >= SOLVED


def _has_full_range(cell: CellResults) -> bool:
    lowest, highest = cell.known("lowest_rate"), cell.known("highest_rate")
    return bool(lowest <= LOWEST * ROUNDING and highest >= HIGHEST / ROUNDING)


def _sibling_solves(cell: CellResults, results: Results, metric: str) -> bool:
    return any(
        other.finished
        and other.cell.template["task"] == cell.cell.template["task"]
        and other.cell.template["model"] != cell.cell.template["model"]
        and other.known("budget") == cell.known("budget")
        and _solves(other, metric)
        for other in results.all
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
