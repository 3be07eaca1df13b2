"""Properties of each predicted token: position, repetition, count in training, and losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from recollect.language.ar_hits import repeat_distances
from recollect.language.counts import NgramCounts
from recollect.language.losses import TokenLosses
from recollect.language.ngrams import ngram_codes
from recollect.language.shards import Shard, Shards
from recollect.language.windows import Windows, predicted


class Observed(NamedTuple):
    """The P predicted tokens of some complete documents, with the losses of M models.

    Attributes:
        document: number of the token's document among these, ascending.
        position: tokens before it in its context.
        distance: distance to the last earlier occurrence, in its context, of the n-gram that it
            ends; 0 if there is none.
        train_count: count of that n-gram in the training text; 0 if it is not repeated.
        losses: negative log-likelihood by each model, in nats.
    """

    document: Int64[np.ndarray, " P"]
    position: Int64[np.ndarray, " P"]
    distance: Int64[np.ndarray, " P"]
    train_count: Int64[np.ndarray, " P"]
    losses: Float32[np.ndarray, "M P"]


def observe(
    shards: Shards, windows: Windows, counts: NgramCounts, losses: Sequence[TokenLosses]
) -> Iterator[Observed]:
    """Properties of the predicted tokens of a text, shard by shard.

    Args:
        shards: the tokens of the text.
        windows: the windows that the models have read.
        counts: n-gram counts of the training text, with the same tokenizer.
        losses: losses of each model on this text.
    """
    assert counts.vocab_size == shards.vocab_size
    for number, shard in enumerate(shards):
        yield observe_shard(shard, windows, counts, np.stack([each[number] for each in losses]))


def observe_shard(
    shard: Shard, windows: Windows, counts: NgramCounts, losses: Float32[np.ndarray, "M P"]
) -> Observed:
    """Properties of the predicted tokens of one shard."""
    starts = windows.context_starts(shard.ends)
    places = predicted(shard.ends)
    distances = repeat_distances(shard.tokens, starts, counts.n, counts.vocab_size)
    repeated = np.flatnonzero(distances)
    codes = ngram_codes(shard.tokens, counts.n, counts.vocab_size)
    train_counts = np.zeros_like(distances)
    train_counts[repeated] = counts.of(codes[repeated - (counts.n - 1)])
    return Observed(
        document=np.searchsorted(shard.ends, places, side="right"),
        position=places - starts[places],
        distance=distances[places],
        train_count=train_counts[places],
        losses=losses,
    )
