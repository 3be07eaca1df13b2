"""How sure a share is: Wilson's interval as scipy has it, and how often it holds the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from recollect.analysis.proportion import proportion_interval


def wilson(right, of, confidence=0.95):
    return tuple(binomtest(right, of).proportion_ci(confidence, method="wilson"))


def interval(right, answers, **options):
    return proportion_interval(np.array(right), np.array(answers), **options)


@given(st.lists(st.integers(0, 1), min_size=1, max_size=60), st.sampled_from([0.5, 0.95, 0.99]))
def test_with_one_answer_each_it_is_wilsons(right, confidence):
    found = interval(right, [1] * len(right), confidence=confidence)
    expected = wilson(sum(right), len(right), confidence)
    assert found == pytest.approx(expected, abs=1e-12)


def test_answers_that_go_together_count_once():
    together = interval([8, 0, 8, 0, 0], [8] * 5)
    assert together == pytest.approx(wilson(2, 5))
    apart = interval([4, 3, 5, 2, 2], [8] * 5)
    assert apart == pytest.approx(wilson(16, 40)), "no more than there are"
    between = interval([8, 1, 6, 0, 1], [8] * 5)
    assert together[0] < between[0] < apart[0] < apart[1] < between[1] < together[1]


@pytest.mark.parametrize(("right", "share"), [(8, 1.0), (0, 0.0)])
def test_all_alike_says_no_more_than_the_examples(right, share):
    low, high = interval([right] * 5, [8] * 5)
    assert (low, high) == pytest.approx(wilson(5 * int(share), 5))
    assert share in (low, high)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=20))
def test_it_holds_the_share_and_is_one(pairs):
    right, answers = zip(*((min(r, n), n) for r, n in pairs), strict=True)
    low, high = interval(right, answers)
    assert 0 <= low <= sum(right) / sum(answers) <= high <= 1


@pytest.mark.parametrize(("spread", "n"), [(2, 60), (0.5, 60), (50, 25)])
def test_how_often_it_holds_the_truth(spread, n):
    """Examples of different difficulty, eight answers each; nineteen times of twenty."""
    rng = np.random.default_rng(0)
    true = 0.7
    held = 0
    for _ in range(1000):
        right = rng.binomial(8, rng.beta(true * spread, (1 - true) * spread, n))
        low, high = interval(right, [8] * n)
        held += low <= true <= high
    assert 0.925 <= held / 1000 <= 0.98
