"""How sure ratios over documents are: by hand, and how often their intervals hold the truth."""

import numpy as np
import pytest
from scipy import stats

from document_worlds import TRUE, gaps, held, texts
from recollect.analysis.ratio import ratio, share_interval

pytestmark = pytest.mark.slow

CHANCE = 0.01
"""What a simulation of some thousand texts may be off."""


def beyond(misses, found):
    """How often an end that is there lies beyond the truth."""
    return misses[~np.isnan(found.freedom)].mean()


@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize(("documents", "lengths"), [(5, 0.5), (20, 0.5), (20, 1.5), (100, 1.0)])
@pytest.mark.parametrize(
    ("seeds", "between"), [(1, 0), (2, 0.05), (2, 0.3), (3, 0.05), (3, 0.3), (5, 0.05), (5, 0.3)]
)
def test_intervals_hold_the_truth_as_often_as_they_say(seeds, between, documents, lengths, skewed):
    """At least, whether documents or seeds decide; and so does each end."""
    count = min(4000, 400_000 // (seeds * documents))
    made = texts(
        count, seeds, documents, lengths=lengths, skewed=skewed, between=between * (seeds > 1)
    )
    tokens, hits, losses, excess, on_hits = made
    for name, y, x in (("log", losses, tokens), ("gap", excess, tokens), ("hits", on_hits, hits)):
        found = ratio(y, x)
        low, high = found.interval()
        assert held((low, high), TRUE[name])[1] >= 0.95 - CHANCE, name
        for misses in (low > TRUE[name], high < TRUE[name]):
            assert beyond(misses, found) <= 0.035 + CHANCE, name
    there, share = held(share_interval(on_hits, excess, tokens), TRUE["share"])
    assert there * (1 - share) <= 0.05 + CHANCE, "it misses no oftener than it says"


@pytest.mark.parametrize(
    ("kind", "miss"),
    [
        ("normal", {20: 0.025, 35: 0.025, 100: 0.025}),
        ("gamma 4", {20: 0.03, 35: 0.03, 100: 0.03}),
        ("gamma 1", {20: 0.03, 35: 0.03, 100: 0.03}),
        ("lognormal 1", {20: 0.05, 35: 0.045, 100: 0.04}),
        ("lognormal 1.5", {20: 0.07, 35: 0.055, 100: 0.05}),
    ],
)
@pytest.mark.parametrize("lengths", [0.1, 1.0])
def test_ends_where_a_few_documents_have_much_larger_gaps(kind, miss, lengths):
    """The ends of intervals of 95 %, each of which should miss in 2.5 %; those of Student's t miss
    in up to 24 % of these."""
    for documents, allowed in miss.items():
        shape = min(10_000, 500_000 // documents), documents
        x = np.exp(np.random.default_rng(2).normal(6, lengths, shape))
        found = ratio((gaps(kind, shape) * x)[:, None], x)
        low, high = found.interval()
        assert beyond(high < 1, found) <= allowed + CHANCE, documents
        assert beyond(low > 1, found) <= 0.025 + CHANCE, documents


def test_intervals_are_wider_with_more_confidence():
    x = np.exp(np.random.default_rng(2).normal(6, 1, (50, 30)))
    found = ratio(gaps("lognormal 1", (50, 3, 30)) * x[:, None], x)
    (low, high), (lower, higher) = found.interval(0.5), found.interval(0.95)
    assert (lower < low).all()
    assert (high < higher).all()


def test_ends_are_mirrored():
    """So that a claim and its converse are treated alike."""
    x = np.exp(np.random.default_rng(2).normal(6, 1, (50, 30)))
    y = gaps("lognormal 1", (50, 3, 30)) * x[:, None]
    low, high = ratio(y, x).interval(0.9)
    np.testing.assert_allclose(ratio(-y, x).interval(0.9), (-high, -low))
    found = ratio(y, x).value
    assert np.median((high - found) / (found - low)) > 1.1, "further on the side of the tail"


def test_equal_documents_without_skewness_are_students_interval():
    """Of a mean of equally long documents it is t's own but for what each pulls the mean."""
    one_side = np.random.default_rng(0).normal(0, 1, 6)
    losses = 3 + np.concatenate([one_side, -one_side])
    low, high = ratio(10 * losses[None], np.full(12, 10.0)).interval(0.9)
    reach = stats.t.ppf(0.95, 11) * losses.std(ddof=1) / np.sqrt(12)
    jackknife = np.sqrt(12 / 11)  # in place of what is lost by the mean
    assert (low + high) / 2 == pytest.approx(losses.mean())
    assert (high - low) / 2 == pytest.approx(reach * jackknife, rel=1e-5)


@pytest.mark.parametrize(("seeds", "more"), [(1, 1.05), (3, 1.25), (5, 1.1)])
def test_intervals_are_not_much_wider_than_they_must_be(seeds, more):
    """Than those of a normal distribution whose spread is known."""
    shape = (2000, seeds, 100)
    rng = np.random.default_rng(3)
    level = rng.normal(1, 0.3, (2000, 1, 100)) + rng.normal(0, 0.1, shape)
    low, high = ratio(level, np.ones((2000, 100))).interval()
    known = 2 * 1.96 * np.sqrt((0.3**2 + 0.1**2 / seeds) / 100)
    assert known <= np.median(high - low) <= more * known


def test_a_share_is_where_its_difference_may_be_zero():
    """At its ends the interval of part - share whole begins or ends with 0, up to the power with
    which residuals are divided, next to nothing in many documents."""
    _, _, _, whole, part = texts(1, 1, 2000, lengths=0.5)
    tokens = np.ones((1, 2000))
    ends = share_interval(part, whole, tokens)
    assert ends[0] < part.sum() / whole.sum() < ends[1]
    for end, side in zip(ends, (0, 1), strict=True):
        found = ratio(part - end[:, None, None] * whole, tokens).interval()
        assert found[side] == pytest.approx(0, abs=2e-3 * part.mean())


@pytest.mark.parametrize("x", [[1.0, 1, 1], [100.0, 1, 1, 1, 1], [5.0, 0, 0, 0, 0]])
def test_no_interval_where_documents_are_worth_fewer_than_four(x):
    found = ratio(np.arange(len(x), dtype=float)[None], np.array(x))
    assert np.isfinite(found.value)
    assert np.isnan(found.interval()).all()


def test_nothing_to_divide_by():
    found = ratio(np.zeros((2, 6)), np.zeros(6))
    assert np.isnan([found.value, *found.interval()]).all()
    assert np.isnan(share_interval(np.ones((1, 6)), np.zeros((1, 6)), np.ones(6))).all()
