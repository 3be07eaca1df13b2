"""How sure a ratio of two sums over documents is, where some documents are long and a model may
have been trained on several seeds.

The ratio is r = mean over seeds of sum(y) / sum(x): a loss for each token, a gap, a share. What a
document has beyond r times its x is its residual, and the variance of r that of the sum of the
residuals over sum(x). A document pulls r towards itself, so its residual is divided by the share of
x that lies in the others: it is then what the ratio of the others misses (the jackknife). Student's
t has as many degrees of freedom as there are documents of equal length that would be worth as much,
less one (Kish, 1965).

Where a few documents have a much larger gap than the others, Student's interval ends too early on
their side. Hall's transformation (1992) moves both ends by the skewness of r. The skewness of few
documents is uncertain, so an end is never nearer than Student's. A kind of document that was not
read at all leaves no trace: no interval knows of it.

Several seeds read the same documents (crossed random effects): the squared reach of an interval is
the sum of that over documents and that over seeds, each with its own quantile of t. What is
peculiar to a seed on a document counts in both, so that intervals are rather wide. Tests simulate
how often an interval holds the truth. Letters: R seeds, D documents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Real

from recollect.analysis.student_t import student_t

FEWEST = 4.0
"""Documents of equal length that an interval needs at least: fewer do not show how they differ."""
SKEWNESS_COUNT = 1.25
"""Times the skewness that is seen: of a long tail the documents seldom show the end."""

Array = Real[np.ndarray, "..."]


@dataclass(frozen=True)
class Ratio:
    """Ratios, with what their intervals need.

    Attributes:
        value: the ratios; NaN where sum(x) is 0.
        over_documents: their variance over documents.
        over_seeds: their variance over seeds; 0 for one seed.
        seeds: how many.
        freedom: degrees of freedom of the documents; NaN where they are too few or too unequal.
        skewness: over documents: positive where a few have much larger values than the others.
    """

    value: Array
    over_documents: Array
    over_seeds: Array
    seeds: int
    freedom: Array
    skewness: Array

    def interval(self, confidence: float = 0.95) -> tuple[Array, Array]:
        """The ends of the intervals that hold the truth so often; NaN where there are none."""
        of_seeds = _seed_reach(confidence, self.seeds) ** 2 * self.over_seeds
        below, above = (
            np.sqrt(reach**2 * self.over_documents + of_seeds)
            for reach in _document_reaches(confidence, self.freedom, self.skewness)
        )
        return self.value - below, self.value + above


def ratio(y: Real[np.ndarray, "*n R D"], x: Real[np.ndarray, "*n D"]) -> Ratio:
    """The ratios of y to x, which is the same for all seeds."""
    with np.errstate(divide="ignore", invalid="ignore"):  # where x is 0, or in one document alone
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
    """The ends of the interval of sum(part) / sum(whole), where both vary from seed to seed.

    It holds all shares s for which the ratio of part - s whole to x is not distinguishable from 0
    (Fieller, 1954). That needs no division, and so none by a small number; residuals are divided by
    the root of the others' share of x, with which it holds the truth as often as it says. NaN where
    the whole is not distinguishable from 0, or an interval would need more documents. Texts in
    which the whole is barely distinguishable are a lucky choice: their intervals are too narrow.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # where either is 0
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
    """The ratios, the residual of each seed and document over sum(x), and each document's share
    of x."""
    total = x.sum(-1)
    value = y.mean(-2).sum(-1) / total
    weights = x / total[..., None]
    return value, y / total[..., None, None] - (value[..., None] * weights)[..., None, :], weights


def _variances(one: Array, other: Array, weights: Array, power: float) -> tuple[Array, Array]:
    """The covariance of two ratios over documents, and that over seeds."""
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
    """The skewness over documents. Residuals are divided by the root of their weights, as if a long
    document were many short ones: so all documents tell of one skewness, which is surer than that
    of the few long ones."""
    roots = np.sqrt(weights)
    scaled = np.where(weights > 0, residuals.mean(-2) / roots, 0)
    count = (weights > 0).sum(-1)
    of_a_document = np.sqrt(count) * (scaled**3).sum(-1) / (scaled**2).sum(-1) ** 1.5
    return np.nan_to_num(SKEWNESS_COUNT * of_a_document * (roots**3).sum(-1))


def _document_reaches(confidence: float, freedom: Array, skewness: Array) -> tuple[Array, Array]:
    """From a ratio down to the lower end of its interval over documents, and up to the upper one,
    in standard errors."""
    reach = student_t((1 + confidence) / 2, freedom)
    return np.fmax(reach, _hall(reach, skewness)), np.fmax(reach, _hall(reach, -skewness))


def _hall(reach: Array, skewness: Array) -> Array:
    """Where Hall's transformation, which takes the skewness out of a standardised ratio, is as
    large as `reach`."""
    skewness = np.where(np.abs(skewness) < 1e-6, 1e-6, skewness)  # in the limit it is `reach`
    return 3 / skewness * (np.cbrt(1 + skewness * (reach - skewness / 6)) - 1)


def _seed_reach(confidence: float, seeds: int) -> float:
    """Likewise over seeds; of one seed nothing is known, and its variance is 0."""
    return float(student_t((1 + confidence) / 2, np.array(max(seeds - 1, 1.0))))
