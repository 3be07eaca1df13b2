"""The table of a gap between language models (`language.gap.gap_frame`), for reading."""

from __future__ import annotations

from typing import Any

import pandas as pd

from recollect.reports.tables import UNKNOWN, Rows, count


def readable_gap(gap: pd.DataFrame) -> tuple[list[str], Rows]:
    """Headings and rows: perplexities with their logs, shares with their intervals.

    The share of the gap is the paper's, clipped to 0 to 100 %; what it was before stands behind
    where that is another number.
    """
    headings = ["at most in training", "model", "tokens", "AR hits", "perplexity (log)"]
    headings += ["on AR hits (log)", "on others (log)", "gap due to AR hits (95 % interval)"]
    return headings, [_row(row) for row in gap.itertuples()]


def _row(row: Any) -> list[str]:
    return [
        count(row.max_train_count),
        row.model,
        count(row.tokens),
        percent(row.hit_share),
        _perplexity(row.perplexity, row.log_perplexity),
        _perplexity(row.perplexity_hits, row.log_perplexity_hits),
        _perplexity(row.perplexity_other, row.log_perplexity_other),
        _share(row),
    ]


def _perplexity(perplexity: float, log: float) -> str:
    return UNKNOWN if pd.isna(log) else f"{perplexity:,.2f} ({log:.2f})"


def _share(row: Any) -> str:
    if pd.isna(row.gap_share):
        return UNKNOWN
    text = percent(row.gap_share_clipped)
    if row.gap_share != row.gap_share_clipped:
        text += f", unclipped {percent(row.gap_share)}"
    if pd.isna(getattr(row, "gap_share_low", None)):
        return text
    return f"{text} ({percent(row.gap_share_low)} to {percent(row.gap_share_high)})"


def percent(share: float) -> str:
    """A share as people write it: `6.4 %`."""
    return UNKNOWN if pd.isna(share) else f"{100 * share:.1f} %"
