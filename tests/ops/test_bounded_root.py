import pytest
import torch
from torch.func import grad, vmap

from recollect.ops.bounded_root import STEEPEST, bounded_root, bounded_root_definition

BEND = 1 / (2 * STEEPEST) ** 2


def with_gradient(function, x):
    x = x.clone().requires_grad_()
    y = function(x)
    weights = torch.linspace(-1, 2, len(x), dtype=x.dtype)
    return y, torch.autograd.grad((weights * y).sum(), x)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_gradient_equal_the_definition(dtype):
    x = torch.cat([torch.zeros(1), torch.logspace(-40, 4, 1000), torch.tensor([BEND])]).to(dtype)
    for actual, expected in zip(
        with_gradient(bounded_root, x), with_gradient(bounded_root_definition, x), strict=True
    ):
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=0)
    assert torch.equal(bounded_root(x), x.sqrt())


def test_above_the_bend_it_is_the_root_to_the_bit():
    x = torch.logspace(-6.5, 1, 10_000)
    x = x[x >= torch.tensor(BEND)]
    for actual, expected in zip(
        with_gradient(bounded_root, x), with_gradient(torch.sqrt, x), strict=True
    ):
        assert torch.equal(actual, expected)


def test_below_the_bend_it_has_the_steepest_slope():
    x = torch.tensor([0.0, 1e-30, 0.9 * BEND])
    slopes = torch.autograd.functional.jacobian(bounded_root, x).diagonal()
    torch.testing.assert_close(slopes, torch.full((3,), STEEPEST))


def test_it_can_be_mapped_and_differentiated_twice():
    x = torch.rand(4, 5, dtype=torch.float64)

    def loss(x):
        return bounded_root(x).square().sum() + bounded_root(x).sum()

    each = torch.stack([grad(loss)(row) for row in x])
    torch.testing.assert_close(vmap(grad(loss))(x), each)
    assert torch.autograd.gradgradcheck(bounded_root, x.requires_grad_())
