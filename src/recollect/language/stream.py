"""A text as one row of tokens, from which windows are drawn.

Documents are concatenated, each followed by the end-of-text token if there is one. A window may
begin at any token.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int64, Integer
from torch import Tensor

from recollect.language.shards import Shard, Shards


def draw_windows(
    shards: Shards, n: int, length: int, generator: torch.Generator, end: int | None = None
) -> Int64[Tensor, "{n} {length}"] | None:
    """Draw random windows of consecutive tokens; None if no shard has so many tokens.

    Args:
        shards: the documents.
        n: number of windows.
        length: tokens of each window.
        generator: random generator.
        end: the token after each document; None: there is none.
    """
    rows = np.array(shards.lengths) + (0 if end is None else np.array(shards.document_counts))
    begins = (rows - length + 1).clip(min=0)  # possible beginnings
    ends = begins.cumsum()
    if ends[-1] == 0:
        return None
    drawn = torch.randint(int(ends[-1]), (n,), generator=generator).numpy()
    which = np.searchsorted(ends, drawn, side="right")
    windows = np.empty((n, length), np.int64)
    for shard in np.unique(which):
        chosen = np.flatnonzero(which == shard)
        first = drawn[chosen] - (ends[shard] - begins[shard])
        windows[chosen] = tokens_at(shards[int(shard)], first[:, None] + np.arange(length), end)
    return torch.from_numpy(windows)


def tokens_at(
    shard: Shard, places: Int64[np.ndarray, "*n"], end: int | None
) -> Integer[np.ndarray, "*n"]:
    """Tokens at some places of a shard's row.

    Args:
        shard: the documents.
        places: places in the row, end tokens included.
        end: the token after each document; None: there is none.
    """
    if end is None:
        return shard.tokens[places]
    closes = shard.ends + np.arange(len(shard.ends))  # places of the end tokens
    document = np.searchsorted(closes, places)
    within = np.minimum(places - document, len(shard.tokens) - 1)
    return np.where(closes[document] == places, end, shard.tokens[within])
