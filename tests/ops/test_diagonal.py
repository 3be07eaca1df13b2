import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import grad, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from recollect.ops.diagonal import (
    diagonal_filter,
    diagonal_filter_definition,
    diagonal_filter_multiply_adds,
    diagonal_scan,
    diagonal_scan_definition,
    diagonal_scan_multiply_adds,
    diagonal_scan_step,
)

lengths = st.integers(1, 70)
steepness = st.sampled_from([0.0, 1e-3, 1.0, 100.0])
"""Standard deviation of log decays."""


def arguments(length, *, steep=1.0, leading=(2,), channels=3):
    """Decays, inputs and an initial state."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*leading, *shape, dtype=torch.float64, generator=generator)

    a = (-steep * normal(length, channels).abs()).exp()
    return [x.requires_grad_() for x in (a, normal(length, channels), normal(channels))]


def outcome(scan, inputs):
    """States, and the gradients of a random sum of them."""
    states = scan(*inputs)
    weights = random_weights(states)
    return [states, *torch.autograd.grad((weights * states).sum(), inputs)]


def random_weights(x):
    """The same ones in every precision."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(x.shape, dtype=torch.float64, generator=generator).to(x.dtype)


def assert_close(actual, expected, relative):
    for a, b in zip(actual, expected, strict=True):
        assert a.isfinite().all()
        assert (a - b).norm() <= relative * b.norm() + 1e-30


@given(lengths, steepness)
def test_states_and_gradients_equal_the_definition(length, steep):
    inputs = arguments(length, steep=steep)
    assert_close(outcome(diagonal_scan, inputs), outcome(diagonal_scan_definition, inputs), 1e-12)


def test_the_definition_by_hand():
    a, b = torch.tensor([[0.5], [2.0], [0.0], [-1.0]]), torch.tensor([[4.0], [1.0], [3.0], [5.0]])
    states = torch.tensor([[4.0], [9.0], [3.0], [2.0]])
    assert torch.equal(diagonal_scan_definition(a, b), states)
    assert torch.equal(diagonal_scan(a, b), states)
    carried_on = diagonal_scan(a, b, torch.tensor([10.0]))
    assert torch.equal(carried_on, torch.tensor([[9.0], [19.0], [3.0], [2.0]]))


@pytest.mark.parametrize("steep", [0.0, 1e-4, 1.0, 300.0])
def test_long_sequences_in_single_precision(steep):
    inputs = arguments(4095, steep=steep, leading=())
    single = [x.detach().float().requires_grad_() for x in inputs]
    expected = outcome(diagonal_scan_definition, [x.double() for x in single])
    actual = outcome(diagonal_scan, single)
    assert_close([x.double() for x in actual], expected, 1e-4)


def test_first_and_second_derivatives_are_the_limits_of_differences():
    assert torch.autograd.gradcheck(diagonal_scan, arguments(5))
    assert torch.autograd.gradgradcheck(diagonal_scan, arguments(4, leading=()))


def test_leading_dimensions_broadcast():
    _, b, state = arguments(9, leading=(4, 1))
    a = arguments(9, leading=(5,))[0]
    states = diagonal_scan(a, b, state)
    assert states.shape == (4, 5, 9, 3)
    expected = diagonal_scan_definition(a[3], b[2, 0], state[2, 0])
    assert_close([states[2, 3]], [expected], 1e-12)


def test_mapped_over_some_arguments_and_not_others():
    a, b, _ = (x.detach() for x in arguments(20, leading=(4,)))

    def loss(a, b):
        return diagonal_scan(a, b).square().sum()

    actual = vmap(grad(loss, (0, 1)), (1, None))(a.movedim(0, 1), b[0])
    expected = [grad(loss, (0, 1))(each, b[0]) for each in a]
    assert_close(actual, [torch.stack(x) for x in zip(*expected, strict=True)], 1e-12)


def test_steps_equal_the_sequence():
    a, b, state = (x.detach() for x in arguments(12))
    states = diagonal_scan(a, b, state)
    for t in range(12):
        state = diagonal_scan_step(a[:, t], b[:, t], state)
        torch.testing.assert_close(state, states[:, t])


class CountedProducts(TorchDispatchMode):
    """Counts elementwise products."""

    products = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.mul, torch.ops.aten.addcmul):
            self.products += result.numel()
        return result


def test_multiply_adds():
    inputs = arguments(7, leading=())
    with CountedProducts() as counted:
        diagonal_scan_definition(*inputs)
    assert diagonal_scan_multiply_adds(length=7, channels=3) == counted.products
    a, b, state = inputs
    for shared in ((a, b.repeat(4, 1, 1), state), (a.repeat(4, 1, 1), b, state)):
        assert diagonal_scan.multiply_adds(*shared) == 4 * counted.products
    assert diagonal_scan.multiply_adds(a, b, state.repeat(4, 1)) == 4 * counted.products
    # 3 by 3 lags for 7: 5 states of 2 channels, four products for a complex one
    assert diagonal_filter_multiply_adds(length=7, channels=2, n_states=5) == 4 * 2 * 5 * 9


def modes(channels=3, n_states=4):
    generator = torch.Generator().manual_seed(0)
    shape = (2, channels, n_states)
    parts = [torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(4)]
    log_a = torch.complex(-parts[0].exp() / 10, 3 * parts[1])
    return [x.requires_grad_() for x in (log_a, torch.complex(parts[2], parts[3]))]


@given(lengths)
def test_a_filter_equals_its_definition(length):
    log_a, c = modes()
    outcomes = []
    for function in (diagonal_filter, diagonal_filter_definition):
        taps = function(log_a, c, length)
        loss = (random_weights(taps) * taps).sum()
        outcomes.append([taps, *torch.autograd.grad(loss, (log_a, c))])
    assert_close(*outcomes, 1e-12)


def test_a_filter_is_what_a_real_system_answers_to_an_impulse():
    log_a = complex(math.log(0.9), 0.3)
    taps = diagonal_filter(torch.tensor([[log_a]]), torch.tensor([[2j]]), 30)
    # 2 Re(2i a^s) = -4 (0.9^s) sin(0.3 s): a damped rotation of the plane
    cos, sin = math.cos(0.3), math.sin(0.3)
    rotation, state = 0.9 * torch.tensor([[cos, -sin], [sin, cos]]), torch.tensor([1.0, 0.0])
    for s in range(30):
        torch.testing.assert_close(taps[s, 0], -4 * state[1])
        state = rotation @ state


def test_a_filter_at_long_lags_in_single_precision():
    log_a, c = (x.detach() for x in modes())
    expected = diagonal_filter(log_a, c, 2000)
    single = diagonal_filter(log_a.to(torch.complex64), c.to(torch.complex64), 2000)
    assert_close([single.double()], [expected], 1e-4)
