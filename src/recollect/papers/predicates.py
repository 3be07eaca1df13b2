"""Judges that several claims share, and the thresholds that they go by."""

from __future__ import annotations

from collections.abc import Iterable
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


def window_is_narrower(
    mixer: str, than: str, metric: str = "valid_accuracy", **judged: Any
) -> Judge:
    """The learning-rate window is narrower than that of another mixer wherever there is one, and
    neither lies within the other's interval.

    Args:
        mixer: the one.
        than: the other.
        metric: what a rate has to be good at.
        judged: settings of the cells that the verdict goes by; the others are told beside them.
    """

    def is_narrower(one: CellResults, other: CellResults) -> bool:
        narrow, wide = one.decades(metric), other.decades(metric)
        apart = narrow.value < wide.low and narrow.high < wide.value
        return not _is_open(one, metric) and apart and narrow.value < AS_WIDE * wide.value

    def judge(results: Results) -> Finding:
        pairs = _pairs(results, mixer, than)
        working = [pair for pair in pairs if pair[0].window(metric)]
        counting = [pair for pair in working if pair[0].fits(**judged)]
        beside = [pair for pair in working if not pair[0].fits(**judged)]
        if not counting:
            return no_window(results, mixer)
        if not any(other.window(metric) for _, other in counting):
            return no_window(results, than)
        told = [pair_text(pair, metric) for pair in counting]
        told += [f"not judged: {pair_text(pair, metric)}" for pair in beside]
        holds = all(is_narrower(*pair) for pair in counting)
        return finding(holds, "; ".join(told), _decades(working, metric))

    return judge


def window_is_as_wide(mixer: str, as_of: str) -> Judge:
    """The learning-rate window is about as wide as that of another mixer, or wider, wherever that
    has one."""

    def is_as_wide(one: CellResults, other: CellResults) -> bool:
        return one.decades().value >= AS_WIDE * other.decades().value

    def judge(results: Results) -> Finding:
        pairs = [pair for pair in _pairs(results, mixer, as_of) if pair[1].window()]
        if not pairs:
            return no_window(results, as_of)
        told = "; ".join(pair_text(pair) for pair in pairs)
        return finding(all(is_as_wide(*pair) for pair in pairs), told, _decades(pairs))

    return judge


Pair = tuple[CellResults, CellResults]


def _pairs(results: Results, mixer: str, other: str) -> list[Pair]:
    """Two mixers at each task and width."""
    return [
        (cell, results.one(mixer=other, task=cell.cell.task, d_model=cell.cell.d_model))
        for cell in results.select(mixer=mixer)
    ]


def _decades(pairs: Iterable[Pair], metric: str = "valid_accuracy") -> dict[str, Measured]:
    return {f"{cell}: decades": cell.decades(metric) for pair in pairs for cell in pair}


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


def window_text(cell: CellResults, metric: str = "valid_accuracy") -> str:
    """The width of a window with its interval."""
    width = cell.decades(metric)
    sign = ">=" if _is_open(cell, metric) else ""
    return f"{sign}{width.value:.2f} decades ({width.low:.2f}–{width.high:.2f})"


def pair_text(pair: Pair, metric: str = "valid_accuracy") -> str:
    """Those of two mixers at one place."""
    one, other = pair
    beside = f"{other.cell.mixer}: {window_text(other, metric)}"
    return f"{one}: {window_text(one, metric)}, {beside}"


def _is_open(cell: CellResults, metric: str) -> bool:
    """Whether the window may reach further than was tried."""
    window = cell.window(metric)
    return window is not None and not (window.low_is_edge and window.high_is_edge)


def _range(numbers: Iterable[Measured]) -> str:
    """From the lowest seed of the lowest cell to the highest of the highest."""
    listed = list(numbers)
    return f"{min(n.low for n in listed):.2f} to {max(n.high for n in listed):.2f}"


def _listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(set(values))))
