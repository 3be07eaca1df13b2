"""How sure a share is: Wilson's interval as scipy has it, and how often it holds the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from recollect.analysis.proportion import proportion_interval


def wilson(right, of, confidence=0.95):
    return tuple(binomtest(right, of).proportion_ci(confidence, method="wilson"))


def wilson_of(share, count, z=1.959964):
    """The formula, for a count that need not be a whole number of right answers."""
    middle, scale = share + z**2 / (2 * count), 1 + z**2 / count
    reach = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return (middle - reach) / scale, (middle + reach) / scale


def interval(right, answers, **options):
    return proportion_interval(np.array(right), np.array(answers), **options)


@given(st.lists(st.integers(0, 1), min_size=1, max_size=60), st.sampled_from([0.5, 0.95, 0.99]))
def test_with_one_answer_each_it_is_wilsons(right, confidence):
    found = interval(right, [1] * len(right), confidence=confidence)
    expected = wilson(sum(right), len(right), confidence)
    assert found == pytest.approx(expected, abs=1e-12)


def test_answers_that_go_together_count_once():
    together = interval([8] * 10 + [0] * 15, [8] * 25)
    assert together == pytest.approx(wilson(10, 25))
    apart = interval([3, 4, 2, 3, 4] * 5, [8] * 25)
    assert apart == pytest.approx(wilson(80, 200)), "no more than there are"
    between = interval([6, 1, 5, 0, 4] * 5, [8] * 25)
    assert together[0] < between[0] < apart[0] < apart[1] < between[1] < together[1]


def test_few_examples_with_a_right_answer_count_once_at_most():
    few = interval([2] * 9 + [0] * 41, [8] * 50)
    assert few == pytest.approx(wilson_of(18 / 400, 50))
    enough = interval([2] * 10 + [0] * 40, [8] * 50)
    assert enough[1] - enough[0] < few[1] - few[0]
    wrong = interval([6] * 9 + [8] * 41, [8] * 50)
    assert wrong == pytest.approx((1 - few[1], 1 - few[0]))


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


@pytest.mark.parametrize("spread", [0.5, 50])
@pytest.mark.parametrize("true", [0.02, 0.1, 0.5])
@pytest.mark.parametrize(("n", "each"), [(100, 1), (100, 16), (25, 8)])
def test_how_often_it_holds_the_truth(n, each, true, spread):
    """Examples of different difficulty; nineteen times of twenty, oftener where few are right or
    wrong."""
    rng = np.random.default_rng(0)
    difficulty = rng.beta(true * spread, (1 - true) * spread, (2000, n))
    held = 0
    for right in rng.binomial(each, difficulty):
        low, high = interval(right, [each] * n)
        held += low <= true <= high
    chance = 0.01
    assert held / 2000 >= 0.93 - chance
    if n == 100:
        assert held / 2000 <= 0.97 + chance
