"""Quantiles of Student's t distribution, for any number of degrees of freedom from 1 on."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from jaxtyping import Float64

INVERSES = np.linspace(1e-6, 1, 2001)
"""Inverse degrees of freedom at which quantiles are computed; others are interpolated."""
HALVINGS = 50
"""Bisection steps for a quantile."""
NODES, POINT_WEIGHTS = np.polynomial.legendre.leggauss(60)


def student_t(share: float, freedom: Float64[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
    """Quantiles of Student's t distribution, to five digits.

    Args:
        share: the cumulative probability, at least 1/2.
        freedom: degrees of freedom; NaN gives NaN.
    """
    return np.interp(1 / freedom, INVERSES, _quantiles(share))


@lru_cache
def _quantiles(share: float) -> Float64[np.ndarray, " n"]:
    """Quantiles at `INVERSES`. With a = arctan(t / sqrt(freedom)), the probability of 0 to t is the
    integral of cos(a)^(freedom - 1) from 0 to a, up to a constant; a is found by bisection."""
    freedom = 1 / INVERSES
    log_gamma = np.vectorize(math.lgamma)
    constant = np.exp(log_gamma((freedom + 1) / 2) - log_gamma(freedom / 2)) / math.sqrt(math.pi)
    low = np.zeros_like(freedom)
    high = np.minimum(math.pi / 2, 50 / np.sqrt(freedom))  # beyond, the cosine's power vanishes
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        angles = middle[:, None] * (NODES + 1) / 2
        powers = np.cos(angles) ** (freedom - 1)[:, None]
        below = constant * (powers @ POINT_WEIGHTS) * middle / 2 < share - 0.5
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.sqrt(freedom) * np.tan(low)
