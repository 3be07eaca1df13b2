"""The gap and its slices, against sums over tokens one by one; and what must hold for any text."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recollect.language.document_sums import DocumentSums, joined, sum_documents
from recollect.language.gap import closed_share, difference, excess_of_hits, gap_frame, gap_share
from recollect.language.observed import Observed
from recollect.language.slices import range_of, slice_frame, sum_slices

BOUNDS = (5, 1)


def observed(lengths, seed, models=2):
    """Tokens of documents of these lengths, as they come."""
    rng = np.random.default_rng(seed)
    count = sum(lengths)
    distance = rng.integers(0, 4, count)
    return Observed(
        document=np.repeat(np.arange(len(lengths)), lengths),
        position=rng.integers(1, 20, count),
        distance=distance,
        train_count=np.where(distance > 0, rng.integers(0, 9, count), 0),
        losses=rng.exponential(3, (models, count)).astype(np.float32),
    )


texts = st.tuples(
    st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=4), min_size=1, max_size=3),
    st.integers(0, 10**6),
)


def parts_of(text):
    lengths, seed = text
    return [observed(each, seed + i) for i, each in enumerate(lengths)]


def sums_of(parts, models=("first", "second"), bounds=BOUNDS):
    return joined([sum_documents(part, models, bounds) for part in parts])


def frame_of(parts, models=("first", "second")):
    return gap_frame(sums_of(parts, models))


@settings(max_examples=50)
@given(texts)
def test_shares_add_up_to_one_and_weighted_logs_to_the_whole(text):
    frame = frame_of(parts_of(text))
    hits = frame["hit_share"]
    assert hits.between(0, 1).all()
    logs = [frame[f"log_perplexity{name}"].fillna(0) for name in ("", "_hits", "_other")]
    np.testing.assert_allclose(hits * logs[1] + (1 - hits) * logs[2], logs[0], rtol=1e-9)
    assert frame["log_perplexity_hits"].isna().equals(hits == 0)
    assert frame["log_perplexity_other"].isna().equals(hits == 1)


@settings(max_examples=50)
@given(texts)
def test_the_table_is_that_of_a_loop(text):
    parts = parts_of(text)
    frame = frame_of(parts).set_index(["max_train_count", "model"])
    rows = [row for part in parts for row in zip(*part[1:4], *part.losses, strict=True)]
    for bound in BOUNDS:
        sums = {}
        for i, model in enumerate(("first", "second")):
            of_all = [float(row[3 + i]) for row in rows]
            of_hits = [float(row[3 + i]) for row in rows if row[1] > 0 and row[2] <= bound]
            sums[model] = sum(of_all), sum(of_hits)
            row = frame.loc[(bound, model)]
            assert row["tokens"] == len(rows)
            assert row["hit_share"] == pytest.approx(len(of_hits) / len(rows))
            assert row["perplexity"] == pytest.approx(math.exp(sum(of_all) / len(rows)))
            if of_hits:
                expected = sum(of_hits) / len(of_hits)
                assert row["log_perplexity_hits"] == pytest.approx(expected)
        gap = [b - a for a, b in zip(sums["first"], sums["second"], strict=True)]
        row = frame.loc[(bound, "second")]
        assert row["gap"] == pytest.approx(gap[0] / len(rows))
        if of_hits:
            assert row["gap_hits"] == pytest.approx(gap[1] / len(of_hits))
        else:
            assert math.isnan(row["gap_hits"])
        if row["gap_low"] > 0 and not math.isnan(row["gap_share_low"]):
            assert row["gap_share"] == pytest.approx(gap[1] / gap[0])
            assert row["gap_share_clipped"] == pytest.approx(min(max(gap[1] / gap[0], 0), 1))
        else:
            assert math.isnan(row["gap_share"])


def test_the_papers_formula_on_its_own_numbers():
    """Long convolution at 128M against attention (Zoology, table 1): 40.1 % of the gap, which the
    printed log perplexities give with an AR share of 7 %."""
    tokens = 100_000
    hits = np.arange(tokens) < 0.07 * tokens
    losses = np.stack([np.where(hits, 0.77, 2.52), np.where(hits, 3.24, 2.80)], dtype=np.float32)
    text = Observed(
        document=np.arange(tokens) // 100,
        position=np.ones(tokens, np.int64),
        distance=hits.astype(np.int64),
        train_count=np.zeros(tokens, np.int64),
        losses=losses,
    )
    row = frame_of([text]).iloc[1]
    assert row["log_perplexity"] == pytest.approx(2.83, abs=0.01)
    assert row["gap_share"] == pytest.approx(0.401, abs=0.01)


@settings(max_examples=30)
@given(texts)
def test_sums_for_many_bounds_are_those_for_each(text):
    """In any order, twice the same, and without a bound."""
    parts, bounds = parts_of(text), (7, None, 0, 3, 7)
    many = sums_of(parts, bounds=bounds)
    assert many.max_train_counts == bounds
    for i, bound in enumerate(bounds):
        of_one = sums_of(parts, bounds=(bound,))
        place = 1 + i
        np.testing.assert_array_equal(many.tokens[[0, place]], of_one.tokens)
        np.testing.assert_allclose(many.losses[:, [0, place]], of_one.losses, rtol=1e-9)
    repeated = sum(int((part.distance > 0).sum()) for part in parts)
    assert many.tokens[many.place(None)].sum() == repeated


def test_intervals_hold_what_they_are_of():
    frame = frame_of([observed([30] * 20, 3)])
    for name in ("log_perplexity", "perplexity_hits", "gap", "gap_hits", "hit_share"):
        assert frame[name].between(frame[f"{name}_low"], frame[f"{name}_high"]).all()
    assert (frame["perplexity_low"] < frame["perplexity"]).all()


@pytest.mark.parametrize("lengths", [[20], [20, 20, 20], [5, 5, 500, 5, 5, 5]])
def test_documents_that_are_worth_too_few_have_no_interval_and_no_share(lengths):
    text = observed(lengths, 0)
    text.losses[1] = text.losses[0] + 1
    frame = frame_of([text])
    shares = frame.filter(like="gap_share")
    assert shares.shape[1] == 6
    assert shares.isna().all(axis=None)
    assert all(math.isnan(number) for number in gap_share(sums_of([text]), "second", 5))
    for name in ("log_perplexity", "perplexity_hits", "gap", "gap_hits"):
        assert frame[name].notna().all()
        assert frame[f"{name}_low"].isna().all(), name


def with_gaps(gaps, models=2, seed=0):
    """Documents of 50 tokens, on which the last model is behind the first by so much a token."""
    text = observed([50] * len(gaps), seed, models)
    text.losses[-1] = text.losses[0] + np.repeat(np.float32(gaps), 50)
    return text


def test_a_share_of_a_gap_that_may_not_be_there_is_not_defined():
    """Nine documents have a gap; the tenth has less, more of it, or turns it."""
    for tenth, is_there in ((0.2, True), (-0.6, False)):
        row = frame_of([with_gaps([0.1] * 9 + [tenth])]).iloc[1]
        assert row["gap"] > 0
        assert (row["gap_low"] > 0) == is_there
        names = ("gap_share", "gap_share_clipped")
        for name in (f"{name}{end}" for name in names for end in ("", "_low", "_high")):
            assert math.isnan(row[name]) != is_there, (tenth, name)
        if is_there:
            assert row["gap_share_low"] < row["gap_share"] < row["gap_share_high"]


def test_the_clipped_share_has_clipped_ends():
    """On hits the gap is 1 a token, on all others there is less than none."""
    text = observed([200] * 8, 1)
    hits = (text.distance > 0) & (text.train_count <= 5)
    text.losses[1] = text.losses[0] + np.where(hits, 1, -0.1).astype(np.float32)
    row = frame_of([text]).iloc[1]
    assert 1 < row["gap_share_low"] < row["gap_share"] < row["gap_share_high"]
    clipped = [row[f"gap_share_clipped{end}"] for end in ("", "_low", "_high")]
    assert clipped == [1, 1, 1]


def test_without_a_gap_there_is_no_share_of_it():
    text = observed([20] * 6, 0)
    text.losses[1] = text.losses[0]
    frame = frame_of([text])
    assert (frame[["gap", "gap_low", "gap_high"]] == 0).all(axis=None)
    assert frame["gap_share"].isna().all()


def test_seeds_are_compared_one_by_one():
    """A seed that is good on all documents is so for both models; the difference knows none."""
    lengths = [30] * 12
    text = observed(lengths, 2, models=6)
    for seed, level in enumerate((0.0, 2.0, 5.0)):
        text.losses[seed] = text.losses[0] + level
        text.losses[3 + seed] = text.losses[seed] + 0.3
    frame = frame_of([text], ["one"] * 3 + ["other"] * 3)
    assert list(frame["model"]) == ["one", "other"] * 2
    assert (frame["seeds"] == 3).all()
    first, second = frame.iloc[0], frame.iloc[1]
    assert first["log_perplexity"] == pytest.approx(text.losses[:3].mean(), rel=1e-5)
    assert first["log_perplexity_high"] - first["log_perplexity_low"] > 3, "over seeds too"
    for name in ("gap", "gap_low", "gap_high", "gap_hits"):
        assert second[name] == pytest.approx(0.3, abs=1e-4)
    assert first["gap"] == first["gap_low"] == first["gap_high"] == 0
    one = frame_of([text._replace(losses=text.losses[[0, 3]])], ["one", "other"])
    assert (one["seeds"] == 1).all()


def test_a_model_of_one_seed_is_compared_with_the_first_of_the_reference():
    text = observed([30] * 12, 2, models=4)
    text.losses[1] = text.losses[0] + 9
    text.losses[3] = text.losses[0] + 0.5
    frame = frame_of([text], ["one", "one", "one", "other"])
    assert list(frame["seeds"][:2]) == [3, 1]
    assert frame["gap"][1] == pytest.approx(0.5, abs=1e-4)


def test_more_seeds_than_the_reference_has_are_refused():
    with pytest.raises(ValueError, match=r"other has 2 seeds, but one, .* has 1"):
        frame_of([observed([30] * 12, 2, models=3)], ["one", "other", "other"])


def test_differences_of_several_models():
    """By hand, at one bound: half of the gap of the second less all of the third's."""
    text = observed([40] * 10, 4, models=3)
    sums = sums_of([text], ["first", "second", "third"])
    hits = (text.distance > 0) & (text.train_count <= 5)
    found = difference(sums, {"second": 0.5, "first": 0.5, "third": -1.0}, 5)
    expected = (text.losses[:2, hits].mean(axis=0) - text.losses[2, hits]).mean()
    assert found.value == pytest.approx(expected, rel=1e-4)
    low, high = found.interval(0.9)
    assert low < found.value < high
    beyond = excess_of_hits(sums, "second", 0.5, 5)
    gap = text.losses[1] - text.losses[0]
    assert beyond.value == pytest.approx((gap[hits].sum() - gap.sum() / 2) / 400, rel=1e-4)
    text.losses[1:] += 2 + np.arange(2, 0, -1, dtype=np.float32)[:, None]
    closed, low, high = closed_share(sums_of([text], sums.models), "third", "second", 5)
    gaps = [(text.losses[i, hits] - text.losses[0, hits]).mean() for i in (1, 2)]
    assert closed == pytest.approx(1 - gaps[1] / gaps[0], rel=1e-4)
    assert low < closed < high


