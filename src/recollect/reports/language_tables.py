"""The table of a gap between language models (`language.gap.gap_frame`), for reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from recollect.language.ar_hits import bound_in_words
from recollect.papers.language_results import LanguageResults
from recollect.papers.reproduction import PrintedModel
from recollect.reports.tables import UNKNOWN, Rows, count, in_markdown, rate
from recollect.reports.titles import title

SHARE = "gap due to AR hits (95 % interval)"
PERPLEXITIES = ("perplexity (log)", "on AR hits (log)", "on others (log)")


def readable_gap(gap: pd.DataFrame) -> tuple[list[str], Rows]:
    """Headings and rows: perplexities with their logs, shares with their intervals.

    The share of the gap is told as it comes out; the paper's, clipped to 0 to 100 %, stands behind
    where that is another number. There is no share of a gap that may not be there.
    """
    headings = ["at most in training", "model", "seeds", "tokens", "AR hits", *PERPLEXITIES, SHARE]
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
    headings = ["model", "seeds", "parameters", "learning rate", *PERPLEXITIES, SHARE]
    headings += ["printed: parameters", *(f"printed: {name}" for name in PERPLEXITIES)]
    headings.append("printed: gap due to AR hits")
    largest = {each.model: each for each in sorted(printed, key=lambda each: each.parameters)}
    first = rows["model"].iloc[0]
    return headings, [_trained_row(row, first, largest) for row in rows.itertuples()]


def in_page(models: LanguageResults, printed: Sequence[PrintedModel]) -> list[str]:
    """The paragraphs of a page, none while nothing is measured: the models where the share of hits
    is nearest to the paper's, beside what it prints, and the shares of the gap at all bounds."""
    if not models.tables:
        return []
    rows = models.rows()
    first = rows.iloc[0]
    return [
        f"Of {count(first['tokens'])} tokens of {models.plan.text}@test in"
        f" {count(first['documents'])} documents {percent(first['hit_share'])} are AR hits,"
        f" {bound_in_words(models.bound())} in training: of the bounds below it is the one that"
        f" leaves a share nearest to the paper's. Each training read {count(first['tokens_read'])}"
        " tokens. Intervals are over documents and, of a model of several seeds, over these; those"
        " of one seed hold for that seed alone. A star marks a rate that ties with the lowest or"
        " highest tried. A share of more than 100 % says that a model is ahead of the first on the"
        " other tokens. Printed numbers are of the paper's models on 10B tokens, the largest of a"
        " kind.",
        in_markdown(*beside_printed(rows, printed)),
        "The unclipped share of the gap that lies on AR hits, over the bound on the count in"
        " training (95 % intervals):",
        in_markdown(*readable_curve(models.tables["gap"])),
    ]


def _trained_row(row: Any, first: str, largest: Mapping[str, PrintedModel]) -> list[str]:
    star = "*" if row.at_edge else ""
    ours = [title(row.model), count(row.seeds), count(row.parameters)]
    ours.append(f"{rate(row.learning_rate)}{star}")
    return [*ours, *_perplexities(row), _share(row, first), *_printed(largest.get(row.model))]


def _printed(model: PrintedModel | None) -> list[str]:
    if model is None:
        return [UNKNOWN] * 5
    pairs = (model.overall, model.hits, model.other)
    share = UNKNOWN if model.gap_share is None else percent(model.gap_share)
    return [f"{model.parameters}M", *(_perplexity(*pair) for pair in pairs), share]


def _row(row: Any, first: str) -> list[str]:
    return [
        _bound(row.max_train_count),
        row.model,
        count(row.seeds),
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


def readable_curve(curve: pd.DataFrame) -> tuple[list[str], Rows]:
    """Headings and a row for each bound on the training count: how many tokens are AR hits, and the
    unclipped share of the gap of each model but the first, with its interval.

    Args:
        curve: of the gap, with a row for each bound and model (`language.gap.gap_frame`).
    """
    first, *models = dict.fromkeys(curve["model"])
    rows = []
    for _, rows_of_bound in curve.groupby("max_train_count", dropna=False, sort=False):
        by_model = {row.model: row for row in rows_of_bound.itertuples()}
        reference: Any = by_model[first]
        shares = [_share_or_reason(by_model[model]) for model in models]
        rows.append([_bound(reference.max_train_count), percent(reference.hit_share), *shares])
    return ["at most in training", "AR hits", *map(title, models)], rows


def _bound(max_train_count: Any) -> str:
    return "any number" if pd.isna(max_train_count) else count(max_train_count)


def _share(row: Any, first: str) -> str:
    """The share of a model's gap to the first one; for that one itself, there is none to tell."""
    if row.model == first:
        return UNKNOWN
    text = _share_or_reason(row)
    if pd.notna(row.gap_share) and row.gap_share != row.gap_share_clipped:
        text += f", clipped {percent(row.gap_share_clipped)}"
    return text


def _share_or_reason(row: Any) -> str:
    if pd.isna(row.gap_share):
        return _no_share(row)
    return (
        f"{percent(row.gap_share)} ({percent(row.gap_share_low)} to {percent(row.gap_share_high)})"
    )


def _no_share(row: Any) -> str:
    """Why there is no share of a gap, which is a difference of logs of perplexities."""
    if pd.isna(row.gap):
        return UNKNOWN
    if row.gap <= 0:
        return f"no gap: ahead by {-row.gap:.2g} (log)" if row.gap < 0 else "no gap"
    if pd.isna(row.gap_low):
        return "too few documents for a share"
    if row.gap_low > 0:
        return UNKNOWN
    return f"no gap that is certain: {row.gap:.2g} ({row.gap_low:.2g} to {row.gap_high:.2g}) (log)"


def percent(share: float) -> str:
    """A share as people write it: `6.4 %`."""
    return UNKNOWN if pd.isna(share) else f"{100 * share:.1f} %"
