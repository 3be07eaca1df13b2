"""Ranges of learning rates of any width: a bounded number of trials, and no rate twice."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import SEEDS, Landscape, Run, landscapes, nears

from recollect.errors import UserError
from recollect.studies.search import BestRateSearch, FixedGrid, LearningRateSearch

RATIOS = [1.01, 1.03, 1.1, 1.5, 3.0, 10.0, 1e3, 1e10]


@settings(max_examples=20)
@given(
    st.sampled_from([1e-8, 1e-3, 3.7e-3]),
    st.sampled_from(RATIOS),
    st.integers(1, 10),
    st.integers(0, 3),
    st.sampled_from([BestRateSearch, LearningRateSearch]),
    landscapes,
    nears,
)
def test_the_number_of_rates_is_bounded(low, ratio, per_decade, refine, kind, landscape, near):
    search = kind(low=low, high=low * ratio, per_decade=per_decade, refine=refine)
    run = Run(search, landscape, near)
    run.finish()
    rates = sorted({rate for rate, _ in run.trials})
    assert len(rates) <= search.most_rates
    assert all(high / low > 1.0009 for low, high in pairwise(rates))


@pytest.mark.parametrize("ratio", RATIOS[:4])
def test_a_narrow_range_costs_no_more_than_a_wide_one(ratio):
    """On one plateau, where every rate solves the task."""
    plateau = Landscape(width=20.0)
    narrow = Run(LearningRateSearch(low=1e-3, high=1e-3 * ratio), plateau)
    narrow.finish()
    wide = Run(LearningRateSearch(low=1e-3, high=1e-2), plateau)
    wide.finish()
    assert {1e-3, float(f"{1e-3 * ratio:.3g}")} <= {rate for rate, _ in narrow.trials}
    assert len(narrow.trials) <= len(wide.trials) + len(SEEDS), "one rate more at most"


def test_a_narrow_range_reaches_a_decade_beyond_the_full_range():
    run = Run(LearningRateSearch(low=1e-3, high=1.1e-3), Landscape(width=20.0))
    assert run.finish().rates == (1e-5, 0.348)


@pytest.mark.parametrize(
    ("low", "high", "per_decade", "limits", "full"),
    [
        (1e-4, 1e-1, 2, (1e-5, 1.0), (1e-4, 1e-1)),
        (3e-3, 3e-2, 2, (3e-5, 0.949), (9.49e-5, 0.3)),
        (10**-2.5, 1e-2, 2, (1e-5, 1.0), (1e-4, 1e-1)),
        (1e-6, 1e-5, 1, (1e-7, 1.0), (1e-6, 1e-1)),
        (1.0, 10.0, 1, (1e-5, 100.0), (1e-4, 10.0)),
    ],
)
def test_how_far_a_search_may_look(low, high, per_decade, limits, full):
    """A decade beyond the grid and beyond the full range, in coarse steps."""
    search = BestRateSearch(low=low, high=high, per_decade=per_decade)
    assert tuple(map(search.rate, search.limits)) == limits
    assert tuple(map(search.rate, search.full)) == full


@pytest.mark.parametrize(
    "rates",
    [
        [1e-3, 1e-3],
        [1e-3, 1.0000001e-3],
        [0.3, 0.1 + 0.2],
        [1e-2, 1e-3, 1.009e-3],
        [1e-320, 1e-320],
    ],
)
def test_rates_that_a_table_cannot_tell_apart_are_refused(rates):
    with pytest.raises(UserError, match="differ by at least 1 %"):
        FixedGrid(rates=rates)


@pytest.mark.parametrize("rates", [[1e-3, 1.01e-3], [9.9e-3, 1e-2], [1e-45, 1e-320], [1e30]])
def test_other_rates_are_as_they_are_given(rates):
    assert FixedGrid(rates=rates).rates == tuple(sorted(rates))


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (1e-3, 1e-3, r"FixedGrid\(rates=\[0.001\]\)"),
        (1e-2, 1e-3, "must lie below"),
        (1e-3, 1.0001e-3, "at least 1 %"),
        (9.95e-3, 1e-2, "at least 1 %"),
        (0, 1e-2, r"LearningRateSearch: low=0: expected a positive learning rate up to 1e\+30"),
        (-1e-3, 1e-2, "low=-0.001: expected a positive"),
        (1e-320, 1e-2, "low=9.99989e-321: .* not below 1e-30"),
        (1e-2, 1e300, r"high=1e\+300: expected a positive"),
    ],
)
def test_ranges_that_are_none(low, high, message):
    with pytest.raises(UserError, match=message):
        LearningRateSearch(low=low, high=high)
