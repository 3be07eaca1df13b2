"""Associative-recall hits: tokens that a model can know from what the context said before.

A token is repeated if the n-gram that it ends occurred earlier in the same context. It is an AR hit
if, besides, that n-gram is rare in the training text: at most `max_train_count` times, 1,250 in
Zoology (arXiv 2312.04927), where n = 2. Frequent ones a model may know by heart.
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
"""On the count in training up to which a repeated n-gram is a hit; None: whatever its count."""
MAX_TRAIN_COUNTS = (1250, 10)
"""The paper's bound, and one that hardly anything learnt by heart passes."""
CURVE_BOUNDS: tuple[Bound, ...] = (
    *(0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 1250, 2000, 5000, 10_000, 100_000),
    None,
)
"""From n-grams that were never seen in training to all that are repeated. What a bound leaves of
the hits depends on the length of the training text."""
PAPER_HIT_SHARE = 0.064
"""Of the tokens of the Pile that are AR hits, with the paper's bound and its 10 billion tokens of
training."""


def repeat_distances(
    tokens: Integer[np.ndarray, " L"],
    context_starts: Int64[np.ndarray, " L"],
    n: int,
    vocab_size: int,
) -> Int64[np.ndarray, " L"]:
    """How many tokens back the n-gram that each token ends occurred last, within its context; 0
    where it did not.

    Args:
        tokens: of a text.
        context_starts: for each of them, the first token of its context.
        n: length of the n-grams; the token itself is the last of them.
        vocab_size: number of token ids.
    """
    distances = np.zeros(len(tokens), np.int64)
    codes = ngram_codes(tokens, n, vocab_size)
    previous = previous_occurrence(torch.from_numpy(codes.view(np.int64))).numpy()
    # both n-grams go by their first token; the last occurrence is the one that is in the context
    # if any is
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
    """The bound at which the share of tokens that are hits is nearest to `share`, in the logarithm;
    of equally near ones the first.

    Args:
        hit_shares: by bound.
        share: above 0.
    """

    def miss(bound: Bound) -> float:
        found = hit_shares[bound]
        return abs(math.log(found / share)) if found > 0 else math.inf

    return min(hit_shares, key=miss)


def bound_in_words(bound: Bound) -> str:
    """As people read it: `seen at most 1,250 times`."""
    if bound is None:
        return "seen any number of times"
    return f"seen at most {bound:,} time{'s'[: bound != 1]}" if bound else "never seen"
