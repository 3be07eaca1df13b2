import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import recollect.ops.attention as attention_module
from recollect.ops.attention import (
    attention,
    attention_at,
    attention_definition,
    attention_step,
)

lengths = st.integers(1, 70)
windows = st.none() | st.integers(1, 12)


def arguments(length, leading=(2, 2)):
    torch.manual_seed(length)
    shapes = ((length, 4), (length, 4), (length, 6))
    return [torch.randn(*leading, *s, dtype=torch.float64, requires_grad=True) for s in shapes]


def test_the_definition_by_hand():
    q = torch.tensor([[5.0, 7.0], [2.0, 0.0]])
    k = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    v = torch.tensor([[1.0], [3.0]])
    share = torch.tensor(2 / 2**0.5).sigmoid()  # of the second key, for the second query
    expected = torch.stack([torch.tensor([1.0]), (1 - share) * v[0] + share * v[1]])
    torch.testing.assert_close(attention_definition(q, k, v), expected)
    torch.testing.assert_close(attention_definition(q, k, v, window=1), v)


@given(lengths, windows)
def test_outputs_and_gradients_equal_the_definition(length, window):
    inputs = arguments(length)
    fast = attention(*inputs, window=window)
    plain = attention_definition(*inputs, window=window)
    torch.testing.assert_close(fast, plain, rtol=0, atol=1e-12)
    weight = torch.randn_like(plain)
    for actual, expected in zip(
        torch.autograd.grad((weight * fast).sum(), inputs),
        torch.autograd.grad((weight * plain).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


@given(lengths, windows, st.integers(1, 5), st.sampled_from([(2,), (2, 2), (2, 1, 3)]))
def test_at_some_positions_it_is_the_same(length, window, count, leading):
    inputs = arguments(length, leading)
    q, k, v = inputs
    positions = torch.randint(length, (*leading, count))
    fast = attention_at(q.take_along_dim(positions[..., None], -2), k, v, positions, window=window)
    plain = attention_definition(q, k, v, window=window).take_along_dim(positions[..., None], -2)
    torch.testing.assert_close(fast, plain, rtol=0, atol=1e-12)
    weight = torch.randn_like(plain)
    for actual, expected in zip(
        torch.autograd.grad((weight * fast).sum(), inputs),
        torch.autograd.grad((weight * plain).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


@given(lengths, windows)
def test_steps_equal_the_definition_and_keep_what_they_need(length, window):
    q, k, v = (x.detach() for x in arguments(length))
    keys, values, outputs = k[..., :0, :], v[..., :0, :], []
    for t in range(length):
        now = (x[..., t, :] for x in (q, k, v))
        y_t, keys, values = attention_step(*now, keys, values, window=window)
        outputs.append(y_t)
        first = 0 if window is None else max(0, t + 2 - window)
        assert torch.equal(keys, k[..., first : t + 1, :])
        assert torch.equal(values, v[..., first : t + 1, :])
        assert values.untyped_storage().nbytes() == values.numel() * 8
    expected = attention_definition(q, k, v, window=window)
    torch.testing.assert_close(torch.stack(outputs, -2), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("window", [None, 2, 9])
def test_leading_dimensions_broadcast(window):
    q = torch.randn(3, 1, 2, 20, 4, dtype=torch.float64)
    k, v = torch.randn(2, 5, 1, 20, 4, dtype=torch.float64)
    y = attention(q, k, v, window=window)
    assert y.shape == (3, 5, 2, 20, 4)
    expected = attention_definition(q[2, 0, 1], k[4, 0], v[4, 0], window=window)
    torch.testing.assert_close(y[2, 4, 1], expected)
    torch.testing.assert_close(attention(q[2, 0, 1], k[4, 0], v[4, 0], window=window), expected)


@pytest.mark.parametrize(("length", "window"), [(20, 6), (33, 4)])
def test_the_form_for_a_gpu_equals_the_definition(length, window, monkeypatch):
    """With one mask for many sequences, for any number of models."""
    forms = []

    def on_gpu(q, k, v, mask, p):
        forms.append(mask.ndim)
        return attention_module._with_shared_masks(q, k, v, mask)

    monkeypatch.setattr(attention_module, "_fused", on_gpu)
    monkeypatch.setattr(attention_module, "HEADS_AT_ONCE", 4)
    q, k, v = arguments(length, (3, 2))
    expected = attention_definition(q, k, v, window=window)
    for y in (
        attention(q, k, v, window=window),
        torch.vmap(lambda *x: attention(*x, window=window))(q, k, v),
    ):
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    assert len(forms) == 2


@pytest.mark.parametrize("window", [None, 2])
def test_dropout_drops_weights_and_scales_the_rest(window):
    q, k, v = torch.zeros(3, 500, 32, 4)
    y = attention(q, k, torch.ones_like(v), window=window, dropout=0.5)
    first = y[:, 0]  # one weight of 1
    assert set(first.unique().tolist()) == {0.0, 2.0}
    assert y.mean().item() == pytest.approx(1, abs=0.05)


def visible_pairs(positions, window):
    return sum(1 for t in positions for s in range(t + 1) if window is None or s > t - window)


@pytest.mark.parametrize(("length", "window"), [(1, None), (9, None), (9, 3), (9, 20)])
def test_multiply_adds_are_one_a_visible_pair_and_channel_of_key_and_value(length, window):
    q, k, v = arguments(length)  # keys of width 4, values of width 6, in 4 rows
    expected = 4 * visible_pairs(range(length), window) * (4 + 6)
    assert attention.multiply_adds(q, k, v, window=window) == expected
    assert attention.multiply_adds(q=q[:1, :1], k=k, v=v[0], window=window) == expected
    everywhere = torch.arange(length)
    assert attention_at.multiply_adds(q, k, v, everywhere, window=window) == expected


@pytest.mark.parametrize("window", [None, 3])
def test_multiply_adds_at_some_positions_are_those_of_what_they_see(window):
    q, k, v = arguments(9)
    places = [[0, 8, 4], [2, 2, 7]]
    expected = 2 * sum(visible_pairs(row, window) for row in places) * (4 + 6)
    positions = torch.tensor(places)[:, None]  # alike for both heads
    queries = q.take_along_dim(positions[..., None], -2)
    assert attention_at.multiply_adds(queries, k, v, positions, window=window) == expected
