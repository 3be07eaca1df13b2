"""What Zoology claims of language models, judged: the gap to attention on AR hits, and what closes
it (Arora, Eyuboglu et al., 2023, arXiv 2312.04927, table 1 and the table of hybrids)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recollect.papers.claims import PartFinding
from recollect.papers.language_results import LanguageResults
from recollect.papers.measured import Measured, NotMeasured
from recollect.papers.results import Results

ATTENTION, BASE_CONV = "attention", "base-conv"
GATED = ("hyena", "h3", "rwkv4", BASE_CONV)
"""The gated convolutions, as the paper counts them."""
GAP_ON_HITS = "gap_hits"
MOST = 0.5
"""Most of a gap is more than this share of it."""


LanguageJudge = Callable[[Results], PartFinding]


@dataclass(frozen=True)
class LanguagePart:
    """Something that language models are held against.

    Attributes:
        sentence: what is tested.
        found: holds results against it.
        why: the reason for its margin.
    """

    sentence: str
    found: LanguageJudge
    why: str = ""

    def record(self) -> dict[str, Any]:
        """Everything about it as plain values, for JSON."""
        return {"sentence": self.sentence, "why": self.why}

    def judge(self, results: Results, level: float, converse_level: float) -> PartFinding:  # noqa: ARG002
        """Hold results against it, see `claims.Statement`."""
        return self.found(results)


def finding(holds: bool, evidence: str, measured: Mapping[str, Measured]) -> PartFinding:
    """Of results that are there."""
    return PartFinding("established" if holds else "undecided", evidence, measured)


def trail_on_hits(results: Results) -> PartFinding:
    """Every gated convolution that was trained has the higher perplexity on AR hits, by more than
    the documents that were read make out."""
    measured = {
        _name(results, models, model): models.measured(model, GAP_ON_HITS)
        for models in _groups(results, GATED)
        for model in _trained(models, GATED)
    }
    holds = all(gap.low > 0 for gap in measured.values())
    evidence = f"log perplexity on AR hits above that of attention: {_listed(measured)}"
    return finding(holds, evidence, measured)


def gap_is_hits(results: Results) -> PartFinding:
    """On average over the gated convolutions, more than half; all must have a gap."""
    measured = {}
    for models in _groups(results, GATED):
        for model in _trained(models, GATED):
            name = _name(results, models, model)
            share = models.measured(model, "gap_share")
            if math.isnan(share.value):
                gap = models.measured(model, "gap")
                return finding(False, f"{name} has no gap to attention: {gap}", {name: gap})
            measured[name] = share
    shares = [min(max(share.value, 0.0), 1.0) for share in measured.values()]
    mean = sum(shares) / len(shares)
    evidence = f"{mean:.0%} on average of shares clipped to 0 to 100 %; {_listed(measured)}"
    return finding(mean > MOST, evidence, measured)


def closes(model: str, *, most: bool) -> LanguageJudge:
    """A selection closes most of BaseConv's gap to attention on AR hits, or does not, whichever
    documents are read."""

    def judge(results: Results) -> PartFinding:
        measured: dict[str, Measured] = {}
        gaps: dict[str, Measured] = {}
        for models in _groups(results, (model,)):
            base, hybrid = (models.measured(each, GAP_ON_HITS) for each in (BASE_CONV, model))
            if base.low <= 0:
                none = f"{BASE_CONV} has no gap on AR hits: {base}"
                return finding(False, none, {_name(results, models, BASE_CONV): base})
            measured[_name(results, models, model)] = _closed(base, hybrid)
            gaps |= {
                _name(results, models, BASE_CONV): base,
                _name(results, models, model): hybrid,
            }
        closed = measured.values()
        holds = all(each.low > MOST if most else each.high <= MOST for each in closed)
        evidence = (
            f"share of the gap on AR hits that is closed: {_listed(measured)}; gaps to attention in"
            f" log perplexity: {_listed(gaps)}"
        )
        return finding(holds, evidence, measured)

    return judge


def _closed(base: Measured, hybrid: Measured) -> Measured:
    """The share of the one's gap that the other does not have; its interval goes as far as those of
    the gaps allow."""
    ends = [1 - gap / of for gap in (hybrid.low, hybrid.high) for of in (base.low, base.high)]
    return Measured(1 - hybrid.value / base.value, min(ends), max(ends))


def _groups(results: Results, names: Sequence[str]) -> list[LanguageResults]:
    """The groups that have one of these models.

    Raises:
        NotMeasured: if there is none.
    """
    found = [models for models in results.language if _trained(models, names)]
    if not found:
        raise NotMeasured(f"no {' or '.join(names)} at this scale")
    return found


def _trained(models: LanguageResults, names: Sequence[str]) -> list[str]:
    return [name for name in names if name in models.plan.models]


def _name(results: Results, models: LanguageResults, model: str) -> str:
    """With its group, where there are several."""
    if len(results.language) == 1:
        return model
    return f"{model} {models.plan.name.rpartition('-')[2]}"


def _listed(measured: Mapping[str, Measured]) -> str:
    return "; ".join(f"{name} {number}" for name, number in measured.items())
