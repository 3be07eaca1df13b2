"""Readable tables of loss gaps between language models (`language.gap.gap_frame`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from recollect.language.ar_hits import bound_in_words
from recollect.papers.language_results import LanguageResults
from recollect.papers.reproduction import PrintedModel
from recollect.reports.markup import Rows, Table
from recollect.reports.tables import UNKNOWN, count, rate
from recollect.reports.titles import title

SHARE = "gap due to AR hits (nominal 95 % interval)"
PERPLEXITIES = ("perplexity (log)", "on AR hits (log)", "on others (log)")


def readable_gap(gap: pd.DataFrame) -> tuple[list[str], Rows]:
    """Headings and rows: perplexities with their logs, shares with their intervals.

    The share of the gap is not clipped; the paper's share, clipped to 0 to 100 %, follows if it
    differs. Unless the gap's interval lies above zero, the reason stands in its place.
    """
    headings = ["max. training count", "model", "seeds", "tokens", "AR hits", *PERPLEXITIES, SHARE]
    first = gap["model"].iloc[0]
    return headings, [_row(row, first) for row in gap.itertuples()]


def beginnings_text(begins_with: Mapping[str, str], leaves_out: Mapping[str, str]) -> str:
    """One line about the control tokens at the start of each context.

    Args:
        begins_with: the control token that each model reads first, such as BOS; "" for none.
        leaves_out: the token that each tokenizer adds at the end and the model does not read; ""
            for none.
    """
    parts = []
    for model, token in begins_with.items():
        left = f" (final {leaves_out[model]} left out)" if leaves_out[model] else ""
        parts.append(f"{model}: {token or 'none'}{left}")
    return f"control token before each context: {', '.join(parts)}"


def beside_printed(rows: pd.DataFrame, printed: Sequence[PrintedModel]) -> tuple[list[str], Rows]:
    """Headings and rows: each measured model beside the paper's printed numbers.

    The paper's largest model of each kind is used.

    Args:
        rows: one row per model (`papers.language_results.LanguageResults.rows`).
        printed: the paper's numbers.
    """
    headings = ["model", "seeds", "parameters", "learning rate", *PERPLEXITIES, SHARE]
    headings += ["printed: parameters", *(f"printed: {name}" for name in PERPLEXITIES)]
    headings.append("printed: gap due to AR hits")
    largest = {each.model: each for each in sorted(printed, key=lambda each: each.parameters)}
    first = rows["model"].iloc[0]
    return headings, [_trained_row(row, first, largest) for row in rows.itertuples()]


def passages(models: LanguageResults, printed: Sequence[PrintedModel]) -> list[str | Table]:
    """The paragraphs and tables of a page about language models; none if nothing is measured.

    They compare the models with the printed numbers, at the bound whose share of AR hits is nearest
    to the paper's, and give the shares of the gap at all bounds.
    """
    if not models.tables:
        return []
    rows = models.rows()
    first = rows.iloc[0]
    return [
        f"{models.plan.text}@test has {count(first['tokens'])} tokens in"
        f" {count(first['documents'])} documents; {percent(first['hit_share'])} of the tokens are"
        f" AR hits ({bound_in_words(models.bound())} in training). Of the bounds below, this one"
        " gives the share nearest to the paper's. Each model was trained on"
        f" {count(first['tokens_read'])} tokens. Intervals are over documents and, for models with"
        " several seeds, over seeds; with one seed they hold for that seed only. A star marks a"
        " learning rate that ties with the lowest or highest tried. A share above 100 % means that"
        " a model beats the first one on the other tokens. Printed numbers are those of the paper's"
        " largest model of each kind, trained on 10B tokens.",
        beside_printed(rows, printed),
        "The share of the loss gap on AR hits (not clipped), by the bound on the training count"
        " (nominal 95 % intervals):",
        readable_curve(models.tables["gap"]),
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
    """Headings, and one row per bound on the training count.

    A row has the share of tokens that are AR hits and, for each model except the first, the
    unclipped share of the gap with its interval.

    Args:
        curve: one row per bound and model (`language.gap.gap_frame`).
    """
    first, *models = dict.fromkeys(curve["model"])
    rows = []
    for _, rows_of_bound in curve.groupby("max_train_count", dropna=False, sort=False):
        by_model = {row.model: row for row in rows_of_bound.itertuples()}
        reference: Any = by_model[first]
        shares = [_share_or_reason(by_model[model]) for model in models]
        rows.append([_bound(reference.max_train_count), percent(reference.hit_share), *shares])
    return ["max. training count", "AR hits", *map(title, models)], rows


def _bound(max_train_count: Any) -> str:
    return "any" if pd.isna(max_train_count) else count(max_train_count)


def _share(row: Any, first: str) -> str:
    """The share of a model's gap to the first one; the first one itself has none."""
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
    """Why there is no share; the gap is a difference of log perplexities."""
    if pd.isna(row.gap):
        return UNKNOWN
    if row.gap == 0:
        return "no gap"
    if pd.isna(row.gap_low):
        return "too few documents for a share"
    if row.gap_high < 0:
        return f"no gap: better by {-row.gap:.2g} (log)"
    if row.gap_low > 0:
        return UNKNOWN
    return f"gap not certain: {row.gap:.2g} ({row.gap_low:.2g} to {row.gap_high:.2g}) (log)"


def percent(share: float) -> str:
    """A share in percent: `6.4 %`."""
    return UNKNOWN if pd.isna(share) else f"{100 * share:.1f} %"
