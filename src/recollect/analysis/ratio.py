"""Confidence intervals of a ratio of two sums over documents of unequal length and over seeds.

The ratio is r = mean over seeds of sum(y) / sum(x), such as a loss per token. The residual of a
document is its y minus r times its x; the variance of r is that of the sum of residuals, divided by
sum(x)^2. A document pulls r towards itself, so its residual is divided by the other documents'
share of x (the jackknife). Student's t gets the effective number of documents minus one as its
degrees of freedom (Kish, 1965).

If a few documents have much larger values than the others, Student's interval is too short on their
side. Hall's transformation (1992) moves both ends by the skewness of r. The skewness of few
documents is uncertain, so intervals are never shorter than Student's. No interval accounts for a
kind of document that is missing from the sample.

All seeds read the same documents (crossed random effects). The squared half-width of an interval is
the sum of those over documents and over seeds, each with its own quantile of t. Interactions of
seed and document count in both, so intervals are rather wide. Tests simulate their coverage.
Dimensions: R seeds, D documents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Real

from recollect.analysis.student_t import student_t

FEWEST = 4.0
"""Fewest effective documents (of equal length) for an interval."""
SKEWNESS_COUNT = 1.25
"""Factor on the observed skewness, because a sample seldom contains the end of a long tail."""

Array = Real[np.ndarray, "..."]


@dataclass(frozen=True)
class Ratio:
    """Ratios with the variances from which intervals are computed.

    Attributes:
        value: the ratios; NaN where sum(x) is 0.
        over_documents: variance over documents.
        over_seeds: variance over seeds; 0 for one seed.
        seeds: number of seeds.
        freedom: degrees of freedom of the documents; NaN if they are too few or too unequal.
        skewness: over documents; positive if a few have much larger values than the others.
    """

    value: Array
    over_documents: Array
    over_seeds: Array
    seeds: int
    freedom: Array
    skewness: Array

    def interval(self, confidence: float = 0.95) -> tuple[Array, Array]:
        """Ends of the confidence intervals; NaN if they are undefined."""
        of_seeds = _seed_reach(confidence, self.seeds) ** 2 * self.over_seeds
        below, above = (
            np.sqrt(reach**2 * self.over_documents + of_seeds)
            for reach in _document_reaches(confidence, self.freedom, self.skewness)
        )
        return self.value - below, self.value + above


def ratio(y: Real[np.ndarray, "*n R D"], x: Real[np.ndarray, "*n D"]) -> Ratio:
    """Ratios of y to x; x is the same for all seeds."""
    # x may be 0, or nonzero in one document only
    with np.errstate(divide="ignore", invalid="ignore"):
        value, residuals, weights = _parts(y, x)
        return Ratio(
            value,
            *_variances(residuals, residuals, weights, 1.0),
            y.shape[-2],
            _freedom(weights),
            _skewness(residuals, weights),
        )


def share_interval(
    part: Real[np.ndarray, "*n R D"],
    whole: Real[np.ndarray, "*n R D"],
    x: Real[np.ndarray, "*n D"],
    confidence: float = 0.95,
) -> tuple[Array, Array]:
    """Confidence interval of sum(part) / sum(whole), where both vary between seeds.

    It contains all shares s for which the ratio of part - s whole to x is not significantly
    different from 0 (Fieller, 1954), so nothing is divided by a small number. Residuals are divided
    by the root of the other documents' share of x, which gives the stated coverage. NaN if the
    whole is not significantly different from 0 or there are too few documents. If it is barely
    significant, the interval is too narrow.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # either may be 0
        p, d_part, weights = _parts(part, x)
        w, d_whole, _ = _parts(whole, x)
        skewness = _skewness(d_part - (p / w)[..., None, None] * d_whole, weights)
        of_seeds = _seed_reach(confidence, part.shape[-2]) ** 2
        products = (p**2, d_part, d_part), (p * w, d_part, d_whole), (w**2, d_whole, d_whole)
        ends = []
        for side, reach in zip(
            (-1, 1), _document_reaches(confidence, _freedom(weights), skewness), strict=True
        ):
            c, b, a = (
                square - reach**2 * documents - of_seeds * seeds
                for square, (documents, seeds) in (
                    (square, _variances(one, other, weights, 0.5))
                    for square, one, other in products
                )
            )
            root = np.sqrt((b**2 - a * c).clip(min=0))
            ends.append((b + side * root) / np.where(a > 0, a, np.nan))
        undefined = np.isnan(ends).any(axis=0)
        low, high = (np.where(undefined, np.nan, end) for end in ends)
        return low, high


def _parts(y: Array, x: Array) -> tuple[Array, Array, Array]:
    """Ratios, residuals of each seed and document divided by sum(x), and each document's share of
    x."""
    total = x.sum(-1)
    value = y.mean(-2).sum(-1) / total
    weights = x / total[..., None]
    return value, y / total[..., None, None] - (value[..., None] * weights)[..., None, :], weights


def _variances(one: Array, other: Array, weights: Array, power: float) -> tuple[Array, Array]:
    """Covariances of two ratios over documents and over seeds."""
    products = one.mean(-2) * other.mean(-2) / (1 - weights) ** (2 * power)
    seeds = one.shape[-2]
    if seeds == 1:
        return products.sum(-1), np.zeros(weights.shape[:-1])
    sums, others = one.sum(-1), other.sum(-1)
    between = ((sums - sums.mean(-1)[..., None]) * others).sum(-1) / (seeds * (seeds - 1))
    return products.sum(-1), between


def _freedom(weights: Array) -> Array:
    worth = 1 / (weights**2).sum(-1)
    return np.where(worth < FEWEST - 1e-9, np.nan, worth - 1)


def _skewness(residuals: Array, weights: Array) -> Array:
    """Skewness over documents. Residuals are divided by the root of their weights, as if long
    documents were many short ones, so that all documents contribute to one estimate."""
    roots = np.sqrt(weights)
    scaled = np.where(weights > 0, residuals.mean(-2) / roots, 0)
    count = (weights > 0).sum(-1)
    of_a_document = np.sqrt(count) * (scaled**3).sum(-1) / (scaled**2).sum(-1) ** 1.5
    return np.nan_to_num(SKEWNESS_COUNT * of_a_document * (roots**3).sum(-1))


def _document_reaches(confidence: float, freedom: Array, skewness: Array) -> tuple[Array, Array]:
    """Distances from a ratio to the lower and the upper end of its interval over documents, in
    standard errors."""
    reach = student_t((1 + confidence) / 2, freedom)
    return np.fmax(reach, _hall(reach, skewness)), np.fmax(reach, _hall(reach, -skewness))


def _hall(reach: Array, skewness: Array) -> Array:
    """Standardised ratio at which Hall's transformation, which removes skewness, equals `reach`."""
    skewness = np.where(np.abs(skewness) < 1e-6, 1e-6, skewness)  # in the limit it is `reach`
    return 3 / skewness * (np.cbrt(1 + skewness * (reach - skewness / 6)) - 1)


def _seed_reach(confidence: float, seeds: int) -> float:
    """Half-width over seeds in standard errors; for one seed it is unused, because the variance is
    0."""
    return float(student_t((1 + confidence) / 2, np.array(max(seeds - 1, 1.0))))
