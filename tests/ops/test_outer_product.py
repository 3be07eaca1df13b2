import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import vmap
from torch.utils.flop_counter import FlopCounterMode

from recollect.ops.outer_product import (
    LARGEST_CHUNK,
    SMALLEST_CHUNK,
    append_ones,
    chunk_length,
    divide_by_ones,
    outer_product_memory,
    outer_product_memory_definition,
    outer_product_memory_step,
    outer_product_weights,
)

pytestmark = pytest.mark.slow

D_K, D_V = 6, 5
EDGES = (15, 16, 17, 32, 33, 48, 64, 65)  # chunks are of 16 at these widths
lengths = st.integers(1, 70) | st.sampled_from(EDGES)
rates = st.sampled_from([None, 1, D_K])
strengths = st.sampled_from([0.01, 1.0, 50.0])


def arguments(length, rate, *, strength=1.0, dtype=torch.float64, leading=(2,)):
    """q, k, v and log_decay, whose values reach from -strength to near 0."""
    torch.manual_seed(length)
    q, k, v = (torch.randn(*leading, length, d, dtype=dtype) for d in (D_K, D_K, D_V))
    decay = None if rate is None else -strength * torch.rand(*leading, length, rate, dtype=dtype)
    return q, k, v, decay


def initial_state(dtype=torch.float64, leading=(2,)):
    return torch.randn(*leading, D_K, D_V, dtype=dtype)


def assert_close(actual, expected, relative):
    """Equal up to an error relative to the largest value."""
    assert actual.shape == expected.shape
    scale = expected.abs().max().item()
    assert (actual.double() - expected).abs().max().item() <= relative * scale


def assert_equal_with_gradients(inputs, relative):
    """The fast form, in the precision of the inputs, against the definition in double precision."""
    inputs = [None if x is None else x.requires_grad_() for x in inputs]
    exact = [None if x is None else x.detach().double().requires_grad_() for x in inputs]
    actual, (expected, _) = outer_product_memory(*inputs), outer_product_memory_definition(*exact)
    assert_close(actual, expected, relative)
    weight = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad(actual, [x for x in inputs if x is not None], weight.to(actual.dtype)),
        torch.autograd.grad(expected, [x for x in exact if x is not None], weight),
        strict=True,
    ):
        assert one.isfinite().all()
        assert_close(one, other, relative)


def test_the_definition_by_hand():
    q = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    k = torch.tensor([[2.0, 3.0], [0.0, 1.0]])
    v = torch.tensor([[5.0], [7.0]])
    log_decay = torch.tensor([[0.5, 0.1], [0.5, 0.1]]).log()
    y, state = outer_product_memory_definition(q, k, v, log_decay)
    torch.testing.assert_close(state, torch.tensor([[0.5 * 2 * 5], [0.1 * 3 * 5 + 7]]))
    torch.testing.assert_close(y, torch.tensor([[10.0], [5 + 8.5]]))
    y, _ = outer_product_memory_definition(q, k, v, None, torch.tensor([[100.0], [0.0]]))
    torch.testing.assert_close(y, torch.tensor([[110.0], [100 + 10 + 15 + 7]]))


@given(lengths, rates, strengths, st.booleans())
def test_outputs_and_gradients_equal_the_definition(length, rate, strength, begun):
    state = initial_state() if begun else None
    inputs = (*arguments(length, rate, strength=strength), state)
    assert_equal_with_gradients(inputs, relative=1e-9)


@given(lengths, rates, strengths)
def test_so_they_do_in_single_precision(length, rate, strength):
    inputs = arguments(length, rate, strength=strength, dtype=torch.float32)
    assert_equal_with_gradients((*inputs, initial_state(torch.float32)), relative=1e-4)


@pytest.mark.parametrize(
    ("rate", "strength"), [(None, 0), (1, 1e-3), (1, 50), (D_K, 1e-3), (D_K, 50)]
)
def test_so_they_do_over_long_sequences(rate, strength):
    inputs = arguments(4096, rate, strength=strength, dtype=torch.float32, leading=())
    assert_equal_with_gradients((*inputs, None), relative=1e-4)


@pytest.mark.parametrize("rate", [1, D_K])
def test_a_weak_decay_after_strong_ones_keeps_its_digits(rate):
    q, k, v, log_decay = arguments(100, rate, dtype=torch.float32)
    log_decay[:] = -0.01
    log_decay[:, ::16] = -5000.0  # sums from the start are known to 1e-2 only
    assert_equal_with_gradients((q, k, v, log_decay, None), relative=1e-5)


@pytest.mark.parametrize("rate", [1, D_K])
@pytest.mark.parametrize("log_decay", [-1e30, -math.inf])
def test_what_decays_at_once_leaves_the_position_itself(rate, log_decay):
    q, k, v, decay = arguments(40, rate)
    decay = torch.full_like(decay, log_decay).requires_grad_()
    y = outer_product_memory(q, k, v, decay, initial_state())
    torch.testing.assert_close(y, (q * k).sum(-1, keepdim=True) * v)
    (gradient,) = torch.autograd.grad(y.sum(), decay)
    assert gradient.abs().max() == 0


