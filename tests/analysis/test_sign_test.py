"""How often verdicts err, and what a range over seeds holds: exactly, and by simulation."""

import numpy as np
import pytest

from recollect.analysis.sign_test import (
    boundaries,
    deciding_look,
    looks,
    range_coverage,
)

RUNS = 20_000
NULLS = {
    # the median of each is at 0, or the threshold is hit exactly
    "normal": lambda rng, shape: rng.normal(size=shape),
    "all or nothing": lambda rng, shape: np.where(rng.random(shape) < 0.5, 0.5, -0.4),
    "skewed": lambda rng, shape: rng.lognormal(0.0, 2.0, shape) - 1,
    "often on the threshold": lambda rng, shape: np.where(
        rng.random(shape) < 0.4, 0.0, rng.normal(size=shape)
    ),
}


def rate(right: np.ndarray, planned: tuple[int, ...], level: float) -> float:
    """How often seeds establish something, a row for each run."""
    needed = boundaries(planned, level)
    hits = [
        right[:, :look].sum(axis=1) >= least
        for look, least in zip(planned, needed, strict=True)
        if least is not None
    ]
    return float(np.any(hits, axis=0).mean()) if hits else 0.0


@pytest.mark.parametrize(
    ("first", "level", "needed"),
    [
        (5, 0.05, (5, 9)),
        (3, 0.05, (None, 5, 9)),
        (1, 0.05, (None, 5, 9)),
        (10, 0.05, (9,)),
        (5, 0.025, (None, 9)),
    ],
)
def test_boundaries(first, level, needed):
    assert boundaries(looks(first), level) == needed


@pytest.mark.parametrize("level", [0.05, 0.025, 0.05 / 3, 0.2])
@pytest.mark.parametrize("first", [1, 2, 3, 5, 7, 10])
def test_the_whole_procedure_errs_at_most_as_often_as_it_says(first, level):
    """With the seeds that are added."""
    rng, planned = np.random.default_rng(first), looks(first)
    for draw in NULLS.values():
        numbers = draw(rng, (RUNS, planned[-1]))
        for right in (numbers > 0, numbers < 0):
            assert rate(right, planned, level) <= level + 4 * np.sqrt(level / RUNS)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_a_true_claim_is_contradicted_at_most_as_often_by_any_of_its_parts(parts):
    """The converse of each is tested at a share of the level."""
    rng, planned = np.random.default_rng(parts), looks(5)
    for draw in NULLS.values():
        numbers = draw(rng, (RUNS, parts, planned[-1]))
        needed = boundaries(planned, 0.05 / parts)
        wrong = [
            (numbers[..., :look] < 0).sum(axis=-1) >= least
            for look, least in zip(planned, needed, strict=True)
            if least is not None
        ]
        assert np.any(wrong, axis=(0, 2)).mean() <= 0.05 + 4 * np.sqrt(0.05 / RUNS)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, shape: rng.normal(0.6, 0.2, shape),
        lambda rng, shape: rng.uniform(0.25, 1, shape),
        lambda rng, shape: rng.choice([0.25, 0.5, 0.75], shape),
    ],
)
def test_equal_models_are_not_said_to_differ_more_often_than_the_level(draw):
    """By two tests, one for each side, of a difference of less than 0.05."""
    rng = np.random.default_rng(0)
    one, two = draw(rng, (2, RUNS, 10))
    differ = [rate(side, looks(5), 0.025) for side in (one - two > 0.05, one - two < -0.05)]
    assert 0 < sum(differ) <= 0.05


def test_no_rate_that_solves_the_task_on_half_of_the_seeds_is_said_to_fail():
    """The best of seven rates on each seed, one of which solves it so often."""
    rng = np.random.default_rng(0)
    chances = np.array([0.0, 0.1, 0.2, 0.5, 0.2, 0.1, 0.0])
    solved = rng.random((RUNS, 10, 7)) < chances
    assert rate(~solved.any(axis=2), looks(5), 0.05) <= 0.05
    assert rate(~solved[..., 2], looks(5), 0.05) > 0.3, "of the wrong rate alone it is"


def test_the_look_that_decides_is_the_first():
    right = [True] * 5 + [False] * 5
    assert deciding_look(right, (5, 10), 0.05) == 5
    assert deciding_look(right[::-1], (5, 10), 0.05) is None


def test_boundaries_leave_no_error_unused():
    """One seed fewer at any look would err too often."""
    rng = np.random.default_rng(0)
    right = rng.random((200_000, 10)) < 0.5
    assert rate(right, (5, 10), 0.05) == pytest.approx(37 / 1024, abs=0.003)
    one_fewer = (right[:, :5].sum(axis=1) >= 5) | (right.sum(axis=1) >= 8)
    assert one_fewer.mean() > 0.05


def test_what_is_there_is_found():
    rng = np.random.default_rng(0)
    for share, at_five, at_ten in ((1.0, 1.0, 1.0), (0.9, 0.59, 0.8), (0.75, 0.23, 0.34)):
        right = rng.random((RUNS, 10)) < share
        assert rate(right[:, :5], (5,), 0.05) == pytest.approx(at_five, abs=0.02)
        assert rate(right, (5, 10), 0.05) == pytest.approx(at_ten, abs=0.02)


def test_seeds_that_are_yet_to_come_are_not_counted():
    assert deciding_look([True] * 5, (5, 10), 0.05) == 5
    assert deciding_look([True] * 4, (5, 10), 0.05) is None
    assert deciding_look([True] * 9, (10,), 0.05) is None
    assert deciding_look([True] * 9 + [False], (10,), 0.05) == 10
    assert deciding_look([True] * 5 + [False] * 5, (5, 10), 0.05) == 5, "the first look stands"


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_a_range_over_seeds_holds_the_median_as_often_as_is_printed(seeds):
    """No percentage is printed that its test does not confirm."""
    rng = np.random.default_rng(seeds)
    for draw, is_continuous in (
        (NULLS["normal"], True),
        (NULLS["skewed"], True),
        (NULLS["all or nothing"], False),
    ):
        numbers = draw(rng, (RUNS, seeds))
        holds = (numbers.min(axis=1) <= 0) & (numbers.max(axis=1) >= 0)
        if is_continuous:
            assert holds.mean() == pytest.approx(range_coverage(seeds), abs=0.02)
        else:
            assert holds.mean() >= range_coverage(seeds) - 0.02


@pytest.mark.parametrize(
    ("planned", "level", "message"),
    [((), 0.05, "ascending"), ((5, 5), 0.05, "ascending"), ((5,), 0.0, "between 0 and 1")],
)
def test_wrong_plans_are_refused(planned, level, message):
    with pytest.raises(ValueError, match=message):
        boundaries(planned, level)
