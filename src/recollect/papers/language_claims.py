"""Tests of statements about language models and AR hits.

In Zoology (Arora, Eyuboglu et al., 2023, arXiv 2312.04927), 6.4 % of the tokens are AR hits, at a
bound of 1,250 occurrences in 10 billion training tokens. On a shorter text that bound gives a
larger share, which may change a verdict. So each part is tested at the bound whose share is nearest
to the paper's, and must have the same result at half and twice that share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recollect.analysis.ratio import Ratio
from recollect.analysis.unread import documents_needed
from recollect.language.ar_hits import bound_in_words
from recollect.language.document_sums import DocumentSums, Tokens
from recollect.papers.claims import PartFinding, State
from recollect.papers.language_results import LanguageResults
from recollect.papers.measured import MeasuredNumber, NotMeasured
from recollect.papers.results import PaperResults

ATTENTION = "attention"
TIMES = (1.0, 0.5, 2.0)
"""Multiples of the paper's share of hits: the first gives the verdict, which must hold at all."""
HALVED = 0.5
"""Factor on the level of each end of an interval, which errs more often than its nominal level if a
few documents have a much larger gap than the others."""
ENOUGH_SEEDS = 3
"""Seeds that each judged model needs: one seed says nothing about others."""


Tested = Callable[[DocumentSums, str, Tokens], Ratio]
"""The number that must be above 0, for a model and a set of tokens."""
Printed = Callable[[DocumentSums, str, Tokens], tuple[float, float, float]]
"""The printed number and the ends of its 95 % interval, for a model and a set of tokens."""
Case = tuple[LanguageResults, str]
"""A group of models, and the name of a model in it."""


@dataclass(frozen=True, kw_only=True)
class LanguagePart:
    """A statement about models, tested by intervals over documents and seeds.

    Attributes:
        sentence: what is tested.
        why: the reason for its margin.
        models: the models it is about; untrained ones are skipped.
        number: the name of the printed number.
        printed: the printed number.
        tested: a number that is above 0 if the statement holds.
        converse: a number that is below 0 if the converse holds.
        gap: the gap that it is about.
        compared: the models with which each is compared.
        on_hits: True if it is about AR hits, False if about all tokens.
        of_gap: whether the number is a share of the gap, which must then be above 0.
    """

    sentence: str
    why: str
    models: tuple[str, ...]
    number: str
    printed: Printed
    tested: Tested
    converse: Tested
    gap: Tested
    compared: tuple[str, ...] = (ATTENTION,)
    on_hits: bool = True
    of_gap: bool = False

    def record(self) -> dict[str, Any]:
        """The statement as plain values, for JSON."""
        return {"sentence": self.sentence, "why": self.why, "models": list(self.models)}

    def judge(self, results: PaperResults, level: float, converse_level: float) -> PartFinding:
        """Test the statement, see `claims.Statement`."""
        cases = _cases(results, self.models)
        states = {
            times: self._state(cases, times, level, converse_level)
            for times in (TIMES if self.on_hits else TIMES[:1])
        }
        numbers = {_name(results, case): self.printed(*self._at(case, 1)) for case in cases}
        decides = self._what_decides(cases, states)
        return PartFinding(
            "undecided" if decides else states[1],
            (self._evidence(cases, numbers, states),),
            {
                f"{name}: {self.number}": _measured(*number)
                for name, number in numbers.items()
                if not math.isnan(number[0])
            },
            decides=decides,
        )

    def _state(
        self, cases: Sequence[Case], times: float, level: float, converse_level: float
    ) -> State:
        """Established if all numbers are above 0, contradicted if one is below."""
        above, below = [], []
        for case in cases:
            at = self._at(case, times)
            tested, converse, gap = self.tested(*at), self.converse(*at), self.gap(*at)
            documents = at[0].tokens.shape[-1]
            low, _ = tested.interval(1 - 2 * HALVED * level)
            _, high = converse.interval(1 - 2 * HALVED * converse_level / len(cases))
            is_there = not self.of_gap or gap.interval()[0] > 0
            above.append(is_there and low > 0 and _is_enough(tested, gap, documents))
            below.append(is_there and high < 0 and _is_enough(converse, gap, documents))
        return "established" if all(above) else "contradicted" if any(below) else "undecided"

    def _what_decides(self, cases: Sequence[Case], states: Mapping[float, State]) -> str:
        """What would decide it; empty if it is decided."""
        found = set(states.values())
        if {"established", "contradicted"} <= found:
            return "nothing on this text: the result depends on the bound on the training count"
        for group, _ in cases:
            if len({group.bound(times) for times in states}) < len(states):
                return (
                    "another text: on this one, no bounds on the training count give these shares"
                )
        if "undecided" not in found:
            return ""
        needed = " and ".join(
            filter(None, (self._seeds_needed(cases), self._documents_needed(cases, states)))
        )
        return (
            self._without_a_gap(cases)
            or self._between_the_bounds(cases)
            or needed
            or "more seeds, or a longer text to test on"
        ) + ("" if len(found) == 1 else ", unless the result depends on the bound")

    def _without_a_gap(self, cases: Sequence[Case]) -> str:
        """A sentence if the number is a share of a gap that is not established; else empty."""
        for case in cases:
            gap = self.gap(*self._at(case, 1))
            if self.of_gap and gap.seeds > 1 and not gap.interval()[0] > 0:
                return f"nothing on this text: no gap of {case[1]} is established"
        return ""

    def _seeds_needed(self, cases: Sequence[Case]) -> str:
        lacking = {
            (group.plan.name, model): model
            for group, name in cases
            for model in (*self.compared, name)
            if group.measured.models.count(model) == 1
        }
        if not lacking:
            return ""
        names = ", ".join(dict.fromkeys(lacking.values()))
        trainings = (ENOUGH_SEEDS - 1) * len(lacking)
        return f"one seed each of {names}: {trainings} more trainings"

    def _documents_needed(self, cases: Sequence[Case], states: Mapping[float, State]) -> str:
        """How many documents it needs; empty if more documents alone would not decide it."""
        here = max(group.measured.tokens.shape[-1] for group, _ in cases)
        needed = 0.0
        for case in cases:
            for times in states:
                at = self._at(case, times)
                tested, converse, gap = self.tested(*at), self.converse(*at), self.gap(*at)
                above, below = tested.interval()[0] > 0, converse.interval()[1] < 0
                if not (above or below):
                    return ""
                value = float((tested if above else converse).value)
                needed = max(needed, documents_needed(value, float(gap.value)))
        if needed <= here:
            return ""
        return (
            f"{needed:,.0f} documents to test on: {here:,} may lack a kind of document with a much"
            " larger gap"
        )

    def _between_the_bounds(self, cases: Sequence[Case]) -> str:
        """A sentence if a number lies between its bound and that of the converse; else empty."""
        for case in cases:
            at = self._at(case, 1)
            if self.tested(*at).interval()[1] < 0 < self.converse(*at).interval()[0]:
                return (
                    f"nothing on this text: {case[1]} lies between the bounds of part and converse"
                )
        return ""

    def _at(self, case: Case, times: float) -> tuple[DocumentSums, str, Tokens]:
        group, model = case
        return group.measured, model, group.bound(times) if self.on_hits else "all"

    def _evidence(
        self,
        cases: Sequence[Case],
        numbers: Mapping[str, tuple[float, float, float]],
        states: Mapping[float, State],
    ) -> str:
        found = []
        for (group, model), (name, number) in zip(cases, numbers.items(), strict=True):
            seeds = group.measured.models.count(model)
            text = "undefined" if math.isnan(number[0]) else str(_measured(*number))
            found.append(f"{name} {text}, {'one seed' if seeds == 1 else f'{seeds} seeds'}")
        evidence = f"{self.number}: {'; '.join(found)}"
        if not self.on_hits:
            return evidence
        where = "; ".join(dict.fromkeys(_shares_in_words(group, states) for group, _ in cases))
        return f"{evidence} ({where})"


