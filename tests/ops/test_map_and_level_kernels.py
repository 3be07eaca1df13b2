"""Kernels for PaTH and log-linear attention, in Triton's interpreter on the CPU."""

import math

import pytest
import torch
from forms_agree import DEVICE, a_scan, assert_agree
from test_log_linear import arguments as log_linear_arguments
from test_path_attention import arguments as path_arguments
from torch.func import grad, vmap

from recollect.ops import _triton_levels, _triton_mapped_scores, forms, log_linear
from recollect.ops.path_attention import path_attention, path_attention_definition

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _kernels(monkeypatch):
    """Short chunks and small programs, so that a few positions fill several of them."""
    monkeypatch.setattr(forms, "form_for", lambda *_: "triton")
    for module, name, value in (
        (log_linear, "CHUNK", 4),
        (_triton_mapped_scores, "CHUNK", 4),
        (_triton_mapped_scores, "PART", 2),
        (_triton_mapped_scores, "NUMBERS", 16),
        (_triton_mapped_scores, "QUERIES", 4),
        (_triton_levels, "NUMBERS", 16),
    ):
        monkeypatch.setattr(module, name, value)


def with_every_input(function):
    """The first position's decay changes no output, and a short text lacks the last levels."""
    return a_scan(lambda *inputs: function(*inputs) + sum(0 * x.sum() for x in inputs))


@pytest.mark.parametrize("length", [1, 9])
def test_path_attention(length):
    fast, definition = a_scan(path_attention), a_scan(path_attention_definition)
    assert_agree("triton", fast, definition, path_arguments(length), 1)


@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.parametrize(("length", "d_v"), [(1, 3), (13, 20)])
def test_log_linear(length, d_v, delta):
    """13 positions are four chunks; the last is not full, and the second level reads two."""
    fast, definition = log_linear.log_linear, log_linear.log_linear_definition
    q, k, _, *others = log_linear_arguments(length, delta=delta)
    v = torch.randn(2, length, d_v, dtype=torch.float64)
    inputs = (q, k, v, *others)
    assert_agree("triton", with_every_input(fast), with_every_input(definition), inputs, 1)


def test_a_decay_to_zero_forgets_the_past():
    q, k, v, log_decay, scales = (x.detach().float().to(DEVICE) for x in log_linear_arguments(9))
    log_decay[:, 3] = -math.inf
    log_decay.requires_grad_()
    y = log_linear.log_linear(q, k, v, log_decay, scales)
    expected = log_linear.log_linear_definition(q, k, v, log_decay, scales)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(y.sum(), log_decay)
    assert gradient.isfinite().all()


CASES = {
    "path": (path_attention, path_arguments(5)),
    "log-linear": (log_linear.log_linear, log_linear_arguments(5, delta=True)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_population_is_the_models_alone(case):
    """Models share the queries."""
    function, inputs = CASES[case]
    first, *others = (x.detach().float().to(DEVICE) for x in inputs)

    def loss(*arguments):
        return function(*arguments).square().sum()

    which = tuple(range(len(inputs)))
    together = vmap(grad(loss, which), (None, *(0 for _ in others)))(first[0], *others)
    alone = [grad(loss, which)(first[0], *own) for own in zip(*others, strict=True)]
    for a, e in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(a, torch.stack(e), rtol=1e-5, atol=1e-5)
