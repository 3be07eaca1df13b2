import math

import numpy as np
import pytest
import torch
from forms_agree import DEVICE, a_scan, assert_agree
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch.func import grad, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from recollect.ops import forms
from recollect.ops.convolution import (
    LONGEST_SHIFTED,
    causal_conv,
    causal_conv_definition,
    causal_conv_step,
    fast_fft_length,
)

lengths = st.integers(1, 40)
tap_numbers = st.integers(1, 50)


def arguments(length, taps, leading=(2,), channels=3):
    torch.manual_seed(1000 * length + taps)
    u = torch.randn(*leading, length, channels, dtype=torch.float64, requires_grad=True)
    h = torch.randn(taps, channels, dtype=torch.float64, requires_grad=True)
    return u, h


@given(lengths, tap_numbers)
def test_the_definition_is_the_textbook_s(length, taps):
    u, h = (x.detach() for x in arguments(length, taps, leading=(), channels=1))
    expected = np.convolve(u[:, 0].numpy(), h[:, 0].numpy())[:length]
    np.testing.assert_allclose(causal_conv_definition(u, h)[:, 0].numpy(), expected, atol=1e-12)


@given(lengths, tap_numbers)
def test_outputs_and_gradients_equal_the_definition(length, taps):
    u, h = arguments(length, taps)
    fast, plain = causal_conv(u, h), causal_conv_definition(u, h)
    torch.testing.assert_close(fast, plain, rtol=0, atol=1e-11)
    weight = torch.randn_like(plain)
    for actual, expected in zip(
        torch.autograd.grad((weight * fast).sum(), (u, h)),
        torch.autograd.grad((weight * plain).sum(), (u, h)),
        strict=True,
    ):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-11)


