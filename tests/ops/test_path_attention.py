import pytest
import torch
import torch.nn.functional as F
from torch.func import vmap

from recollect.ops import forms, path_blocks
from recollect.ops.attention import attention
from recollect.ops.delta_chunks import solving
from recollect.ops.path_attention import (
    CHUNK,
    path_attention,
    path_attention_definition,
)
from recollect.referee.counting import counted


def arguments(length, leading=(2,)):
    generator = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*leading, length, *shape, dtype=torch.float64, generator=generator)

    directions = F.normalize(normal(5), dim=-1)
    inputs = (normal(5), normal(5), normal(3), directions, 2 * normal().sigmoid())
    return [x.requires_grad_() for x in inputs]


@pytest.mark.parametrize("length", [1, 2, CHUNK, CHUNK + 1, 2 * CHUNK + 5])
def test_it_equals_its_definition(length):
    inputs = arguments(length)
    outcomes = []
    for function in (path_attention, path_attention_definition):
        y = function(*inputs)
        outcomes.append([y, *torch.autograd.grad(y.square().sum(), inputs)])
    for fast, expected in zip(*outcomes, strict=True):
        torch.testing.assert_close(fast, expected)


@pytest.mark.parametrize("length", [1, 19, 32])
def test_the_form_of_a_gpu_equals_the_definition(length, monkeypatch):
    monkeypatch.setattr(forms, "form_for", lambda *_: "torch")
    monkeypatch.setattr(path_blocks, "CHUNK", 8)
    test_it_equals_its_definition(length)
    test_it_maps()


def test_without_maps_it_is_attention():
    q, k, v, w, beta = arguments(50)
    torch.testing.assert_close(path_attention(q, k, v, w, 0 * beta), attention(q, k, v))


def test_a_reflection_between_two_positions_turns_the_score():
    """With β = 2 and a direction along the first key, the second position reflects that key."""
    k = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    w = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    v, q = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    y = path_attention(q, k, v, w, torch.tensor([0.0, 2.0]))
    torch.testing.assert_close(y[1, 0], torch.tensor(-(2**0.5)).sigmoid())


def test_it_maps():
    inputs = [x.detach() for x in arguments(40, leading=(3, 2))]
    torch.testing.assert_close(vmap(path_attention)(*inputs), path_attention(*inputs))


@pytest.mark.parametrize("length", [1, CHUNK, 2 * CHUNK + 5])
def test_multiply_adds_are_those_of_the_matrix_products(length):
    """Without scores and weights of positions that are not visible."""
    inputs = [x.detach() for x in arguments(length, leading=())]
    found = counted(lambda: path_attention.function(*inputs))
    chunks = [min(CHUNK, length - begin) for begin in range(0, length, CHUNK)]
    hidden = sum(chunk * (chunk - 1) // 2 for chunk in chunks) * (5 + 3)
    solved = sum(map(solving, chunks))  # PyTorch's counters do not see it
    assert path_attention.multiply_adds(*inputs) == found.products + solved - hidden
