"""Simulated texts of documents, for what is measured on documents: `document_intervals.py` and the
tests of `analysis.ratio` and `analysis.unread`."""

from __future__ import annotations

import numpy as np

TRUE = {"log": 3.0, "gap": 0.222, "hits": 0.6, "share": 0.18 / 0.222}
"""Of `texts`: the loss, the excess and that on hits for each token, and its share on hits."""

Texts = tuple[np.ndarray, ...]


def texts(
    count: int,
    seeds: int,
    documents: int,
    *,
    lengths: float,
    skewed: bool = False,
    between: float = 0.0,
) -> Texts:
    """Many texts of documents whose lengths are log-normal, 30 % of the tokens hits: tokens, hits,
    losses, the excess and that on hits. A document's excess varies by two thirds of its mean, and
    by a quarter of that from seed to seed; `between` is the standard deviation of the seeds."""
    rng = np.random.default_rng(0)
    tokens = np.exp(rng.normal(6, lengths, (count, documents)))
    hits = tokens * rng.beta(3, 7, (count, documents))
    shape = (count, documents)
    level = rng.gamma(4, 0.075, shape) if skewed else rng.normal(0.3, 0.2, shape)
    level = level[:, None] + rng.normal(0, between, (count, seeds, 1))
    if seeds > 1:
        level = level + rng.normal(0, 0.05, (count, seeds, documents))
    on_hits = 2 * level * hits[:, None]
    other = rng.normal(0, between / 2, (count, seeds, 1))
    excess = on_hits + (0.2 * level + other) * (tokens - hits)[:, None]
    losses = rng.normal(3, 0.5, shape)[:, None] + rng.normal(0, between, (count, seeds, 1))
    return tokens, hits, losses * tokens[:, None], excess, on_hits


def gaps(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Gaps of documents, 1 on the average: "normal", "gamma SHAPE" or "lognormal SIGMA"."""
    rng = np.random.default_rng(1)
    name, _, spread = kind.partition(" ")
    if name == "normal":
        return rng.normal(1, 1, shape)
    if name == "gamma":
        return rng.gamma(float(spread), 1 / float(spread), shape)
    return rng.lognormal(-(float(spread) ** 2) / 2, float(spread), shape)


def long_with_large_gaps(
    shape: tuple[int, int], power: float, lengths: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Very unequal lengths, and gaps that grow with a power of them: the excess, the tokens, and
    the true gap."""
    rng = np.random.default_rng(4)
    tokens = np.exp(rng.normal(6, lengths, shape))
    excess = rng.gamma(4, 0.25, shape) * (tokens / np.exp(6)) ** power * tokens
    truth = np.exp(((1 + power) ** 2 - 1) * lengths**2 / 2)  # moments of a log-normal
    return excess, tokens, float(truth)


def rare_kind(share: float, size: float, closes: float, shape: tuple[int, int]) -> Texts:
    """Texts in which documents of one kind have so many times the gap, of which a selection closes
    so much; of the gap of the others it closes 40 %. What it closes beyond a half, the gap, and the
    hits."""
    rng = np.random.default_rng(0)
    hits = np.exp(rng.normal(4, 0.5, shape))
    rare = rng.random(shape) < share
    gap = np.where(rare, size, 1.0) * rng.gamma(9, 1 / 9, shape) * hits
    return gap * (np.where(rare, closes, 0.4) - 0.5), gap, hits


def held(ends: tuple[np.ndarray, np.ndarray], truth: float) -> tuple[float, float]:
    """How often there is an interval, and how often one that is there holds the truth."""
    low, high = ends
    there = ~np.isnan(low)
    return float(there.mean()), float(((low <= truth) & (truth <= high))[there].mean())
