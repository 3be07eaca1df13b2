"""How sure a ratio of two sums over documents is, where some documents are long and a model may
have been trained on several seeds.

The ratio is r = mean over seeds of sum(y) / sum(x): a loss for each token, a gap, a share. What a
document has beyond r times its x is its residual, and the variance of r that of the sum of the
residuals over sum(x). A document pulls r towards itself, so its residual is divided by the share of
x that lies in the others: it is then what the ratio of the others misses (the jackknife). Student's
t has as many degrees of freedom as there are documents of equal length that would be worth as much,
less one (Kish, 1965).

Several seeds read the same documents: the variance is that over documents of the mean over seeds,
and that between the ratios of the seeds (documents and seeds as crossed random effects). What is
peculiar to a seed on a document counts in both, so that intervals are rather wide. The degrees of
freedom are Satterthwaite's (1946), those of the seeds counted two thirds, as with three seeds his
own hold the truth in 92 of 100 cases where seeds differ most; never fewer than the smaller of the
two. Tests simulate how often an interval holds the truth. Letters: R seeds, D documents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Real

from recollect.analysis.student_t import student_t

FEWEST = 4.0
"""Documents of equal length that an interval needs at least: fewer do not show how they differ."""
SEEDS_COUNT = 2 / 3
"""Of the degrees of freedom of the seeds."""

Array = Real[np.ndarray, "..."]


@dataclass(frozen=True)
class Ratio:
    """Ratios, with what their intervals need.

    Attributes:
        value: the ratios; NaN where sum(x) is 0.
        error: standard errors.
        freedom: degrees of freedom; NaN where documents are too few or too unequal to tell.
    """

    value: Array
    error: Array
    freedom: Array

    def interval(self, confidence: float = 0.95) -> tuple[Array, Array]:
        """The ends of the intervals that hold the truth so often; NaN where there are none."""
        reach = student_t((1 + confidence) / 2, self.freedom) * self.error
        return self.value - reach, self.value + reach


def ratio(y: Real[np.ndarray, "*n R D"], x: Real[np.ndarray, "*n D"]) -> Ratio:
    """The ratios of y to x, which is the same for all seeds."""
    with np.errstate(divide="ignore", invalid="ignore"):  # where x is 0, or in one document alone
        value, residuals, weights = _parts(y, x)
        variances = _variances(residuals, residuals, weights, 1.0)
        return Ratio(value, np.sqrt(sum(variances)), _freedom(variances, y, weights))


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
        share = p / w
        pairs = ((d_part, d_part), (d_part, d_whole), (d_whole, d_whole))
        found = [_variances(*pair, weights, 0.5) for pair in pairs]
        documents, between = (
            pp - 2 * share * pw + share**2 * ww for pp, pw, ww in zip(*found, strict=True)
        )
        freedom = _freedom((documents, between), part, weights)
        reach = student_t((1 + confidence) / 2, freedom) ** 2
        pp, pw, ww = (sum(each) for each in found)
        a, b, c = w**2 - reach * ww, p * w - reach * pw, p**2 - reach * pp
        a = np.where(a > 0, a, np.nan)
        root = np.sqrt((b**2 - a * c).clip(min=0))
        return (b - root) / a, (b + root) / a


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


def _freedom(variances: tuple[Array, Array], y: Array, weights: Array) -> Array:
    """Degrees of freedom of the sum of both; NaN where documents are too few."""
    worth = 1 / (weights**2).sum(-1)
    of_documents = np.where(worth < FEWEST - 1e-9, np.nan, worth - 1)
    seeds = y.shape[-2]
    if seeds == 1:
        return of_documents
    documents, between = variances
    count = SEEDS_COUNT * (seeds - 1)
    joint = (documents + between) ** 2 / (documents**2 / of_documents + between**2 / count)
    return np.fmax(joint, np.minimum(of_documents, seeds - 1))  # where nothing varies, the latter
