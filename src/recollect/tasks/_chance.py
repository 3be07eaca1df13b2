"""Chance levels: the accuracy of a guess from the input that ignores the question."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch

from recollect.tasks.batch import Batch

NEGLIGIBLE = 1e-10
"""Probability that is left out; above the rounding errors of strings of thousands of tokens."""


@cache
def best_guess(read: int, choices: int) -> float:
    """Return the accuracy of guessing the most frequent of `read` tokens.

    Tokens are uniform over `choices`, and the question is about one of the tokens. It is the
    expected fraction of the most frequent token. The counts are independent Poisson variables
    conditioned on their sum, so the largest count is at most m with probability
    [x^read] (sum over j <= m of p_j x^j)^choices / p(sum = read).
    """
    return _sum_of_guesses(read - 1, read, choices)


@cache
def best_remaining(read: int, choices: int) -> float:
    """Return the accuracy of `best_guess` if every token is asked once and its answer follows in
    the input, so that a guess chooses among the tokens that were not answered yet.

    It is the mean of `best_guess` over 1 to `read` tokens. Lengths from n / 2 to n share one power
    of the polynomial; far from its mean, the probability of a length underflows.
    """
    total, high = 0.0, read
    while high:
        low = high // 2
        total, high = total + _sum_of_guesses(low, high, choices), low
    return total / read


def _sum_of_guesses(low: int, high: int, choices: int) -> float:
    """The sum of `best_guess` over the lengths from `low` + 1 to `high`."""
    n = np.arange(high + 1)
    log_factorials = np.cumsum([0.0, *np.log(n[1:])])
    mean = high / choices
    counts = np.exp(n * math.log(mean) - mean - log_factorials)
    lengths = n[low + 1 :]
    whole = np.exp(lengths * math.log(high) - high - log_factorials[low + 1 :])
    expected = np.zeros(len(lengths))
    for most in range(high):  # E[max] is the sum of P(max > m)
        power = _power(counts[: most + 1], choices, high)
        at_most = np.pad(power, (0, high + 1 - len(power)))[low + 1 :] / whole
        more = np.where(lengths > most, 1 - at_most, 0.0)
        if (more < NEGLIGIBLE).all():
            break
        expected += more.clip(min=0)
    return float((expected / lengths).sum())


def _power(polynomial: np.ndarray, exponent: int, degree: int) -> np.ndarray:
    """The coefficients of a power of a polynomial, up to that of x^degree."""
    result, square = np.ones(1), polynomial
    while exponent:
        if exponent % 2:
            result = np.convolve(result, square)[: degree + 1]
        square, exponent = np.convolve(square, square)[: degree + 1], exponent // 2
    return result


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
