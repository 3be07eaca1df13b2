import torch
from hypothesis import given
from hypothesis import strategies as st

from recollect.ops.selection import (
    among_best,
    among_best_definition,
    among_best_step,
    number_of_best,
)

shares = st.sampled_from([None, 0.1, 0.5, 1.0])
score_lists = st.lists(st.integers(-3, 3), min_size=1, max_size=40)
"""Few values, so that there are ties."""


@given(score_lists, shares)
def test_the_best_so_far_are_those_of_a_sorted_list(scores, share):
    expected = []
    for t in range(1, len(scores) + 1):
        best = sorted(range(t), key=lambda s: (-scores[s], s))[: number_of_best(t, share)]
        expected.append(t - 1 in best)
    given_scores = torch.tensor(scores, dtype=torch.float64)
    for function in (among_best, among_best_definition):
        assert function(given_scores, share).tolist() == expected
    for t, chosen in enumerate(expected):
        assert among_best_step(given_scores[t], given_scores[:t], share).item() is chosen


def test_the_number_of_the_best_is_the_root_or_share_rounded_up():
    assert [number_of_best(t) for t in (1, 2, 4, 5, 9, 10, 256, 257)] == [1, 2, 2, 3, 3, 4, 16, 17]
    assert [number_of_best(t, 0.1) for t in (1, 10, 11, 30)] == [1, 1, 2, 3]


def test_every_row_has_its_own_best():
    scores = torch.randn(2, 3, 20, generator=torch.Generator().manual_seed(0))
    chosen = among_best(scores)
    for row, found in zip(scores.flatten(0, 1), chosen.flatten(0, 1), strict=True):
        assert torch.equal(found, among_best_definition(row))