def _is_enough(found: Ratio, gap: Ratio, documents: int) -> bool:
    """Return True if there are enough seeds and documents to test the sign of a number."""
    return found.seeds > 1 and documents >= documents_needed(float(found.value), float(gap.value))


def _cases(results: PaperResults, names: Sequence[str]) -> list[Case]:
    """All pairs of a group and one of these models in it.

    Raises:
        NotMeasured: if no group has any of these models.
    """
    found = [
        (group, name) for group in results.language for name in names if name in group.plan.models
    ]
    if not found:
        raise NotMeasured(f"no {' or '.join(names)} at this scale")
    return found


def _shares_in_words(group: LanguageResults, states: Mapping[float, State]) -> str:
    """The share of AR hits, and the results at other bounds, in words."""
    shares = group.measured.hit_shares
    others = {
        times: f"{100 * shares[group.bound(times)]:.1f} %" for times in sorted(states) if times != 1
    }
    where = f"{100 * shares[group.bound()]:.1f} % of the tokens, {bound_in_words(group.bound())}"
    if len(set(states.values())) == 1:
        return f"hits are {where}; same result at {' and '.join(others.values())}"
    at = [f"{states[1]} there", *(f"{states[times]} at {text}" for times, text in others.items())]
    return f"hits are {where}: {', '.join(at)}"


def _measured(value: float, low: float, high: float) -> MeasuredNumber:
    """A number with its interval, or the number alone if the interval is undefined."""
    return MeasuredNumber(value, *(value if math.isnan(end) else end for end in (low, high)))


def _name(results: PaperResults, case: Case) -> str:
    """A model, with its group if there are several."""
    group, model = case
    if len(results.language) == 1:
        return model
    return f"{model} {group.plan.name.rpartition('-')[2]}"
