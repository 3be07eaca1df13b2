"""What Zoology claims of language models, judged: the gap to attention on AR hits, and what closes
it (Arora, Eyuboglu et al., 2023, arXiv 2312.04927, table 1 and the table of hybrids)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from recollect.papers.claims import Finding, Judge, finding
from recollect.papers.language_results import LanguageResults
from recollect.papers.measured import Measured, NotMeasured
from recollect.papers.results import Results

ATTENTION, BASE_CONV = "attention", "base-conv"
GATED = ("hyena", "h3", "rwkv4", BASE_CONV)
"""The gated convolutions, as the paper counts them."""
HITS = "log_perplexity_hits"
MOST = 0.5
"""Most of a gap is more than this share of it."""


def trail_on_hits(results: Results) -> Finding:
    """Every gated convolution that was trained has the higher perplexity on AR hits."""
    measured, holds = {}, True
    for models in _groups(results, GATED):
        ours = models.measured(ATTENTION, HITS)
        measured[_name(results, models, ATTENTION)] = ours
        for model in _trained(models, GATED):
            measured[_name(results, models, model)] = theirs = models.measured(model, HITS)
            holds &= theirs.value > ours.value
    return finding(holds, f"log perplexity on AR hits: {_listed(measured)}", measured)


def gap_is_hits(results: Results) -> Finding:
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


def closes(model: str, *, most: bool) -> Judge:
    """A selection closes most of BaseConv's gap to attention on AR hits, or does not."""

    def judge(results: Results) -> Finding:
        measured, holds = {}, True
        for models in _groups(results, (model,)):
            ours, theirs, hybrid = (
                models.measured(each, HITS).value for each in (ATTENTION, BASE_CONV, model)
            )
            gap = theirs - ours
            if gap <= 0:
                none = Measured(gap, gap, gap)
                return finding(False, f"{BASE_CONV} has no gap on AR hits: {none}", {model: none})
            closed = (theirs - hybrid) / gap
            measured[_name(results, models, model)] = Measured(closed, closed, closed)
            holds &= (closed > MOST) == most
        evidence = f"share of the gap on AR hits that is closed: {_listed(measured)}"
        return finding(holds, evidence, measured)

    return judge


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