def test_sums_are_kept(tmp_path):
    sums = sums_of(parts_of(([[5, 9], [7]], 0)), ["a", "a"], (3, None))
    sums.write(tmp_path / "sums.npz")
    kept = DocumentSums.read(tmp_path / "sums.npz")
    assert (kept.models, kept.max_train_counts) == (("a", "a"), (3, None))
    np.testing.assert_array_equal(kept.tokens, sums.tokens)
    np.testing.assert_array_equal(kept.losses, sums.losses)


@settings(max_examples=30)
@given(texts)
def test_slices_are_those_of_a_loop(text):
    parts = parts_of(text)
    frame = slice_frame(sum(sum_slices(part, 5) for part in parts), ["first", "second"], 5)
    assert (frame["max_train_count"].isna() == (frame["among"] == "repeated")).all()
    assert set(frame["max_train_count"].dropna()) <= {5}
    expected = {}
    for part in parts:
        for position, distance, count, *losses in zip(*part[1:4], *part.losses, strict=True):
            hit = distance > 0 and count <= 5
            places = [("position", "hits" if hit else "other", position)]
            if distance > 0:
                places.append(("train_count", "repeated", count))
            if hit:
                places.append(("distance", "hits", distance))
            for by, among, value in places:
                low, high = next(
                    (low, high)
                    for low, high in [(0, 0)] + [(2**i, 2 ** (i + 1) - 1) for i in range(9)]
                    if low <= value <= high
                )
                for model, loss in zip(("first", "second"), losses, strict=True):
                    place = (by, among, low, high, model)
                    expected.setdefault(place, []).append(float(loss))
    keys = ["by", "among", "low", "high", "model"]
    found = {tuple(getattr(row, key) for key in keys): row for row in frame.itertuples()}
    assert found.keys() == expected.keys()
    for place, losses in expected.items():
        assert found[place].tokens == len(losses)
        assert found[place].log_perplexity == pytest.approx(np.mean(losses))
        assert found[place].perplexity == pytest.approx(np.exp(np.mean(losses)))


def test_slices_of_seeds_are_their_mean():
    text = observed([40] * 3, 0, models=3)
    frame = slice_frame(sum_slices(text, 5), ["one", "other", "one"], 5)
    each = slice_frame(sum_slices(text, 5), ["a", "b", "c"], 5).set_index("model")
    logs = [each.loc[name, "log_perplexity"].to_numpy() for name in "abc"]
    of_one = frame[frame["model"] == "one"]["log_perplexity"]
    np.testing.assert_allclose(of_one, (logs[0] + logs[2]) / 2)
    np.testing.assert_allclose(frame[frame["model"] == "other"]["log_perplexity"], logs[1])


def test_ranges_double():
    values = np.array([0, 1, 2, 3, 4, 7, 8, 2**40 - 1, 2**40])
    assert range_of(values).tolist() == [int(value).bit_length() for value in values]
