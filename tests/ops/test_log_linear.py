import pytest
import torch
import torch.nn.functional as F
from torch.func import vmap

from recollect.ops import delta_chunks, forms
from recollect.ops.delta_rule import delta_rule
from recollect.ops.log_linear import levels, log_linear, log_linear_definition, log_linear_step
from recollect.ops.outer_product import outer_product_memory


def arguments(length, steep=1.0, delta=False, leading=(2,)):
    generator = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*leading, length, *shape, dtype=torch.float64, generator=generator)

    inputs = [normal(5), F.normalize(normal(5), dim=-1), normal(3), -steep * normal().abs()]
    inputs += [normal(levels(length)), *([normal().sigmoid()] if delta else [])]
    return [x.detach().requires_grad_() for x in inputs]


@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.parametrize("steep", [0.01, 300.0])
@pytest.mark.parametrize("length", [1, 2, 16, 17, 100])
def test_it_equals_its_definition(length, steep, delta):
    inputs = arguments(length, steep, delta)
    outcomes = []
    for function in (log_linear, log_linear_definition):
        y = function(*inputs)
        gradients = torch.autograd.grad(y.square().sum(), inputs, materialize_grads=True)
        outcomes.append([y, *gradients])
    for fast, expected in zip(*outcomes, strict=True):
        assert (fast - expected).norm() <= 1e-9 * expected.norm() + 1e-30


@pytest.mark.parametrize("delta", [False, True])
def test_the_form_of_a_gpu_equals_the_definition(delta, monkeypatch):
    monkeypatch.setattr(forms, "form_for", lambda *_: "torch")
    monkeypatch.setattr(delta_chunks, "GPU_CHUNK", 4)
    for length in (1, 16, 17):
        test_it_equals_its_definition(length, 0.01, delta)
    test_it_maps(delta)


def test_with_equal_weights_it_is_the_linear_memory():
    q, k, v, log_decay, scales, beta = arguments(70, delta=True)
    ones = torch.ones_like(scales)
    plain = outer_product_memory(q, k, v, log_decay[..., None])
    torch.testing.assert_close(log_linear(q, k, v, log_decay, ones), plain)
    rule, _ = delta_rule(q, k, v, beta, log_decay[..., None])
    torch.testing.assert_close(log_linear(q, k, v, log_decay, ones, beta), rule)


@pytest.mark.parametrize("t", [0, 1, 6, 20, 40])
def test_levels_are_the_binary_digits_of_a_position(t):
    """Of 0b101000 positions before it, the 32 first are one block, and then 8 another."""
    length = 41
    q, k = torch.ones(length, 1), torch.ones(length, 1)
    v, nothing = torch.eye(length), torch.zeros(length)
    for level in range(levels(length)):
        scales = torch.zeros(length, levels(length))
        scales[:, level] = 1
        seen = log_linear(q, k, v, nothing, scales)[t].nonzero().flatten().tolist()
        begin = t >> level << level
        block = range(begin, begin + (1 << level - 1)) if level and t >> level - 1 & 1 else []
        assert seen == (list(block) if level else [t])


def level_of(t, s):
    """The level at which position t reads position s."""
    if t == s:
        return 0
    size = 1 << t.bit_length() - 1
    return t.bit_length() if s < size else level_of(t - size, s - size)


@pytest.mark.parametrize("length", [13, 40])
def test_the_delta_rule_with_unequal_weights_is_a_sum_over_all_writes(length):
    """Each write is carried through the transitions after it, and weighted by its level."""
    inputs = [x.detach() for x in arguments(length, 0.1, delta=True, leading=())]
    q, k, v, log_decay, scales, beta = inputs
    y = torch.zeros_like(v)
    for t in range(length):
        for s in range(t + 1):
            memory = beta[s] * torch.outer(k[s], v[s])
            for j in range(s + 1, t + 1):
                kept = memory - beta[j] * torch.outer(k[j], k[j] @ memory)
                memory = log_decay[j].exp() * kept
            y[t] += scales[t, level_of(t, s)] * (q[t] @ memory)
    torch.testing.assert_close(log_linear(*inputs), y, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(log_linear_definition(*inputs), y, rtol=1e-12, atol=1e-14)


def test_a_state_has_a_memory_for_each_binary_digit():
    q, k, v, log_decay, scales = (x.detach() for x in arguments(12))
    memories = {}
    for t in range(12):
        before = {bit: memory.clone() for bit, memory in memories.items()}
        now = [x[:, t] for x in (q, k, v, log_decay, scales)]
        _, after = log_linear_step(*now, memories)
        assert {bit: memory.tolist() for bit, memory in memories.items()} == {
            bit: memory.tolist() for bit, memory in before.items()
        }
        memories = after
        assert sum(1 << bit for bit in memories) == t + 1


@pytest.mark.parametrize("delta", [False, True])
def test_it_maps(delta):
    inputs = [x.detach() for x in arguments(40, delta=delta, leading=(3, 2))]
    torch.testing.assert_close(vmap(log_linear)(*inputs), log_linear(*inputs))
