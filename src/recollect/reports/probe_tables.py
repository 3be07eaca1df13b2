"""Readable tables of a probe (`language.probe_frames`)."""

from __future__ import annotations

from typing import Any

import pandas as pd

from recollect.reports.markup import Table
from recollect.reports.tables import UNKNOWN, accuracy, count

ONE_ANSWER = ("accuracy (95 % interval)", "chance", "prompts", "tokens per prompt")
"""Headings of tasks whose prompts have one answer."""


def readable_mqar(mqar: pd.DataFrame) -> Table:
    """Headings and rows of MQAR, by pairs and by words between pairs and questions."""
    headings = ["pairs", "words between", "accuracy (95 % interval)", "chance"]
    headings += ["answers", "tokens per prompt"]
    return headings, [_mqar_row(row) for row in mqar.itertuples()]


def _mqar_row(row: Any) -> list[str]:
    return [
        count(row.pairs),
        count(row.distance),
        _with_interval(row, "accuracy"),
        accuracy(row.chance),
        count(row.answers),
        count(row.prompt_tokens),
    ]


def readable_distance(distance: pd.DataFrame) -> Table:
    """Headings and rows of MQAR by distance to the pair, with one column per number of pairs."""
    pairs = sorted(set(distance["pairs"]))
    headings = ["distance to the pair (tokens)", *(f"{number} pairs" for number in pairs)]
    rows = []
    for (low, high), group in distance.groupby(["low", "high"]):
        by_pairs = {row.pairs: _with_interval(row, "accuracy") for row in group.itertuples()}
        cells = [by_pairs.get(number, UNKNOWN) for number in pairs]
        rows.append([f"{low:,} to {high:,}", *cells])
    return headings, rows


def readable_copy(copy: pd.DataFrame) -> Table:
    """Headings and rows of copying, by the length of a string."""
    headings = ["words to copy", "accuracy per word (95 % interval)", "chance"]
    headings += ["accuracy per string (95 % interval)", "strings", "tokens per prompt"]
    return headings, [_copy_row(row) for row in copy.itertuples()]


def _copy_row(row: Any) -> list[str]:
    return [
        count(row.words),
        _with_interval(row, "accuracy"),
        accuracy(row.chance),
        _with_interval(row, "strings"),
        count(row.prompts),
        count(row.prompt_tokens),
    ]


def readable_repetition(repetition: pd.DataFrame) -> Table:
    """Headings and rows of repetition, by the number of repeated words."""
    headings = [
        "words to repeat",
        "score, nats per word (95 % interval)",
        "first loss",
        "second loss",
    ]
    headings += ["accuracy (95 % interval)", "chance", "prompts", "tokens per prompt"]
    return headings, [_repetition_row(row) for row in repetition.itertuples()]


def _repetition_row(row: Any) -> list[str]:
    ends = UNKNOWN if pd.isna(row.score_low) else f"{row.score_low:.3f} to {row.score_high:.3f}"
    return [
        count(row.length),
        f"{row.score:.3f} ({ends})",
        f"{row.first_loss:.3f}",
        f"{row.loss:.3f}",
        _with_interval(row, "accuracy"),
        accuracy(row.chance),
        count(row.prompts),
        count(row.prompt_tokens),
    ]


def readable_phonebook(phonebook: pd.DataFrame) -> Table:
    """Headings and rows of the phone book, by the number of entries."""
    headings = ["entries of the phone book", *ONE_ANSWER]
    rows: Any = phonebook.itertuples()
    return headings, [[count(row.entries), *_one_answer(row)] for row in rows]


def readable_needles(needles: pd.DataFrame) -> Table:
    """Headings and rows of needles, by task and words of filler."""
    headings = ["task", "words of filler", *ONE_ANSWER]
    rows: Any = needles.itertuples()
    return headings, [[row.kind, count(row.filler), *_one_answer(row)] for row in rows]


def _one_answer(row: Any) -> list[str]:
    return [
        _with_interval(row, "accuracy"),
        accuracy(row.chance),
        count(row.prompts),
        count(row.prompt_tokens),
    ]


def _with_interval(row: Any, name: str) -> str:
    share, low, high = (getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
    return f"{accuracy(share)} ({accuracy(low)} to {accuracy(high)})"
