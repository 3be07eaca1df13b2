import math

import pytest
import torch
from torch.func import vmap

from recollect.ops.slots import (
    CHUNK,
    products_of_slots,
    slot_memory,
    slot_memory_definition,
    slot_memory_step,
)

D_K, D_V, SLOTS = 5, 3, 4


def arguments(length, steep=1.0, leading=(2,)):
    generator = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*leading, length, *shape, dtype=torch.float64, generator=generator)

    log_decay = -steep * normal(SLOTS).abs()
    inputs = [normal(D_K), normal(D_K), normal(D_V), normal(SLOTS).sigmoid(), log_decay]
    return [x.requires_grad_() for x in inputs]


def outcome(function, inputs):
    """Outputs, and the gradients of their squares."""
    y = function(*inputs)
    return [y, *torch.autograd.grad(y.square().sum(), inputs)]


def assert_close(actual, expected, relative=1e-9):
    for a, b in zip(actual, expected, strict=True):
        assert a.isfinite().all()
        assert (a - b).norm() <= relative * b.norm() + 1e-30


def test_the_definition_by_hand():
    """Two slots without decay: the first stores the first position, the second the other."""
    zeros = torch.zeros(2, 2)
    k, v = torch.tensor([[1.0], [3.0]]), torch.tensor([[10.0], [20.0]])
    q = torch.tensor([[0.0], [1.0]])
    y = slot_memory_definition(q, k, v, torch.eye(2), zeros)
    weight = 1 / (1 + math.exp(2.0))  # of a score of 1 against one of 3
    torch.testing.assert_close(y, torch.tensor([[5.0], [10 * weight + 20 * (1 - weight)]]))


@pytest.mark.parametrize("steep", [0.01, 1.0, 300.0])
@pytest.mark.parametrize("length", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 100])
def test_chunks_equal_the_definition(length, steep):
    inputs = arguments(length, steep)
    assert_close(outcome(slot_memory, inputs), outcome(slot_memory_definition, inputs))


def test_single_precision_keeps_its_digits_over_a_long_sequence():
    inputs = [x.detach() for x in arguments(2000, 0.05, leading=())]
    single = slot_memory(*(x.float() for x in inputs))
    assert_close([single.double()], [slot_memory(*inputs)], 1e-5)


def test_a_decay_to_nothing_forgets_all():
    inputs = [x.detach() for x in arguments(50)]
    inputs[-1][:, 20] = -math.inf
    fresh = slot_memory(*(x[:, 20:] for x in inputs))
    torch.testing.assert_close(slot_memory(*inputs)[:, 20:], fresh)


def test_a_step_leaves_the_state_as_it_was():
    inputs = [x.detach()[:, 0] for x in arguments(1)]
    keys, values = torch.ones(2, SLOTS, D_K).double(), torch.ones(2, SLOTS, D_V).double()
    slot_memory_step(*inputs, keys, values)
    assert (keys == 1).all()
    assert (values == 1).all()


def test_leading_dimensions_broadcast_and_vmap():
    inputs = [x.detach() for x in arguments(37, leading=(3, 2))]
    whole = slot_memory(*inputs)
    torch.testing.assert_close(vmap(slot_memory)(*inputs), whole)
    for i in range(len(inputs)):
        mixed = [x[:, :1] if j == i else x[0] for j, x in enumerate(inputs)]  # (3, 1) and (2,)
        y = slot_memory(*mixed)
        alone = slot_memory_definition(*(x[2, 0] if j == i else x[1] for j, x in enumerate(mixed)))
        assert y.shape == (3, 2, 37, D_V)
        torch.testing.assert_close(y[2, 1], alone)


def test_multiply_adds_grow_with_the_length():
    one, two = (products_of_slots(n * CHUNK, D_K, SLOTS) for n in (1, 2))
    assert two == 2 * one
    inputs = arguments(CHUNK, leading=(7,))
    assert slot_memory.multiply_adds(*inputs) > 7 * one
