import pytest
import torch
import torch.nn.functional as F
from torch.func import vmap

from recollect.ops.ttt import ttt_linear, ttt_linear_definition

BATCH = 4


def arguments(length, leading=(2,)):
    generator = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*leading, *shape, dtype=torch.float64, generator=generator)

    rows = [normal(length, 6), normal(length, 6), normal(length, 6), normal(length).sigmoid()]
    share = (1 / torch.arange(1.0, BATCH + 1)).double()
    inputs = [*rows, share, normal(6, 6), normal(6), normal(6), normal(6)]
    return [x.requires_grad_() for x in inputs]


def called(function, q, k, v, rate, share, weight, bias, norm_weight, norm_bias):
    return function(q, k, v, rate, share, (weight, bias), (norm_weight, norm_bias))


@pytest.mark.parametrize("length", [1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH])
def test_it_equals_its_definition(length):
    inputs = arguments(length)
    outcomes = []
    for function in (ttt_linear, ttt_linear_definition):
        y = called(function, *inputs)
        gradients = torch.autograd.grad(y.square().sum(), inputs, materialize_grads=True)
        outcomes.append([y, *gradients])
    for fast, expected in zip(*outcomes, strict=True):
        assert (fast - expected).norm() <= 1e-9 * expected.norm() + 1e-12


def test_the_state_goes_down_the_gradient_that_autograd_finds():
    inputs = [x.detach() for x in arguments(BATCH, leading=())]
    q, k, v, rate, share, weight, bias, norm_weight, norm_bias = inputs
    weight, bias = weight.requires_grad_(), bias.requires_grad_()

    def model(x):
        return F.layer_norm(x @ weight + bias, (6,), norm_weight, norm_bias, eps=1e-6)

    loss = (rate[:, None] * (model(k) - (v - k)).square()).sum() / 2
    steps = torch.autograd.grad(loss, (weight, bias))
    with torch.no_grad():
        weight -= share[-1] * steps[0]
        bias -= share[-1] * steps[1]
        expected = q[-1] + model(q[-1:])[0]
        weight += share[-1] * steps[0]
        bias += share[-1] * steps[1]
    torch.testing.assert_close(called(ttt_linear, *inputs)[-1], expected)


def test_it_maps():
    inputs = [x.detach() for x in arguments(9, leading=(3,))]
    in_dims = (0, 0, 0, 0, None, 0, 0, 0, 0)
    mapped = vmap(lambda *given: called(ttt_linear, *given), in_dims=in_dims)(*inputs)
    torch.testing.assert_close(mapped, called(ttt_linear, *inputs))
