"""How sure ratios over documents are: by hand, and how often their intervals hold the truth."""

import numpy as np
import pytest
from scipy import stats

from recollect.analysis.ratio import ratio, share_interval

CHANCE = 0.005
"""What a simulation of some thousand texts may be off."""
TRUE = {"log": 3.0, "gap": 0.222, "hits": 0.6, "share": 0.18 / 0.222}


def texts(count, seeds, documents, *, lengths, skewed=False, between=0.0):
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


def held(ends, truth):
    """How often there is an interval, and how often one that is there holds the truth."""
    low, high = ends
    there = ~np.isnan(low)
    return there.mean(), ((low <= truth) & (truth <= high))[there].mean()


def beyond(misses, found):
    """How often an end that is there lies beyond the truth."""
    return misses[~np.isnan(found.freedom)].mean()


@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize(("documents", "lengths"), [(5, 0.5), (20, 0.5), (20, 1.5), (100, 1.0)])
@pytest.mark.parametrize(("seeds", "between"), [(1, 0), (3, 0.05), (3, 0.3), (5, 0.05), (5, 0.3)])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds, between, documents, lengths, skewed):
    """Within two points of 95 %, whether documents or seeds decide; and one-sided ends, upper ones
    at half their level, as claims take them."""
    count = min(6000, 600_000 // (seeds * documents))
    made = texts(
        count, seeds, documents, lengths=lengths, skewed=skewed, between=between * (seeds > 1)
    )
    tokens, hits, losses, excess, on_hits = made
    for name, y, x in (("log", losses, tokens), ("gap", excess, tokens), ("hits", on_hits, hits)):
        found = ratio(y, x)
        _, share = held(found.interval(), TRUE[name])
        assert abs(share - 0.95) <= 0.02 + CHANCE, name
        assert beyond(found.interval(0.9)[0] > TRUE[name], found) <= 0.05 + 0.02 + CHANCE
        assert beyond(found.interval(0.95)[1] < TRUE[name], found) <= 0.05 + 0.02 + CHANCE
    there, share = held(share_interval(on_hits, excess, tokens), TRUE["share"])
    assert there * (1 - share) <= 0.05 + 0.02 + CHANCE, "it misses no oftener than it says"
    if there > 0.95:
        assert abs(share - 0.95) <= 0.02 + CHANCE


def test_equal_documents_are_students_interval():
    """Of a mean of equally long documents it is t's own but for what each pulls the mean."""
    losses = np.random.default_rng(0).normal(3, 1, 12)
    low, high = ratio(10 * losses[None], np.full(12, 10.0)).interval(0.9)
    reach = stats.t.ppf(0.95, 11) * losses.std(ddof=1) / np.sqrt(12)
    jackknife = np.sqrt(12 / 11)  # in place of what is lost by the mean
    assert (low + high) / 2 == pytest.approx(losses.mean())
    assert (high - low) / 2 == pytest.approx(reach * jackknife, rel=1e-5)


def test_a_share_is_where_its_difference_cannot_be_told_from_zero():
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
