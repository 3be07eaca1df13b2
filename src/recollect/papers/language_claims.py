"""What Zoology claims of language models: the gap to attention on AR hits, and what closes it
(Arora, Eyuboglu et al., 2023, arXiv 2312.04927, table 1 and the table of hybrids).

The paper's hits are 6.4 % of the tokens. Its bound on the training count, 1,250 in 10 billion
tokens, leaves more of them on a shorter text, and a verdict may go with it: each part is tested
where the hits are nearest to this share, and must come out alike at half and at twice the share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from recollect.analysis.ratio import Ratio
from recollect.analysis.unread import documents_needed
from recollect.language.ar_hits import PAPER_HIT_SHARE, bound_in_words
from recollect.language.document_sums import DocumentSums, Tokens
from recollect.language.gap import closed_share, difference, excess_of_hits, gap_share
from recollect.papers.claims import PartFinding, State
from recollect.papers.language_results import LanguageResults
from recollect.papers.measured import Measured, NotMeasured
from recollect.papers.results import Results

ATTENTION, BASE_CONV = "attention", "base-conv"
GATED = ("hyena", "h3", "rwkv4", BASE_CONV)
"""The gated convolutions, as the paper counts them."""
GAP = 0.05
"""In nats, from here on there is a gap."""
MOST = 0.5
"""Most of a gap is more than this share of it."""
TIMES = (1.0, 0.5, 2.0)
"""The paper's share of hits, at which a verdict is taken, and those at which it must hold."""
WHERE = "at the bounds on the training count that make {}, {} and {} of the tokens hits".format(
    *(f"{100 * times * PAPER_HIT_SHARE:.1f} %" for times in sorted(TIMES))
)
HALVED = 0.5
"""Of its level, at which each end of an interval is tested: where a few documents have a much
larger gap than the others, an end still errs more often than it says."""
ENOUGH_SEEDS = 3
"""Of a model about which something is claimed: one seed says nothing of others."""
WHY_GAP = (
    f"{GAP} nats are 5 % of perplexity, less than a tenth of the smallest gap on hits that the"
    " paper prints"
)
WHY_MOST = "most is more than half"


Tested = Callable[[DocumentSums, str, Tokens], Ratio]
"""What has to be above 0, of a model and a set of tokens."""
Told = Callable[[DocumentSums, str, Tokens], tuple[float, float, float]]
"""A number and the ends of its interval of 95 %, likewise."""
Case = tuple[LanguageResults, str]
"""A model, and the group that it is in."""


@dataclass(frozen=True, kw_only=True)
class LanguagePart:
    """Something that each of some models is held against, by an interval over documents and seeds.

    Attributes:
        sentence: what is tested.
        why: the reason for its margin.
        models: of whichever of these are trained.
        number: the name of what people are told of them.
        told: that number.
        tested: what has to be above 0.
        converse: what has to be below 0 for its converse.
        gap: which it is about.
        compared: the models with which each is compared.
        on_hits: whether it is about AR hits, and not about all tokens.
    """

    sentence: str
    why: str
    models: tuple[str, ...]
    number: str
    told: Told
    tested: Tested
    converse: Tested
    gap: Tested
    compared: tuple[str, ...] = (ATTENTION,)
    on_hits: bool = True

    def record(self) -> dict[str, Any]:
        """Everything about it as plain values, for JSON."""
        return {"sentence": self.sentence, "why": self.why, "models": list(self.models)}

    def judge(self, results: Results, level: float, converse_level: float) -> PartFinding:
        """Hold results against it, see `claims.Statement`."""
        cases = _cases(results, self.models)
        states = {
            times: self._state(cases, times, level, converse_level)
            for times in (TIMES if self.on_hits else TIMES[:1])
        }
        numbers = {_name(results, case): self.told(*self._at(case, 1)) for case in cases}
        decides = self._what_decides(cases, states)
        return PartFinding(
            "undecided" if decides else states[1],
            self._evidence(cases, numbers, states),
            {
                f"{name}: {self.number}": _measured(*number)
                for name, number in numbers.items()
                if not math.isnan(number[0])
            },
            decides,
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
            above.append(low > 0 and _is_enough(tested, gap, documents))
            below.append(high < 0 and _is_enough(converse, gap, documents))
        return "established" if all(above) else "contradicted" if any(below) else "undecided"

    def _what_decides(self, cases: Sequence[Case], states: Mapping[float, State]) -> str:
        """What would; "" where it is decided."""
        found = set(states.values())
        if {"established", "contradicted"} <= found:
            return "nothing on this text: it depends on the bound on the training count"
        for group, _ in cases:
            if len({group.bound(times) for times in states}) < len(states):
                return "another text: on this one no bounds on the training count give such shares"
        if "undecided" not in found:
            return ""
        return (
            self._seeds_that_decide(cases)
            or self._documents_that_decide(cases, states)
            or self._between_the_bounds(cases)
            or "more seeds, or a longer text to test on"
        ) + ("" if len(found) == 1 else ", unless it depends on the bound")

    def _seeds_that_decide(self, cases: Sequence[Case]) -> str:
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
        return f"one seed each of {names}: {trainings} more trainings would decide"

    def _documents_that_decide(self, cases: Sequence[Case], states: Mapping[float, State]) -> str:
        """Where it is only for documents that may be missing that it is undecided."""
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
            f"{needed:,.0f} documents to test on: from {here:,} a kind of document with a much"
            " larger gap may be missing"
        )

    def _between_the_bounds(self, cases: Sequence[Case]) -> str:
        """Where a number is neither beyond its bound nor beyond that of the converse."""
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
        told = []
        for (group, model), (name, number) in zip(cases, numbers.items(), strict=True):
            seeds = group.measured.models.count(model)
            text = "undefined" if math.isnan(number[0]) else str(_measured(*number))
            told.append(f"{name} {text}, {'one seed' if seeds == 1 else f'{seeds} seeds'}")
        evidence = f"{self.number}: {'; '.join(told)}"
        if not self.on_hits:
            return evidence
        where = "; ".join(dict.fromkeys(_shares_in_words(group, states) for group, _ in cases))
        return f"{evidence} ({where})"