@given(lengths, rates)
def test_the_quadratic_form_equals_the_definition(length, rate):
    q, k, v, log_decay = arguments(length, rate)
    weights = outer_product_weights(q, k, log_decay)
    assert weights.shape == (2, length, length)
    assert torch.equal(weights, weights.tril())
    expected, _ = outer_product_memory_definition(q, k, v, log_decay)
    assert_close(weights @ v, expected, 1e-9)


@given(lengths, rates)
def test_a_sequence_may_be_cut_anywhere(length, rate):
    inputs = arguments(2 * length + 3, rate)
    first, second = zip(
        *((None, None) if x is None else x.split([length, length + 3], dim=1) for x in inputs),
        strict=True,
    )
    _, state_between = outer_product_memory_definition(*first)
    parts = outer_product_memory(*first), outer_product_memory(*second, state_between)
    assert_close(torch.cat(parts, dim=1), outer_product_memory(*inputs), 1e-9)


@pytest.mark.parametrize("rate", [None, 1, D_K])
def test_a_step_leaves_its_state_as_it_was(rate):
    q, k, v, log_decay = (None if x is None else x[:, 0] for x in arguments(1, rate))
    state = initial_state()
    before = state.clone()
    y, after = outer_product_memory_step(q, k, v, state, log_decay)
    assert torch.equal(state, before)
    torch.testing.assert_close(y, (q[:, None] @ after)[:, 0])


@pytest.mark.parametrize("length", [7, 50])
@pytest.mark.parametrize("shape", [(1, 1), (1, D_K), (None, 1), (3, 1, 1, None, D_K)])
def test_leading_dimensions_and_constant_decays_broadcast(length, shape):
    q, k, v, _ = arguments(length, None, leading=())
    q, v = torch.stack([q, -q])[:, None], torch.stack([v, v + 1, v - 1])[:, None, None]
    log_decay = -torch.rand(*(length if n is None else n for n in shape), dtype=torch.float64)
    state = initial_state(leading=(2, 4))
    y = outer_product_memory(q, k, v, log_decay, state)
    expected, _ = outer_product_memory_definition(q, k, v, log_decay, state)
    assert_close(y, expected, 1e-9)
    assert y.shape == (3, 2, 4, length, D_V)


@pytest.mark.parametrize("rate", [1, D_K])
def test_a_population_runs_as_one(rate):
    q, k, v, log_decay = arguments(50, rate, leading=(3, 2))
    together = vmap(outer_product_memory, in_dims=(0, None, 0, 0))(q, k[0], v, log_decay)
    for i in range(3):
        assert_close(together[i], outer_product_memory(q[i], k[0], v[i], log_decay[i]), 1e-12)


def test_a_column_of_ones_makes_weights_that_sum_to_one():
    q, k, v, _ = arguments(40, None)
    q, k = q.exp(), k.exp()
    weights = outer_product_weights(q, k)
    expected = weights / (weights.sum(-1, keepdim=True) + 0.25) @ v
    y = divide_by_ones(outer_product_memory(q, k, append_ones(v)), eps=0.25)
    torch.testing.assert_close(y, expected)


@given(st.integers(1, 5000), st.integers(1, 300), st.integers(1, 300))
def test_a_chunk_is_a_power_of_two_or_the_whole(length, d_k, d_v):
    chunk = chunk_length(length, d_k, d_v)
    assert chunk == length or (
        SMALLEST_CHUNK <= chunk <= LARGEST_CHUNK and chunk & (chunk - 1) == 0
    )
    assert chunk <= length


@pytest.mark.parametrize("length", [1, 9, 16, 64, 100])
@pytest.mark.parametrize("rate", [None, 1, D_K])
@pytest.mark.parametrize(
    "leading",
    [
        [(3,), (3,), (3,), (3,)],
        [(2, 1), (2, 1), (2, 3), (2, 3)],  # Mamba-2's heads share queries and keys
        [(2, 3), (3,), (2, 1), (3,)],
        [(), (), (3,), ()],
        [(), (), (), (3,)],
    ],
    ids=str,
)
def test_multiply_adds_are_those_of_the_matrix_products(length, rate, leading):
    inputs = [
        None if x is None else x.repeat(*dims, 1, 1)
        for x, dims in zip(arguments(length, rate, leading=()), leading, strict=True)
    ]
    for state in (None, initial_state(leading=leading[2])):
        with FlopCounterMode(display=False) as counter:
            outer_product_memory(*inputs, initial_state=state)
        declared = outer_product_memory.multiply_adds(*inputs, initial_state=state)
        assert declared == counter.get_total_flops() // 2
