import pytest
import torch
from torch.func import vmap

from recollect.ops.outer_product import outer_product_memory
from recollect.ops.trapezoid import trapezoid_memory, trapezoid_memory_definition


def arguments(length, steep=1.0, leading=(2,), rank=1):
    generator = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*leading, *shape, dtype=torch.float64, generator=generator)

    rows = [normal(rank, length, 5), normal(rank, length, 5), normal(rank, length, 3)]
    decay, dt, share = -steep * normal(length).abs(), normal(length).exp(), normal(length).sigmoid()
    return [x.requires_grad_() for x in (*rows, decay, dt, share)]


@pytest.mark.parametrize("steep", [0.01, 1.0, 300.0])
@pytest.mark.parametrize(("length", "rank"), [(1, 1), (2, 3), (33, 1), (70, 2)])
def test_chunks_equal_the_definition(length, rank, steep):
    inputs = arguments(length, steep, rank=rank)
    outcomes = []
    for function in (trapezoid_memory, trapezoid_memory_definition):
        y = function(*inputs)
        outcomes.append([y, *torch.autograd.grad(y.square().sum(), inputs)])
    for fast, expected in zip(*outcomes, strict=True):
        assert (fast - expected).norm() <= 1e-9 * expected.norm() + 1e-30


def test_with_all_weight_at_the_end_it_is_the_plain_memory():
    c, b, x, log_decay, dt, _ = arguments(40)
    y = trapezoid_memory(c, b, x, log_decay, dt, torch.ones_like(dt))
    plain = outer_product_memory(c, b, dt[:, None, :, None] * x, log_decay[:, None, :, None])
    torch.testing.assert_close(y, plain)


def test_it_maps():
    inputs = [x.detach() for x in arguments(9, leading=(3, 2), rank=2)]
    torch.testing.assert_close(vmap(trapezoid_memory)(*inputs), trapezoid_memory(*inputs))