def trails(*models: str, on_hits: bool) -> LanguagePart:
    """Each of these models has a higher log perplexity than attention."""

    def beyond(sums: DocumentSums, model: str, tokens: Tokens) -> Ratio:
        found = gap_to_attention(sums, model, tokens)
        return replace(found, value=found.value - GAP)

    def told(sums: DocumentSums, model: str, tokens: Tokens) -> tuple[float, float, float]:
        found = gap_to_attention(sums, model, tokens)
        low, high = found.interval()
        return float(found.value), float(low), float(high)

    among = "AR hits" if on_hits else "all tokens"
    sentence = (
        f"{_each(models)}: log perplexity on {among} above attention's by more than {GAP}"
        " (converse: below attention's)"
    )
    return LanguagePart(
        sentence=f"{sentence}, {WHERE}" if on_hits else sentence,
        why=WHY_GAP,
        models=models,
        number=f"log perplexity on {among} above attention's",
        told=told,
        tested=beyond,
        converse=gap_to_attention,
        gap=gap_to_attention,
        on_hits=on_hits,
    )


def gap_is_hits(*models: str) -> LanguagePart:
    """More than half of the gap of each of these models to attention lies on AR hits."""

    def beyond(sums: DocumentSums, model: str, tokens: Tokens) -> Ratio:
        return excess_of_hits(sums, model, MOST, tokens)

    return LanguagePart(
        sentence=f"{_each(models)}: more than {100 * MOST:g} % of its gap to attention lies on AR"
        f" hits, {WHERE}",
        why=WHY_MOST,
        models=models,
        number="share of the gap to attention on AR hits, unclipped",
        told=gap_share,
        tested=beyond,
        converse=beyond,
        gap=lambda sums, model, _: gap_to_attention(sums, model, "all"),
    )


def closes(model: str, *, most: bool) -> LanguagePart:
    """A selection closes more than half of BaseConv's gap to attention on AR hits, or less."""
    sign = 1.0 if most else -1.0
    beyond_half = {BASE_CONV: sign * (1 - MOST), ATTENTION: sign * MOST, model: -sign}

    def beyond(sums: DocumentSums, _: str, tokens: Tokens) -> Ratio:
        return difference(sums, beyond_half, tokens)

    def told(sums: DocumentSums, _: str, tokens: Tokens) -> tuple[float, float, float]:
        return closed_share(sums, model, BASE_CONV, tokens)

    return LanguagePart(
        sentence=f"{model}: closes {'more' if most else 'less'} than {100 * MOST:g} % of BaseConv's"
        f" gap to attention on AR hits, {WHERE}",
        why=WHY_MOST,
        models=(model,),
        number="share of BaseConv's gap to attention on AR hits that is closed",
        told=told,
        tested=beyond,
        converse=beyond,
        gap=lambda sums, _, tokens: gap_to_attention(sums, BASE_CONV, tokens),
        compared=(ATTENTION, BASE_CONV),
    )


def gap_to_attention(sums: DocumentSums, model: str, tokens: Tokens) -> Ratio:
    """How much higher the log perplexity of a model is."""
    return difference(sums, {model: 1.0, ATTENTION: -1.0}, tokens)


def _is_enough(found: Ratio, gap: Ratio, documents: int) -> bool:
    """Whether there are seeds and documents enough to tell on which side of 0 a number is."""
    return found.seeds > 1 and documents >= documents_needed(float(found.value), float(gap.value))


def _cases(results: Results, names: Sequence[str]) -> list[Case]:
    """The groups that have some of these models, with each of them.

    Raises:
        NotMeasured: if there is none.
    """
    found = [
        (group, name) for group in results.language for name in names if name in group.plan.models
    ]
    if not found:
        raise NotMeasured(f"no {' or '.join(names)} at this scale")
    return found


def _shares_in_words(group: LanguageResults, states: Mapping[float, State]) -> str:
    """Of how many tokens, and what came out at other bounds."""
    shares = group.measured.hit_shares
    told = {
        times: f"{100 * shares[group.bound(times)]:.1f} %" for times in sorted(states) if times != 1
    }
    where = f"{100 * shares[group.bound()]:.1f} % of the tokens, {bound_in_words(group.bound())}"
    if len(set(states.values())) == 1:
        return f"hits are {where}; alike at {' and '.join(told.values())}"
    at = [f"{states[1]} there", *(f"{states[times]} at {text}" for times, text in told.items())]
    return f"hits are {where}: {', '.join(at)}"


def _measured(value: float, low: float, high: float) -> Measured:
    """Without an interval, the number alone."""
    return Measured(value, *(value if math.isnan(end) else end for end in (low, high)))


def _each(models: Sequence[str]) -> str:
    return models[0] if len(models) == 1 else f"each of {', '.join(models)} that is trained"


def _name(results: Results, case: Case) -> str:
    """A model, with its group where there are several."""
    group, model = case
    if len(results.language) == 1:
        return model
    return f"{model} {group.plan.name.rpartition('-')[2]}"
