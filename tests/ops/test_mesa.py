import math

import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, vmap

from recollect.ops import forms
from recollect.ops.mesa import CHUNK, mesa, mesa_definition


def arguments(length, steep=1.0, leading=(2,)):
    generator = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*leading, *shape, dtype=torch.float64, generator=generator)

    pairs = [normal(length, 5), F.normalize(normal(length, 5), dim=-1), normal(length, 3)]
    gates = [normal(length).sigmoid(), -steep * normal(length).abs(), normal(5).exp()]
    return [x.requires_grad_() for x in (*pairs, *gates)]


@pytest.mark.parametrize("steep", [0.01, 1.0, 300.0])
@pytest.mark.parametrize("length", [1, 2, CHUNK, CHUNK + 1, 2 * CHUNK + 5])
def test_it_equals_its_definition(length, steep):
    inputs = arguments(length, steep)
    outcomes = []
    for function in (mesa, mesa_definition):
        y = function(*inputs)
        outcomes.append([y, *torch.autograd.grad(y.square().sum(), inputs)])
    for fast, expected in zip(*outcomes, strict=True):
        assert (fast - expected).norm() <= 1e-9 * expected.norm() + 1e-30


def test_the_form_of_a_gpu_equals_the_definition_and_maps(monkeypatch):
    """Models share the rates of decay."""
    monkeypatch.setattr(forms, "form_for", lambda *_: "torch")
    inputs = [x.detach() for x in arguments(CHUNK + 5)]

    def loss(function):
        return grad(lambda *given: function(*given).square().sum(), tuple(range(6)))

    expected = loss(mesa_definition)(*inputs)
    mapped = [x[None].expand(2, *x.shape) for x in inputs]
    mapped[4] = inputs[4]
    actual = vmap(loss(mesa), (0, 0, 0, 0, None, 0))(*mapped)
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e[None].expand(2, *e.shape))


def test_it_answers_as_ridge_regression_does():
    q, k, v, beta, log_decay, ridge = (x.detach() for x in arguments(20))
    y = mesa(q, k, v, torch.ones_like(beta), 0 * log_decay, ridge)
    weights = torch.linalg.lstsq(  # on the pairs, and one row for each channel of a key
        torch.cat([k, torch.diag_embed(ridge.sqrt())], 1), F.pad(v, (0, 0, 0, 5))
    ).solution
    torch.testing.assert_close(y[:, -1], (q[:, -1:] @ weights).squeeze(1))


def test_a_decay_to_nothing_forgets_all():
    *inputs, log_decay, ridge = (x.detach() for x in arguments(50))
    log_decay[:, 20] = -math.inf
    fresh = mesa(*(x[:, 20:] for x in inputs), log_decay[:, 20:], ridge)
    torch.testing.assert_close(mesa(*inputs, log_decay, ridge)[:, 20:], fresh)


def test_it_maps():
    inputs = [x.detach() for x in arguments(40, leading=(3, 2))]
    torch.testing.assert_close(vmap(mesa)(*inputs), mesa(*inputs))


def test_what_has_diverged_gives_no_number_and_no_exception():
    inputs = [x.detach() for x in arguments(5)]
    inputs[1][0, 2] = math.nan
    y = mesa(*inputs)
    assert y[0, 2:].isnan().all()
    assert y[1].isfinite().all()
