"""What would decide an undecided part of a claim: in words, and as cells that need more runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass

from recollect.papers.cell_results import CellResults
from recollect.papers.deciding import TWICE
from recollect.papers.failure import LONGER
from recollect.papers.sign_tests import SignTest
from recollect.studies.best_rate import BestRateSearch
from recollect.studies.learnt import rates_text
from recollect.studies.rate_range import FULL_RANGE

ALL_RATES, ALL_RATES_TEXT = BestRateSearch().coarse, rates_text(*FULL_RANGE)


@dataclass(frozen=True)
class Remedy:
    """What would decide a part.

    Attributes:
        words: a sentence, or the reason why nothing would; empty if more runs may.
        seeds: cells for which more seeds could.
        rates: cells for which all rates on every seed could, each with the number of seeds.
        steps: cells for which a search with twice the steps could.
        longer: cells that may solve the task with a longer budget, and twice the steps would not
            decide it.
    """

    words: str = ""
    seeds: tuple[CellResults, ...] = ()
    rates: tuple[tuple[CellResults, int], ...] = ()
    steps: tuple[CellResults, ...] = ()
    longer: tuple[CellResults, ...] = ()

    @property
    def can_be_run(self) -> bool:
        """True if it names runs."""
        return bool(self.seeds or self.rates or self.steps)


def remedy(tests: Sequence[SignTest]) -> Remedy:
    """What would decide a part.

    If more runs may establish all undecided tests, these runs. Else the runs that may establish the
    converse of a test. Else the reason why no runs would.
    """
    undecided = [(test, _of_test(test)) for test in tests if test.state == "undecided"]
    hopeless = [each for test, each in undecided if not each.can_be_run]
    found = [
        (test, each)
        for test, each in undecided
        if each.can_be_run and (not hopeless or test.can_be("contradicted"))
    ]
    seeds = _unique(cell for _, each in found for cell in each.seeds)
    rates = tuple(dict.fromkeys(more for _, each in found for more in each.rates))
    steps = _unique(cell for _, each in found for cell in each.steps)
    longer = _unique(cell for each in hopeless for cell in each.longer)
    words = [each.words for each in hopeless if each.words and not found]
    if seeds:
        words.append(_more_seeds(seeds, max(test.missing for test, each in found if each.seeds)))
    if rates:
        words.append(_more_rates(rates))
    if steps:
        words.append(_more_steps(steps))
    if longer and not found:
        words.append(f"{LONGER} ({longer[0]}{_more(longer)})")
    return Remedy("; ".join(dict.fromkeys(words)), seeds, rates, steps, longer)


def _of_test(test: SignTest) -> Remedy:
    line = test.line
    if all(place == "none" for place in test.places):
        return Remedy(line.own.measure.needs)
    doubted, seeds = test.missing_rates()
    longer = test.may_need_longer
    if doubted and not any(cell in longer for cell in doubted):
        return Remedy(rates=tuple((cell, seeds) for cell in doubted))
    if test.missing and (test.can_be("established") or test.can_be("contradicted")):
        return Remedy(seeds=line.cells)
    if longer:
        if test.longer_may_establish and not any(cell.was_run_longer for cell in longer):
            return Remedy(steps=longer)
        return Remedy(longer=longer)
    if _is_open(test):
        opens = line.own.measure.opens
        return Remedy(opens) if opens else Remedy(longer=line.own.unit)
    return Remedy(_why_nothing(test))


def _is_open(test: SignTest) -> bool:
    """Return True if a number is only a lower bound even if no untried rate is better."""
    return "open" in test.at_best


def _why_nothing(test: SignTest) -> str:
    places = test.at_best
    seeds = max(len(places), test.looks[-1])
    if "right" in places and "wrong" in places:
        return f"nothing up to {seeds} seeds: there are seeds on both sides"
    if "between" in places and "right" in places:
        return f"nothing up to {seeds} seeds: on some the difference is smaller than the margin"
    if "between" in places:
        return "nothing: the difference has the right sign, but is smaller than the margin"
    if "none" in places:
        needs = test.line.own.measure.needs
        return f"nothing up to {seeds} seeds: some have no number" + (f"; {needs}" if needs else "")
    return f"nothing up to {seeds} seeds: too few of them lie on one side"


def _more_seeds(cells: Sequence[CellResults], missing: int) -> str:
    time = sum(cell.seconds_of_a_seed() for cell in cells) * missing
    return f"{missing} more seeds of {_models(cells)} (--decide), {_minutes(time)}"


def _more_rates(wanted: Sequence[tuple[CellResults, int]]) -> str:
    time = sum(len(ALL_RATES) * seeds * cell.seconds_of_a_trial() for cell, seeds in wanted)
    seeds = max(seeds for _, seeds in wanted)
    models = _models({id(cell): cell for cell, _ in wanted})
    return f"the rates {ALL_RATES_TEXT} on {seeds} seeds of {models} (--decide), {_minutes(time)}"


def _more_steps(cells: Sequence[CellResults]) -> str:
    time = TWICE * sum(cell.seconds_of_the_search for cell in cells)
    return f"a search with twice the steps of {_models(cells)} (--decide), {_minutes(time)}"


def _minutes(seconds: float) -> str:
    return f"about {max(1, round(seconds / 60)):,} min of training"


def _models(cells: Sized) -> str:
    return f"{len(cells)} model{'s' if len(cells) > 1 else ''}"


def _more(cells: Sequence[CellResults]) -> str:
    return f" and {len(cells) - 1} more" if len(cells) > 1 else ""


def _unique(cells: Iterable[CellResults]) -> tuple[CellResults, ...]:
    return tuple(dict.fromkeys(cells))
