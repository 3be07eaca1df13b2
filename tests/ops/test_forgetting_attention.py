import pytest
import torch
from torch.func import vmap

from recollect.ops.attention import attention
from recollect.ops.forgetting_attention import (
    forgetting_attention,
    forgetting_attention_definition,
)


def arguments(length, steep=1.0, leading=(2,)):
    generator = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*leading, length, *shape, dtype=torch.float64, generator=generator)

    return [x.requires_grad_() for x in (normal(5), normal(5), normal(3), -steep * normal().abs())]


@pytest.mark.parametrize("steep", [0.01, 1.0, 300.0])
@pytest.mark.parametrize("length", [1, 2, 33])
def test_it_equals_its_definition(length, steep):
    inputs = arguments(length, steep)
    outcomes = []
    for function in (forgetting_attention, forgetting_attention_definition):
        y = function(*inputs)
        outcomes.append([y, *torch.autograd.grad(y.square().sum(), inputs)])
    for fast, expected in zip(*outcomes, strict=True):
        torch.testing.assert_close(fast, expected)


def test_without_forgetting_it_is_attention():
    q, k, v, log_forget = arguments(20)
    torch.testing.assert_close(forgetting_attention(q, k, v, 0 * log_forget), attention(q, k, v))


def test_a_weak_gate_after_strong_ones_keeps_its_digits():
    q, k, v, log_forget = (x.detach() for x in arguments(200, 0.01))
    log_forget[:, :100] = -1e4
    inputs = (q, k, v, log_forget)
    single = forgetting_attention(*(x.float() for x in inputs))
    torch.testing.assert_close(single.double(), forgetting_attention(*inputs), rtol=0, atol=1e-5)


def test_it_maps():
    inputs = [x.detach() for x in arguments(9, leading=(3, 2))]
    torch.testing.assert_close(vmap(forgetting_attention)(*inputs), forgetting_attention(*inputs))


def test_multiply_adds_are_those_of_visible_pairs():
    q, k, v, log_forget = (x.detach() for x in arguments(7))
    pairs = sum(1 for t in range(7) for s in range(7) if s <= t)
    assert forgetting_attention.multiply_adds(q, k, v, log_forget) == 2 * pairs * (5 + 3)
