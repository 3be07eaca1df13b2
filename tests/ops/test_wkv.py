import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import grad, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from recollect.ops.wkv import wkv, wkv_definition, wkv_initial_state, wkv_multiply_adds, wkv_step

pytestmark = pytest.mark.slow

lengths = st.integers(1, 60)
rates = st.sampled_from([1e-6, 0.1, 1.0, 20.0])
"""Of decay: RWKV-4 starts them from 0.007 to 20."""
sizes = st.sampled_from([0.0, 1.0, 30.0])
"""Standard deviation of the keys, which are exponents."""


def arguments(length, *, rate=0.5, size=1.0, leading=(2,), channels=3):
    """Keys, values, rates and bonuses."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    k, v = size * normal(*leading, length, channels), normal(*leading, length, channels)
    w = rate * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)[:channels]
    return [x.requires_grad_() for x in (k, v, w, normal(channels))]


def readable(state):
    """The average in a state and the logarithm of its weight, independent of the state's scale."""
    numerator, denominator, exponent = state.unbind(-2)
    return numerator / denominator, denominator.log() + exponent


def outcome(function, inputs):
    """Averages, the content of the final state, and the gradients of a random sum of them."""
    y, state = function(*inputs)
    results = [y, *readable(state)]
    generator = torch.Generator().manual_seed(0)
    loss = sum(
        (x * torch.randn(x.shape, dtype=torch.float64, generator=generator)).sum() for x in results
    )
    return [*results, *torch.autograd.grad(loss, inputs)]


def assert_close(actual, expected, relative):
    for a, b in zip(actual, expected, strict=True):
        assert a.isfinite().all()
        assert (a - b).norm() <= relative * b.norm() + 1e-30


def by_hand(k, v, w, u):
    """The averages of one sequence as the paper writes them, with sums over the whole past."""
    averages = np.zeros_like(v)
    for t in range(len(k)):
        for c in range(k.shape[1]):
            exponents = [k[s, c] - (t - 1 - s) * w[c] for s in range(t)] + [u[c] + k[t, c]]
            weights = np.exp(np.array(exponents) - max(exponents))
            averages[t, c] = weights @ v[: t + 1, c] / weights.sum()
    return averages


@pytest.mark.parametrize("size", [1.0, 100.0])
def test_both_forms_average_as_the_paper_does(size):
    inputs = [x.detach() for x in arguments(13, size=size, leading=())]
    expected = by_hand(*(x.numpy() for x in inputs))
    for function in (wkv, wkv_definition):
        np.testing.assert_allclose(function(*inputs)[0], expected, rtol=1e-10)


@given(lengths, rates, sizes)
def test_averages_state_and_gradients_equal_the_definition(length, rate, size):
    inputs = arguments(length, rate=rate, size=size)
    assert_close(outcome(wkv, inputs), outcome(wkv_definition, inputs), 1e-9)


@pytest.mark.parametrize("rate", [1e-5, 0.1, 20.0])
def test_long_sequences_in_single_precision(rate):
    inputs = arguments(1023, rate=rate, leading=())
    expected = outcome(wkv_definition, inputs)
    single = outcome(wkv, [x.detach().float().requires_grad_() for x in inputs])
    assert_close([x.double() for x in single], expected, 1e-4)


def test_keys_far_beyond_the_range_of_the_exponential():
    k, v, w, u = arguments(40, leading=())
    y, state = wkv(k + 1e4, v, w, u)
    expected, _ = wkv(k, v, w, u)
    assert_close([y], [expected], 1e-9)
    assert state[:2].abs().max() < 1e3
    (dk,) = torch.autograd.grad(y.square().sum(), k)
    assert dk.isfinite().all()


def test_a_state_carries_a_sequence_on():
    k, v, w, u = arguments(30)
    expected = wkv(k, v, w, u)
    for function in (wkv, wkv_definition):
        first, state = function(k[:, :11], v[:, :11], w, u)
        second, state = function(k[:, 11:], v[:, 11:], w, u, state)
        assert_close([torch.cat([first, second], 1), state], expected, 1e-12)


def test_gradients_by_the_initial_state():
    k, v, w, u = (x.detach() for x in arguments(6))
    state = wkv(k, v, w, u)[1].requires_grad_()
    gradients = [
        torch.autograd.grad(function(k, v, w, u, state)[0].square().sum(), state)
        for function in (wkv, wkv_definition)
    ]
    assert_close(*gradients, 1e-9)


def test_steps_equal_the_sequence_and_keep_the_given_state():
    k, v, w, u = (x.detach() for x in arguments(12))
    averages, last = wkv(k, v, w, u)
    state = wkv_initial_state(k[:, 0])
    for t in range(12):
        before = state.clone()
        y_t, new = wkv_step(k[:, t], v[:, t], w, u, state)
        assert torch.equal(state, before)
        torch.testing.assert_close(y_t, averages[:, t])
        state = new
    torch.testing.assert_close(state, last)


def test_leading_dimensions_broadcast():
    k, v, _, _ = arguments(9, leading=(4, 1))
    w, u = torch.rand(2, 5, 3, dtype=torch.float64)
    y, state = wkv(k, v, w, u)
    assert (y.shape, state.shape) == ((4, 5, 9, 3), (4, 5, 3, 3))
    expected = wkv_definition(k[2, 0], v[2, 0], w[3], u[3])
    assert_close([y[2, 3], state[2, 3]], expected, 1e-12)


def test_a_population_runs_as_one():
    k, v, _, _ = (x.detach() for x in arguments(9))
    w, u = torch.rand(2, 4, 3, dtype=torch.float64)

    def loss(w, u):
        return wkv(k, v, w, u)[0].square().sum()

    actual = vmap(grad(loss, (0, 1)))(w, u)
    expected = [grad(loss, (0, 1))(*pair) for pair in zip(w, u, strict=True)]
    assert_close(actual, [torch.stack(x) for x in zip(*expected, strict=True)], 1e-10)


class CountedProducts(TorchDispatchMode):
    """Counts elementwise products."""

    products = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten.mul:
            self.products += result.numel()
        return result


def test_multiply_adds():
    k, v, w, u = arguments(7, leading=())
    with CountedProducts() as counted:
        wkv_definition(k, v, w, u)
    assert wkv_multiply_adds(length=7, channels=3) == counted.products
    assert wkv.multiply_adds(k, v, w.repeat(4, 1), u) == 4 * counted.products
    assert wkv.multiply_adds(k, v.repeat(4, 1, 1), w, u) == 4 * counted.products
