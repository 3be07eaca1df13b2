"""Recurrent networks, and learners, as Triton kernels, by Triton's interpreter on the CPU."""

import pytest
import torch
from forms_agree import DEVICE, a_scan, assert_agree
from torch.func import grad, vmap

from recollect.ops import forms
from recollect.ops.recurrent import gru, gru_step, lstm, lstm_step
from recollect.ops.ttt import ttt_linear, ttt_linear_definition
from recollect.ops.xlstm import mlstm, mlstm_definition, slstm, slstm_start, slstm_step

GATES = {gru: 3, lstm: 4}


@pytest.fixture(autouse=True)
def _kernels(monkeypatch):
    monkeypatch.setattr(forms, "form_for", lambda *_: "triton")


def a_network(a, weight, bias):
    """One position after the other: three gates are those of a GRU."""
    state = cell = a.new_zeros(weight.shape[-1])
    states = []
    for a_t in a.unbind(-2):
        if len(weight) == 3 * weight.shape[-1]:
            state = gru_step(a_t, weight, bias, state)
        else:
            state, cell = lstm_step(a_t, weight, bias, state, cell)
        states.append(state)
    return torch.stack(states, -2)


def an_slstm(a, weight, bias):
    state, states = slstm_start(a[..., 0, 0, :, :]), []
    for a_t in a.unbind(-4):
        state = slstm_step(a_t, weight, bias, state)
        states.append(state.h)
    return torch.stack(states, -3)


def arguments(function, length, *leading):
    """Of a state of width 3, which a kernel fills up to 4."""
    torch.manual_seed(length)
    if function is slstm:
        return (
            2 * torch.randn(*leading, length, 4, 2, 3),
            torch.randn(4, 2, 3, 3),
            torch.randn(4, 2, 3),
        )
    width = 3 * GATES[function]
    return torch.randn(*leading, length, width), torch.randn(width, 3), torch.randn(width)


@pytest.mark.parametrize("function", [gru, lstm, slstm])
@pytest.mark.parametrize("length", [1, 3])
def test_networks(function, length):
    """A chunk has two positions."""
    definition = an_slstm if function is slstm else a_network
    assert_agree("triton", a_scan(function), a_scan(definition), arguments(function, length), 1)


def test_a_state_too_wide_for_a_kernel_takes_plain_pytorch():
    a, weight, bias = torch.randn(2, 3 * 129), torch.randn(3 * 129, 129), torch.randn(3 * 129)
    assert torch.equal(gru(a, weight, bias), a_network(a, weight, bias))


def test_a_population_is_the_models_alone():
    """Each has weights of its own, and all read the same."""

    def loss(weight, bias):
        return gru(a, weight, bias).square().sum()

    a, weight, bias = (x.to(DEVICE) for x in arguments(gru, 2, 2))
    weight, bias = torch.stack([weight, -weight]), torch.stack([bias, 2 * bias])
    together = vmap(grad(loss, (0, 1)), (-1, 0))(weight.movedim(0, -1), bias)
    alone = [grad(loss, (0, 1))(*own) for own in zip(weight, bias, strict=True)]
    for actual, expected in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(actual, torch.stack(expected), rtol=1e-5, atol=1e-5)


def test_mlstm():
    """Its exponents come from a cumulative maximum, not from a loop."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 9, 2)
    i, f = 4 * torch.randn(2, 9)
    inputs = (q, k, v, i, torch.nn.functional.logsigmoid(f))
    assert_agree("triton", a_scan(mlstm), a_scan(mlstm_definition), inputs, 1)


@pytest.mark.parametrize("length", [1, 5])
def test_ttt_linear(length):
    """In mini-batches of three positions, the last of which is not full."""
    torch.manual_seed(length)
    q, k, v = torch.randn(3, length, 3)
    start, norm = (torch.randn(3, 3), torch.randn(3)), (1 + torch.randn(3) / 3, torch.randn(3))
    inputs = (q, k, v, torch.rand(length), torch.rand(3), *start, *norm)

    def of(function):
        return lambda *x: (function(*x[:5], x[5:7], x[7:9]),)

    assert_agree("triton", of(ttt_linear), of(ttt_linear_definition), inputs, 1)


def test_learners_of_a_population_are_those_alone():
    """Which share the data, and the rates of learning."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, device=DEVICE)
    weight, bias = torch.randn(2, 2, 2, device=DEVICE), torch.randn(2, 2, device=DEVICE)
    scale, centre = torch.rand(2, 2, 2, device=DEVICE)

    def loss(weight, bias, scale, centre):
        rate = torch.ones(2, device=DEVICE)
        return ttt_linear(q, k, v, rate, rate, (weight, bias), (scale, centre)).square().sum()

    given = weight, bias, scale, centre
    together = vmap(grad(loss, (0, 1, 2, 3)))(*given)
    alone = [grad(loss, (0, 1, 2, 3))(*own) for own in zip(*given, strict=True)]
    for actual, expected in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(actual, torch.stack(expected), rtol=1e-5, atol=1e-5)
