import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recollect.ops.occurrence import (
    occurrence_conv,
    occurrence_conv_definition,
    occurrence_conv_multiply_adds,
    occurrence_conv_step,
    previous_occurrence,
    previous_occurrence_definition,
    previous_occurrence_step,
)

token_lists = st.lists(st.integers(0, 5), min_size=1, max_size=40)
fillers = st.sampled_from([None, 0, 3])


def by_dict(tokens, filler):
    """Where each token was seen last, by a dictionary."""
    seen, previous = {}, []
    for t, token in enumerate(tokens):
        previous.append(seen.get(token, -1))
        if token != filler:
            seen[token] = t
    return previous


@given(token_lists, fillers)
def test_previous_occurrences_are_those_of_a_dictionary(tokens, filler):
    expected = by_dict(tokens, filler)
    for function in (previous_occurrence, previous_occurrence_definition):
        assert function(torch.tensor(tokens), filler).tolist() == expected
    for t, place in enumerate(expected):
        now, earlier = torch.tensor(tokens[t]), torch.tensor(tokens[:t], dtype=torch.int64)
        assert previous_occurrence_step(now, earlier, filler).item() == place


def test_rows_are_searched_on_their_own():
    tokens = torch.randint(4, (3, 2, 17), generator=torch.Generator().manual_seed(0))
    previous = previous_occurrence(tokens, 0)
    for row, found in zip(tokens.flatten(0, 1), previous.flatten(0, 1), strict=True):
        assert found.tolist() == by_dict(row.tolist(), 0)


def conv_arguments(length=15, taps=3, channels=2):
    generator = torch.Generator().manual_seed(taps)
    u = torch.randn(3, length, channels, dtype=torch.float64, generator=generator)
    h = torch.randn(taps, channels, dtype=torch.float64, generator=generator)
    tokens = torch.randint(4, (3, length), generator=generator)
    return u.requires_grad_(), h.requires_grad_(), previous_occurrence(tokens)


@pytest.mark.parametrize("taps", [1, 2, 3, 7])
@pytest.mark.parametrize("length", [1, 2, 15])
def test_the_shifted_convolution_equals_its_definition(length, taps):
    u, h, previous = conv_arguments(length, taps)
    expected, y = occurrence_conv_definition(u, h, previous), occurrence_conv(u, h, previous)
    torch.testing.assert_close(y, expected)
    weights = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(0))
    gradients = [torch.autograd.grad((weights * z).sum(), (u, h)) for z in (y, expected)]
    torch.testing.assert_close(*gradients)
    for t in range(length):
        torch.testing.assert_close(
            occurrence_conv_step(u[:, : t + 1], h, previous[:, t]), expected[:, t]
        )


def test_the_shifted_convolution_by_hand():
    u, h = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]]), torch.tensor([[10.0], [1.0], [0.1]])
    previous = previous_occurrence(torch.tensor([7, 8, 7, 7, 8]))
    assert previous.tolist() == [-1, -1, 0, 2, 1]
    # the last tap would reach beyond the fourth position, which looks back by one
    expected = torch.tensor([[0.0], [0.0], [12.3], [34.0], [23.4]])
    torch.testing.assert_close(occurrence_conv(u, h, previous), expected)


def test_multiply_adds():
    assert occurrence_conv_multiply_adds(length=10, taps=3, channels=8) == 10 * 3 * 8
