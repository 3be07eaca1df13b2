"""Perplexity by training count, by distance and by position, in ranges that double.

Dimensions: B ranges: 0, 1, 2 to 3, 4 to 7, ...; rows: the number of tokens, then the losses of each
model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from recollect.language.ar_hits import Bound, is_hit
from recollect.language.observed import Observed

RANGES = 64
SLICES = (
    ("train_count", "repeated"),
    ("distance", "hits"),
    ("position", "hits"),
    ("position", "other"),
)
"""Property and set of tokens of each slice: repeated tokens, AR hits, or all others."""


def sum_slices(part: Observed, max_train_count: Bound) -> Float64[np.ndarray, "slices rows B"]:
    """Number of tokens and summed losses of each model, for each of `SLICES` and each range. Sums
    of several parts can be added."""
    return np.stack([_sum(part, *each, max_train_count) for each in SLICES])


def slice_frame(
    sums: Float64[np.ndarray, "slices rows B"], models: Sequence[str], max_train_count: Bound
) -> pd.DataFrame:
    """One row for each model and nonempty range; models of one name are seeds, which are averaged.

    Columns: `by` and `among` (`SLICES`); `max_train_count`, the bound on AR hits if it matters;
    `low` and `high`, the inclusive ends of the range; `tokens`; `model`; its `log_perplexity` in
    nats and `perplexity`.
    """
    rows = []
    for (by, among), (tokens, *losses) in zip(SLICES, sums, strict=True):
        for each in np.flatnonzero(tokens):
            bound = None if among == "repeated" else max_train_count
            ends = {"low": 2 ** int(each) // 2, "high": 2 ** int(each) - 1}
            for model in dict.fromkeys(models):
                seeds = [
                    loss[each] for loss, name in zip(losses, models, strict=True) if name == model
                ]
                place = {"by": by, "among": among, "max_train_count": bound, **ends}
                place["tokens"] = int(tokens[each])
                log = float(np.mean(seeds) / tokens[each])
                rows.append(place | {"model": model, "log_perplexity": log})
    frame = pd.DataFrame(rows).astype({"max_train_count": "Int64"})
    return frame.assign(perplexity=np.exp(frame["log_perplexity"]))


def _sum(
    part: Observed, by: str, among: str, max_train_count: Bound
) -> Float64[np.ndarray, "rows B"]:
    chosen = _chosen(part, among, max_train_count)
    ranges = range_of(getattr(part, by)[chosen])
    tokens = np.bincount(ranges, minlength=RANGES).astype(float)
    return np.stack([tokens, *(np.bincount(ranges, each[chosen], RANGES) for each in part.losses)])


def _chosen(part: Observed, among: str, max_train_count: Bound) -> Bool[np.ndarray, " P"]:
    if among == "repeated":
        return part.distance > 0
    hits = is_hit(part.distance, part.train_count, max_train_count)
    return hits if among == "hits" else ~hits


def range_of(values: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Index of the range of each value: its number of binary digits."""
    return np.frexp(values.astype(float))[1].astype(np.int64)
