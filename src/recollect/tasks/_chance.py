"""Chance levels: the accuracy of a guess from the input that ignores the question."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch

from recollect.tasks.batch import Batch

NEGLIGIBLE = 1e-12


@cache
def best_guess(read: int, choices: int) -> float:
    """Return the accuracy of guessing the most frequent of `read` tokens.

    Tokens are uniform over `choices`, and the question is about one of the tokens. It is the
    expected fraction of the most frequent token. The counts are independent Poisson variables
    conditioned on their sum, so the largest count is at most m with probability
    [x^read] (sum over j <= m of p_j x^j)^choices / p(sum = read).
    """
    mean = read / choices
    log_factorials = np.cumsum([0.0, *np.log(np.arange(1, read + 1))])
    counts = np.exp(np.arange(read + 1) * math.log(mean) - mean - log_factorials)
    whole = math.exp(read * math.log(read) - read - log_factorials[read])
    expected, most = 0.0, 0
    while most < read:  # E[max] is the sum of P(max > m)
        at_most = _power(counts[: most + 1], choices, read) / whole
        if 1 - at_most < NEGLIGIBLE:
            break
        expected, most = expected + 1 - at_most, most + 1
    return expected / read


def best_remaining(read: int, choices: int) -> float:
    """Return the accuracy of `best_guess` if every token is asked once and its answer follows in
    the input, so that a guess chooses among the tokens that were not answered yet."""
    return sum(best_guess(left, choices) for left in range(1, read + 1)) / read


def _power(polynomial: np.ndarray, exponent: int, degree: int) -> float:
    """The coefficient of x^degree in a power of a polynomial."""
    result, square = np.ones(1), polynomial
    while exponent:
        if exponent % 2:
            result = np.convolve(result, square)[: degree + 1]
        square, exponent = np.convolve(square, square)[: degree + 1], exponent // 2
    return float(result[degree]) if len(result) > degree else 0.0


def best_repeat(batch: Batch, vocab_size: int) -> float:
    """Return the accuracy of the best simple guess.

    A simple guess is a constant, the token at a fixed position, or the token at a fixed distance
    before the question. The best one is chosen separately for the first question, the second and
    so on.

    Args:
        batch: examples on which to measure it.
        vocab_size: number of token ids.
    """
    assert batch.positions is not None
    places = torch.arange(batch.inputs.shape[1])
    best = torch.stack([(batch.targets == token).double().mean(0) for token in range(vocab_size)])
    shares = [best.amax(0)]
    for place in places:
        back = batch.positions - place
        at_place = batch.inputs[:, place, None]
        at_distance = batch.inputs.gather(1, back.clamp(min=0))
        shares.append(((at_place == batch.targets) & (back >= 0)).double().mean(0))
        shares.append(((at_distance == batch.targets) & (back >= 0)).double().mean(0))
    return float(torch.stack(shares).amax(0).mean())
