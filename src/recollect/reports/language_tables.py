"""The table of a gap between language models (`language.gap.gap_frame`), for reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from recollect.papers.reproduction import PrintedModel
from recollect.reports.tables import UNKNOWN, Rows, count, rate
from recollect.reports.titles import title

PERPLEXITIES = ("perplexity (log)", "on AR hits (log)", "on others (log)")


def readable_gap(gap: pd.DataFrame) -> tuple[list[str], Rows]:
    """Headings and rows: perplexities with their logs, shares with their intervals.

    The share of the gap is the paper's, clipped to 0 to 100 %; what it was before stands behind
    where that is another number. A model that is not behind the first one has no gap to share.
    """
    headings = ["at most in training", "model", "tokens", "AR hits", *PERPLEXITIES]
    headings.append("gap due to AR hits (95 % interval)")
    first = gap["model"].iloc[0]
    return headings, [_row(row, first) for row in gap.itertuples()]


def beginnings_text(begins_with: Mapping[str, str], leaves_out: Mapping[str, str]) -> str:
    """What models read in front of each window, in a line.

    Args:
        begins_with: the control tokens, such as BOS, by the name of the model; "" for none.
        leaves_out: what its tokenizer puts behind a text and the model does not read; likewise.
    """
    parts = []
    for model, token in begins_with.items():
        left = f" ({leaves_out[model]} at the end left out)" if leaves_out[model] else ""
        parts.append(f"{model}: {token or 'none'}{left}")
    return f"control token in front of each window: {', '.join(parts)}"


def beside_printed(rows: pd.DataFrame, printed: Sequence[PrintedModel]) -> tuple[list[str], Rows]:
    """Headings and rows: each model of ours, and what a paper has printed of it, of its largest
    model where it has several.

    Args:
        rows: of the gap, one for each model (`papers.language_results.LanguageResults.rows`).
        printed: of the paper.
    """
    headings = ["model", "parameters", "learning rate", *PERPLEXITIES, "gap due to AR hits"]
    headings[-1] += " (95 % interval)"
    headings += ["printed: parameters", *(f"printed: {name}" for name in PERPLEXITIES)]
    headings.append("printed: gap due to AR hits")
    largest = {each.model: each for each in sorted(printed, key=lambda each: each.parameters)}
    first = rows["model"].iloc[0]
    return headings, [_trained_row(row, first, largest) for row in rows.itertuples()]


def _trained_row(row: Any, first: str, largest: Mapping[str, PrintedModel]) -> list[str]:
    star = "*" if row.at_edge else ""
    ours = [title(row.model), count(row.parameters), f"{rate(row.learning_rate)}{star}"]
    return [*ours, *_perplexities(row), _share(row, first), *_printed(largest.get(row.model))]


def _printed(model: PrintedModel | None) -> list[str]:
    if model is None:
        return [UNKNOWN] * 5
    pairs = (model.overall, model.hits, model.other)
    share = UNKNOWN if model.gap_share is None else percent(model.gap_share)
    return [f"{model.parameters}M", *(_perplexity(*pair) for pair in pairs), share]


def _row(row: Any, first: str) -> list[str]:
    return [
        count(row.max_train_count),
        row.model,
        count(row.tokens),
        percent(row.hit_share),
        *_perplexities(row),
        _share(row, first),
    ]


def _perplexities(row: Any) -> list[str]:
    return [
        _perplexity(row.perplexity, row.log_perplexity),
        _perplexity(row.perplexity_hits, row.log_perplexity_hits),
        _perplexity(row.perplexity_other, row.log_perplexity_other),
    ]


def _perplexity(perplexity: float, log: float) -> str:
    return UNKNOWN if pd.isna(log) else f"{perplexity:,.2f} ({log:.2f})"


def _share(row: Any, first: str) -> str:
    """The share of a model's gap to the first one; for that one itself, there is none to tell."""
    if pd.isna(row.gap_share):
        return UNKNOWN if row.model == first else _no_share(row.gap)
    text = percent(row.gap_share_clipped)
    if row.gap_share != row.gap_share_clipped:
        text += f", unclipped {percent(row.gap_share)}"
    if pd.isna(getattr(row, "gap_share_low", None)):
        return text
    return f"{text} ({percent(row.gap_share_low)} to {percent(row.gap_share_high)})"


def _no_share(gap: float) -> str:
    """Why there is no share of a gap, which is a difference of logs of perplexities."""
    if pd.isna(gap) or gap > 0:
        return UNKNOWN
    return f"no gap: ahead by {-gap:.2g} (log)" if gap < 0 else "no gap"


def percent(share: float) -> str:
    """A share as people write it: `6.4 %`."""
    return UNKNOWN if pd.isna(share) else f"{100 * share:.1f} %"
