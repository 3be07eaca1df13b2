"""Judges that several claims share, and the thresholds that they go by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from recollect.papers.claims import Finding, Judge, finding
from recollect.papers.measured import Measured
from recollect.papers.results import CellResults, Results

SOLVED = 0.9
"""A task is solved from here on: the line that Zoology draws for gated convolutions."""
FAILED = 0.5
"""A task is failed below: nearer to guessing than to the solution wherever there are several pairs,
and the least of which a learning-rate window is given (`analysis.learning_rate`)."""
ONE_PAIR = (0.5, 1.5)
"""How many of the pairs "about one" is: whatever rounds to it."""
AS_WIDE = 0.8
"""A learning-rate window of at least this share of another's is as wide. The edges lie between
tried rates, so that a window of a decade is known to a fifth at best."""


def solves(**where: Any) -> Judge:
    """Every cell of these settings is solved."""

    def judge(results: Results) -> Finding:
        cells = results.select(**where)
        measured = accuracies(cells)
        worst = min(cells, key=lambda cell: cell.accuracy().value)
        evidence = f"lowest of {len(cells)}: {worst} at {worst.accuracy()}"
        return finding(worst.accuracy().value >= SOLVED, evidence, measured)

    return judge


def best_solves(**where: Any) -> Judge:
    """The best cell of these settings is solved: of an architecture that may choose its width."""

    def judge(results: Results) -> Finding:
        best = best_of(results, **where)
        evidence = f"{best} at {best.accuracy()}"
        return finding(best.accuracy().value >= SOLVED, evidence, accuracies([best]))

    return judge


def needs(part: dict[str, Any], instead: dict[str, Any], **where: Any) -> Judge:
    """With the settings `part` the best cell is solved, with those `instead` it is failed."""

    def judge(results: Results) -> Finding:
        having, lacking = best_of(results, **where, **part), best_of(results, **where, **instead)
        holds = having.accuracy().value >= SOLVED and lacking.accuracy().value < FAILED
        evidence = f"{having} at {having.accuracy()}; {lacking} at {lacking.accuracy()}"
        return finding(holds, evidence, accuracies([having, lacking]))

    return judge


def recalls_one_pair(**where: Any) -> Judge:
    """Every cell of these settings gets about one of its pairs right."""

    def judge(results: Results) -> Finding:
        cells = results.select(**where)
        pairs = {str(cell): recalled_pairs(cell) for cell in cells}
        values = [each.value for each in pairs.values()]
        evidence = (
            f"{_range(pairs.values())} of"
            f" {_listed(cell.settings['num_kv_pairs'] for cell in cells)} pairs recalled at d_model"
            f" {_listed(cell.cell.d_model for cell in cells)}"
        )
        holds = all(ONE_PAIR[0] <= value <= ONE_PAIR[1] for value in values)
        return finding(holds, evidence, pairs)

    return judge


def window_is_narrower(mixer: str, than: str, **where: Any) -> Judge:
    """The learning-rate window is narrower than that of another mixer, wherever there is one."""

    def is_narrower(one: CellResults, other: CellResults) -> bool:
        return not _is_open(one) and one.decades.value < AS_WIDE * other.decades.value

    return _of_windows(mixer, than, is_narrower, **where)


def window_is_as_wide(mixer: str, as_of: str) -> Judge:
    """The learning-rate window is about as wide as that of another mixer, or wider."""

    def is_as_wide(one: CellResults, other: CellResults) -> bool:
        return one.decades.value >= AS_WIDE * other.decades.value

    return _of_windows(mixer, as_of, is_as_wide)


def _of_windows(
    mixer: str, other: str, holds: Callable[[CellResults, CellResults], bool], **where: Any
) -> Judge:
    """Two mixers at each task and width where the first has a window; either must have one
    somewhere."""

    def judge(results: Results) -> Finding:
        pairs = [
            (cell, results.one(mixer=other, task=cell.cell.task, d_model=cell.cell.d_model))
            for cell in results.select(mixer=mixer, **where)
        ]
        for name, cells in zip((mixer, other), zip(*pairs, strict=True), strict=True):
            if all(cell.window is None for cell in cells):
                return no_window(results, name)
        working = [pair for pair in pairs if pair[0].window is not None]
        evidence = "; ".join(
            f"{one}: {window_text(one)}, {other}: {window_text(partner)}"
            for one, partner in working
        )
        measured = {f"{cell}: decades": cell.decades for pair in working for cell in pair}
        return finding(all(holds(*pair) for pair in working), evidence, measured)

    return judge


def no_window(results: Results, mixer: str) -> Finding:
    """Of a mixer that works at no tried rate, so that nothing can be said of its window."""
    best = best_of(results, mixer=mixer)
    evidence = f"no tried rate works: the best is {best} at {best.accuracy()}"
    return finding(False, evidence, accuracies([best]))


def best_of(results: Results, **where: Any) -> CellResults:
    """The cell of the highest accuracy."""
    return max(results.select(**where), key=lambda cell: cell.accuracy().value)


def accuracies(cells: Iterable[CellResults]) -> dict[str, Measured]:
    """By what the cells are."""
    return {str(cell): cell.accuracy() for cell in cells}


def recalled_pairs(cell: CellResults) -> Measured:
    """How many of its pairs a model gets right."""
    accuracy, pairs = cell.accuracy(), cell.settings["num_kv_pairs"]
    return Measured(accuracy.value * pairs, accuracy.low * pairs, accuracy.high * pairs)


def window_text(cell: CellResults) -> str:
    """The width of a window with its interval."""
    width = cell.decades
    sign = ">=" if _is_open(cell) else ""
    return f"{sign}{width.value:.2f} decades ({width.low:.2f}–{width.high:.2f})"


def _is_open(cell: CellResults) -> bool:
    """Whether the window may reach further than was tried."""
    window = cell.window
    return window is not None and not (window.low_is_edge and window.high_is_edge)


def _range(numbers: Iterable[Measured]) -> str:
    """From the lowest seed of the lowest cell to the highest of the highest."""
    listed = list(numbers)
    return f"{min(n.low for n in listed):.2f} to {max(n.high for n in listed):.2f}"


def _listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(set(values))))
