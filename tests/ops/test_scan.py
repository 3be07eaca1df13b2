import os
import subprocess
import sys

import jaxtyping
import numpy as np
import pytest
import torch
from torch.func import grad, vmap

from recollect.errors import UserError
from recollect.ops.scan import (
    selective_scan,
    selective_scan_definition,
    selective_scan_multiply_adds,
    selective_scan_step,
)

pytestmark = pytest.mark.slow

SIZES = [(1, 1, 1), (2, 3, 4), (63, 5, 3), (64, 128, 2), (65, 7, 1), (131, 130, 5), (200, 9, 16)]
"""Length, channels, d_state: on both sides of the borders of chunks and blocks of channels."""


def arguments(length, channels, d_state, leading=(2,), dtype=torch.float64, step=1.0):
    """x, delta, A, B, C and the initial state, as random as Mamba's."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*leading, *shape, generator=generator, dtype=torch.float64)

    x, delta = normal(length, channels), step * normal(length, channels).exp()
    A, state = -normal(channels, d_state).exp(), normal(channels, d_state)
    tensors = (x, delta, A, normal(length, d_state), normal(length, d_state), state)
    return [tensor.to(dtype).requires_grad_() for tensor in tensors]


def with_gradients(scan, inputs):
    """Outputs, final state, and the gradients of all inputs."""
    outputs = scan(*inputs)
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(t.shape, generator=generator).to(t) for t in outputs]
    loss = sum((w * t).sum() for w, t in zip(weights, outputs, strict=True))
    return [*outputs, *torch.autograd.grad(loss, inputs)]


def assert_close(actual, expected, relative):
    """Equal up to an error relative to the largest value."""
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape
        assert (a - e).abs().max() <= relative * e.abs().max()


def test_the_definition_is_the_equation():
    x, delta, A, B, C, h = (t.detach()[0].numpy() for t in arguments(6, 3, 2))
    y, last = selective_scan_definition(*map(torch.from_numpy, (x, delta, A, B, C, h.copy())))
    for t in range(6):
        for c in range(3):
            for n in range(2):
                h[c, n] = np.exp(delta[t, c] * A[c, n]) * h[c, n] + delta[t, c] * x[t, c] * B[t, n]
        np.testing.assert_allclose(y[t], [h[c] @ C[t] for c in range(3)], rtol=1e-12)
    np.testing.assert_allclose(last, h, rtol=1e-12)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_outputs_state_and_gradients_equal_the_definition(size, dtype, error):
    inputs = arguments(*size, dtype=dtype)
    expected = with_gradients(selective_scan_definition, [t.double() for t in inputs])
    assert_close(with_gradients(selective_scan, inputs), expected, error)


@pytest.mark.parametrize("step", [1e-4, 1e2])
def test_weak_and_strong_decay_over_a_long_sequence(step):
    inputs = arguments(3000, 3, 2, dtype=torch.float32, step=step)
    expected = with_gradients(selective_scan_definition, [t.double() for t in inputs])
    assert_close(with_gradients(selective_scan, inputs), expected, 1e-4)


def test_gradients_are_the_limits_of_differences():
    assert torch.autograd.gradcheck(selective_scan, arguments(5, 3, 2), fast_mode=False)


def test_there_is_no_second_derivative():
    inputs = arguments(5, 3, 2)
    (dx,) = torch.autograd.grad(selective_scan(*inputs)[0].sum(), inputs[:1], create_graph=True)
    with pytest.raises(NotImplementedError):
        dx.sum().backward()


def test_a_missing_state_is_zero():
    *inputs, state = arguments(7, 3, 2)
    for scan in (selective_scan, selective_scan_definition):
        assert_close(scan(*inputs), scan(*inputs, torch.zeros_like(state)), 0)


def test_a_state_carries_a_sequence_on():
    x, delta, A, B, C, state = arguments(150, 4, 3)
    y, last = selective_scan(x, delta, A, B, C, state)
    parts = []
    for part in (slice(0, 70), slice(70, 71), slice(71, 150)):
        y_part, state = selective_scan(x[:, part], delta[:, part], A, B[:, part], C[:, part], state)
        parts.append(y_part)
    assert_close((torch.cat(parts, 1), state), (y, last), 1e-12)


def test_steps_equal_the_sequence_and_keep_the_given_state():
    x, delta, A, B, C, state = (t.detach() for t in arguments(20, 4, 3))
    y, last = selective_scan(x, delta, A, B, C, state)
    for t in range(20):
        before = state.clone()
        y_t, new = selective_scan_step(x[:, t], delta[:, t], A, B[:, t], C[:, t], state)
        assert torch.equal(state, before)
        assert_close([y_t], [y[:, t]], 1e-12)
        state = new
    assert_close([state], [last], 1e-12)


@pytest.mark.parametrize("scan", [selective_scan, selective_scan_definition])
def test_leading_dimensions_broadcast(scan):
    x, delta, _, B, _, _ = arguments(9, 3, 2, leading=(4, 1))
    A, C = arguments(9, 3, 2, leading=(5,))[2], arguments(9, 3, 2, leading=())[4]
    y, last = scan(x, delta, A, B, C)
    assert (y.shape, last.shape) == ((4, 5, 9, 3), (4, 5, 3, 2))
    assert_close([y[2, 3], last[2, 3]], scan(x[2, 0], delta[2, 0], A[3], B[2, 0], C), 1e-12)
    (dA,) = torch.autograd.grad(y.sum(), A)
    each = [torch.autograd.grad(scan(x[:, 0], delta[:, 0], a, B[:, 0], C)[0].sum(), A) for a in A]
    assert_close([dA], [sum(d for (d,) in each)], 1e-12)


def test_mapped_over_some_arguments_and_not_others():
    x, delta, A, B, C, state = (t.detach() for t in arguments(70, 3, 2, leading=(4, 2)))
    inputs = (x, delta[0], A.movedim(0, 1), B, C[:, 0], state)
    in_dims = (0, None, 1, 0, 0, 0)
    rows = [(x[i], delta[0], A[i], B[i], C[i, 0], state[i]) for i in range(4)]

    def loss(*args):
        y, last = selective_scan(*args)
        return y.square().sum() + last.square().sum()

    y, last = vmap(selective_scan, in_dims)(*inputs)
    expected = [selective_scan_definition(*row) for row in rows]
    assert_close([y, last], [torch.stack(t) for t in zip(*expected, strict=True)], 1e-12)
    which = tuple(range(6))
    gradients = vmap(grad(loss, which), in_dims)(*inputs)
    expected = [grad(loss, which)(*row) for row in rows]
    assert_close(gradients, [torch.stack(t) for t in zip(*expected, strict=True)], 1e-12)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(threads):
    inputs = arguments(70, 3, 2, leading=(5,), dtype=torch.float32)
    alone = with_gradients(selective_scan, inputs)
    torch.set_num_threads(threads)
    try:
        assert all(map(torch.equal, with_gradients(selective_scan, inputs), alone))
    finally:
        torch.set_num_threads(1)


def decays(exponent):
    """exp(exponent) as the scan computes it: the state after one step from 1."""
    one, zero = torch.ones(1, 1), torch.zeros(1, len(exponent))
    y, _ = selective_scan(zero, zero + 1, exponent[:, None], one, one, torch.ones(len(exponent), 1))
    return y[0]


def test_decays_are_accurate_in_single_precision():
    exponent = torch.cat([torch.linspace(-87, 88, 200_001), -torch.logspace(-30, 0, 1000)])
    exact = exponent.double().exp()
    error = (decays(exponent) - exact).abs() / exact
    # the exponent's own rounding is what grows with it
    assert (error <= 2e-7 + 1.2e-7 * exponent.abs()).all()


def test_decays_end_at_zero_and_show_what_is_no_number():
    assert decays(torch.tensor([0.0])).item() == 1
    assert (decays(torch.tensor([-88.0, -1e4, -torch.inf])) < 2e-38).all()
    assert decays(torch.tensor([torch.nan])).isnan().all()


def test_other_types_take_the_definition():
    inputs = arguments(5, 3, 2, dtype=torch.bfloat16)
    for actual, expected in zip(
        selective_scan(*inputs), selective_scan_definition(*inputs), strict=True
    ):
        assert actual.dtype == torch.bfloat16
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("scan", [selective_scan, selective_scan_definition])
def test_shapes_that_do_not_fit_are_an_error(scan, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is outside the tests
    x, delta, A, B, C, state = arguments(5, 3, 2)
    with pytest.raises(UserError, match=r"delta of shape \(2, 5, 1\): expected \(..., 5, 3\)"):
        scan(x, delta[..., :1], A, B, C, state)
    with pytest.raises(UserError, match=r"C of shape \(2, 4, 2\): expected \(..., 5, 2\)"):
        scan(x, delta, A, B, C[:, 1:], state)


def test_the_cost_is_that_of_the_terms():
    # a position and channel: delta x; a state of it: delta A, decay h, (delta x) B, C h
    terms = 10 * 3 * (1 + 4 * 4)
    assert selective_scan_multiply_adds(length=10, channels=3, d_state=4) == terms
    *inputs, state = arguments(10, 3, 4, leading=())
    assert selective_scan.multiply_adds(*inputs, state.repeat(5, 1, 1)) == 5 * terms
    inputs[2] = inputs[2].repeat(5, 1, 1)
    assert selective_scan.multiply_adds(*inputs) == 5 * terms


def test_the_compiler_is_loaded_at_first_use():
    code = "import sys, recollect.mixers.mamba; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_a_compiler_it_is_the_definition(tmp_path):
    """Slow, and the same up to rounding; gradients too."""
    script = """
import torch
from recollect.ops.scan import selective_scan, selective_scan_definition
x, B = torch.randn(5, 3, requires_grad=True), torch.randn(5, 2)
inputs = (x, torch.ones(5, 3), -torch.ones(3, 2), B, B)
for scan in (selective_scan, selective_scan_definition):
    y, _ = scan(*inputs)
    print(y.sum().item(), torch.autograd.grad(y.sum(), x)[0].sum().item())
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    one, other = ran.stdout.splitlines()
    assert one == other