@given(lengths, tap_numbers)
def test_steps_equal_the_definition_and_keep_what_they_need(length, taps):
    u, h = (x.detach() for x in arguments(length, taps))
    past, outputs = u[:, :0], []
    for t in range(length):
        before = past.clone()
        y_t, new = causal_conv_step(u[:, t], h, past)
        assert torch.equal(past, before)
        past = new
        outputs.append(y_t)
        assert torch.equal(past, u[:, max(0, t + 2 - taps) : t + 1])
        assert past.untyped_storage().nbytes() == past.numel() * 8
    expected = causal_conv_definition(u, h)
    torch.testing.assert_close(torch.stack(outputs, 1), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("taps", [3, 20])
def test_leading_dimensions_broadcast(taps):
    u = torch.randn(4, 1, 21, 3, dtype=torch.float64)
    h = torch.randn(5, taps, 3, dtype=torch.float64)
    y = causal_conv(u, h)
    assert y.shape == (4, 5, 21, 3)
    torch.testing.assert_close(y[2, 3], causal_conv_definition(u[2, 0], h[3]))
    torch.testing.assert_close(vmap(causal_conv, in_dims=(None, 0), out_dims=1)(u[:, 0], h), y)


@pytest.mark.parametrize("taps", [1, 3, 20])
def test_gradients_can_be_differentiated_and_mapped(taps):
    u, h = arguments(6, taps, leading=(2, 1))
    wide = torch.randn(3, *h.shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(causal_conv, (u, wide), check_batched_grad=True)
    assert torch.autograd.gradgradcheck(causal_conv, (u, wide))


def test_the_form_of_a_gpu_gives_the_same_and_can_be_mapped(monkeypatch):
    u, h = (x.detach() for x in arguments(21, 20))

    def loss(u, h):
        return causal_conv(u, h).cos().sum()

    filters = torch.stack([h, -h])
    expected = [grad(loss, (0, 1))(u, own) for own in filters]
    monkeypatch.setattr(forms, "form_for", lambda *_: "torch")
    actual = vmap(grad(loss, (0, 1)), (None, -1))(u, filters.movedim(0, -1))
    for a, e in zip(actual, zip(*expected, strict=True), strict=True):
        torch.testing.assert_close(a, torch.stack(e))
    once = torch.autograd.grad(loss(u, h.requires_grad_()), h, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="differentiate twice"):
        once.sum().backward()


@pytest.mark.parametrize("length", [64, 500, 2048])
def test_the_fft_is_accurate_in_single_precision(length):
    u, h = torch.randn(2, length, 4), torch.randn(length, 4)
    exact = causal_conv(u.double(), h.double())
    error = (causal_conv(u, h) - exact).abs().amax(1)
    assert (error <= 1e-5 * exact.abs().amax(1)).all()


@given(st.integers(1, 5000))
def test_fft_lengths_are_the_next_even_products_of_2_3_and_5(at_least):
    def is_fast(n):
        return n % 2 == 0 and 30**13 % n == 0

    n = fast_fft_length(at_least)
    assert n >= at_least
    assert is_fast(n)
    assert not any(is_fast(m) for m in range(at_least, n))


def multiply_adds(length, taps, *, inputs=(), filters=()):
    return causal_conv.multiply_adds(
        torch.empty(*inputs, length, 8), torch.empty(*filters, taps, 8)
    )


def test_multiply_adds():
    assert multiply_adds(100, 3) == 100 * 3 * 8
    long = multiply_adds(1024, 1024)
    assert long == 8 * (3 * 5 * 2048 * math.log2(2048) / 4 + 4 * 1025)
    assert multiply_adds(1024, 4096) == long
    assert multiply_adds(1024, LONGEST_SHIFTED) < long


class CountedTransforms(TorchDispatchMode):
    """Counts the channels that an FFT transforms, either way."""

    transforms = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten._fft_r2c, torch.ops.aten._fft_c2r):
            self.transforms += result[..., 0].numel()
        return result


@pytest.mark.parametrize(
    ("inputs", "filters"), [((), ()), ((5,), ()), ((5, 1), (3,)), ((5, 3), (3,)), ((), (3,))]
)
def test_a_filter_that_rows_share_is_transformed_once(inputs, filters):
    u, h = torch.randn(*inputs, 1024, 8), torch.randn(*filters, 1024, 8)
    with CountedTransforms() as counted:
        outputs = causal_conv(u, h)[..., 0].numel() // 1024
    products = 8 * outputs * 4 * 1025
    transforms = counted.transforms * 5 * 2048 * math.log2(2048) / 4
    assert multiply_adds(1024, 1024, inputs=inputs, filters=filters) == transforms + products
    assert multiply_adds(1024, 3, inputs=inputs, filters=filters) == outputs * 1024 * 3 * 8


def test_shapes_are_checked_in_tests():
    with pytest.raises(TypeCheckError):
        causal_conv(torch.zeros(2, 5, 3), torch.zeros(4, 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("length", "taps", "channels"), [(1, 4, 3), (9, 1, 3), (9, 3, 3), (5, 16, 70)]
)
def test_the_kernel(length, taps, channels, monkeypatch):
    """A program has 64 channels, and computes four positions at a time."""
    monkeypatch.setattr(forms, "form_for", lambda *_: "triton")
    inputs = arguments(length, taps, channels=channels)
    assert_agree("triton", a_scan(causal_conv), a_scan(causal_conv_definition), inputs, 1)


@pytest.mark.slow
def test_filters_of_a_population_in_the_kernel(monkeypatch):
    """The models share the inputs."""
    monkeypatch.setattr(forms, "form_for", lambda *_: "triton")
    u, h = (x.detach().float().to(DEVICE) for x in arguments(5, 3))
    filters = torch.stack([h, -2 * h])

    def loss(u, h):
        return causal_conv(u, h).square().sum()

    together = vmap(grad(loss, (0, 1)), (None, 0))(u, filters)
    alone = [grad(loss, (0, 1))(u, own) for own in filters]
    for actual, expected in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(actual, torch.stack(expected), rtol=1e-5, atol=1e-5)
