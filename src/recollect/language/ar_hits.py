"""Associative-recall (AR) hits: tokens that a model can predict by recall from the context.

A token is repeated if the n-gram that it ends occurred earlier in the same context. It is an AR hit
if that n-gram is also rare in the training text: at most `max_train_count` times, which is 1,250
with n = 2 in Zoology (arXiv 2312.04927). A model may have memorised frequent n-grams.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Int64, Integer

from recollect.language.ngrams import ngram_codes
from recollect.ops.occurrence import previous_occurrence

Bound = int | None
"""Largest count in training with which a repeated n-gram is a hit; None: any count."""
MAX_TRAIN_COUNTS = (1250, 10)
"""Default bounds: the paper's, and a strict one that excludes nearly all memorised n-grams."""
CURVE_BOUNDS: tuple[Bound, ...] = (
    *(0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 1250, 2000, 5000, 10_000, 100_000),
    None,
)
"""Bounds of a curve, from n-grams that never occur in training to all repeated ones. The share of
hits for a bound depends on the length of the training text."""
PAPER_HIT_SHARE = 0.064
"""Share of AR hits among the tokens of the Pile, with the paper's bound and 10 billion training
tokens."""


def repeat_distances(
    tokens: Integer[np.ndarray, " L"],
    context_starts: Int64[np.ndarray, " L"],
    n: int,
    vocab_size: int,
) -> Int64[np.ndarray, " L"]:
    """Distance from each token to the last earlier occurrence of the n-gram that it ends.

    Only the token's context counts; 0 if the n-gram did not occur there.

    Args:
        tokens: tokens of a text.
        context_starts: for each token, the first token of its context.
        n: length of the n-grams; the token itself is the last of them.
        vocab_size: number of token ids.
    """
    distances = np.zeros(len(tokens), np.int64)
    codes = ngram_codes(tokens, n, vocab_size)
    previous = previous_occurrence(torch.from_numpy(codes.view(np.int64))).numpy()
    # n-grams are indexed by their first token; if any occurrence is in the context, the last is
    repeated = previous >= context_starts[n - 1 :]
    distances[n - 1 :][repeated] = (np.arange(len(codes)) - previous)[repeated]
    return distances


def is_hit(
    distances: Int64[np.ndarray, " L"],
    train_counts: Int64[np.ndarray, " L"],
    max_train_count: Bound,
) -> Bool[np.ndarray, " L"]:
    """Whether each token is an AR hit."""
    repeated = distances > 0
    return repeated if max_train_count is None else repeated & (train_counts <= max_train_count)


def nearest_bound(hit_shares: Mapping[Bound, float], share: float) -> Bound:
    """Bound whose share of hits is nearest to `share` in log; the first of equally near ones.

    Args:
        hit_shares: share of hits by bound.
        share: the share to match, above 0.
    """

    def miss(bound: Bound) -> float:
        found = hit_shares[bound]
        return abs(math.log(found / share)) if found > 0 else math.inf

    return min(hit_shares, key=miss)


def bound_in_words(bound: Bound) -> str:
    """Text of a bound: `seen at most 1,250 times`."""
    if bound is None:
        return "seen any number of times"
    return f"seen at most {bound:,} time{'s'[: bound != 1]}" if bound else "never seen"
