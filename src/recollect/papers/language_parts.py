"""The statements of Zoology's claims about language models: the gap to attention on AR hits, and
what closes it (Arora, Eyuboglu et al., 2023, arXiv 2312.04927, table 1 and the table of hybrids).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recollect.analysis.ratio import Ratio
from recollect.language.ar_hits import PAPER_HIT_SHARE
from recollect.language.document_sums import DocumentSums, Tokens
from recollect.language.gap import closed_share, difference, excess_of_hits, gap_share
from recollect.papers.language_claims import ATTENTION, TIMES, LanguagePart

BASE_CONV = "base-conv"
GATED = ("hyena", "h3", "rwkv4", BASE_CONV)
"""The models that the paper calls gated convolutions."""
GAP = 0.05
"""The smallest gap that counts, in nats."""
MOST = 0.5
""""Most" of a gap means more than this share."""
WHERE = "at the bounds on the training count that make {}, {} and {} of the tokens hits".format(
    *(f"{100 * times * PAPER_HIT_SHARE:.1f} %" for times in sorted(TIMES))
)
WHY_GAP = (
    f"{GAP} nats are 5 % of perplexity, less than a tenth of the smallest gap on hits that the"
    " paper prints"
)
WHY_MOST = "most is more than half"


def trails(*models: str, on_hits: bool) -> LanguagePart:
    """The statement that each of these models has a higher log perplexity than attention."""

    def beyond(sums: DocumentSums, model: str, tokens: Tokens) -> Ratio:
        found = gap_to_attention(sums, model, tokens)
        return replace(found, value=found.value - GAP)

    def printed(sums: DocumentSums, model: str, tokens: Tokens) -> tuple[float, float, float]:
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
        printed=printed,
        tested=beyond,
        converse=gap_to_attention,
        gap=gap_to_attention,
        on_hits=on_hits,
    )


def gap_is_hits(*models: str) -> LanguagePart:
    """The statement that more than half of each model's gap to attention lies on AR hits."""

    def beyond(sums: DocumentSums, model: str, tokens: Tokens) -> Ratio:
        return excess_of_hits(sums, model, MOST, tokens)

    return LanguagePart(
        sentence=f"{_each(models)}: more than {100 * MOST:g} % of its gap to attention lies on AR"
        f" hits, {WHERE}",
        why=WHY_MOST,
        models=models,
        number="share of the gap to attention on AR hits, unclipped",
        printed=gap_share,
        tested=beyond,
        converse=beyond,
        gap=lambda sums, model, _: gap_to_attention(sums, model, "all"),
        of_gap=True,
    )


def closes(model: str, *, most: bool) -> LanguagePart:
    """The statement that a model closes more (or less) than half of BaseConv's gap on AR hits."""
    sign = 1.0 if most else -1.0
    beyond_half = {BASE_CONV: sign * (1 - MOST), ATTENTION: sign * MOST, model: -sign}

    def beyond(sums: DocumentSums, _: str, tokens: Tokens) -> Ratio:
        return difference(sums, beyond_half, tokens)

    def printed(sums: DocumentSums, _: str, tokens: Tokens) -> tuple[float, float, float]:
        return closed_share(sums, model, BASE_CONV, tokens)

    return LanguagePart(
        sentence=f"{model}: closes {'more' if most else 'less'} than {100 * MOST:g} % of BaseConv's"
        f" gap to attention on AR hits, {WHERE}",
        why=WHY_MOST,
        models=(model,),
        number="share of BaseConv's gap to attention on AR hits that is closed",
        printed=printed,
        tested=beyond,
        converse=beyond,
        gap=lambda sums, _, tokens: gap_to_attention(sums, BASE_CONV, tokens),
        compared=(ATTENTION, BASE_CONV),
        of_gap=True,
    )


def gap_to_attention(sums: DocumentSums, model: str, tokens: Tokens) -> Ratio:
    """The log perplexity of a model minus attention's."""
    return difference(sums, {model: 1.0, ATTENTION: -1.0}, tokens)


def _each(models: Sequence[str]) -> str:
    return models[0] if len(models) == 1 else f"each of {', '.join(models)} that is trained"
