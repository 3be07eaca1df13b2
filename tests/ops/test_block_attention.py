import math

import pytest
import torch
from torch.func import vmap

from recollect.ops.attention import attention
from recollect.ops.block_attention import (
    block_attention,
    block_attention_definition,
    block_attention_multiply_adds,
)


def arguments(length, leading=(2,)):
    generator = torch.Generator().manual_seed(length)
    shapes = (5, 5, 3)
    return [
        torch.randn(*leading, length, n, dtype=torch.float64, generator=generator).requires_grad_()
        for n in shapes
    ]


def seen_by(q, k, t, block_size, n_blocks):
    """The positions that position t sees, by the words of the paper."""
    own = t // block_size
    worth = {b: float(q[t] @ k[b * block_size : (b + 1) * block_size].mean(0)) for b in range(own)}
    chosen = sorted(worth, key=worth.__getitem__)[::-1][: n_blocks - 1]
    return [s for s in range(t + 1) if s // block_size in (*chosen, own)]


@pytest.mark.parametrize(("block_size", "n_blocks"), [(1, 1), (4, 1), (4, 2), (5, 3), (16, 2)])
@pytest.mark.parametrize("length", [1, 4, 17, 20])
def test_it_equals_its_definition_and_the_words_of_the_paper(length, block_size, n_blocks):
    sizes = {"block_size": block_size, "n_blocks": n_blocks}
    inputs = arguments(length)
    outcomes = []
    for function in (block_attention, block_attention_definition):
        y = function(*inputs, **sizes)
        outcomes.append([y, *torch.autograd.grad(y.square().sum(), inputs)])
    for fast, expected in zip(*outcomes, strict=True):
        torch.testing.assert_close(fast, expected)
    q, k, v = (x[1].detach() for x in inputs)
    for t in range(length):
        seen = seen_by(q, k, t, block_size, n_blocks)
        weights = (k[seen] @ q[t] / math.sqrt(5)).softmax(0)
        torch.testing.assert_close(outcomes[0][0][1, t], weights @ v[seen])


def test_with_blocks_for_all_it_is_attention():
    q, k, v = arguments(20)
    torch.testing.assert_close(
        block_attention(q, k, v, block_size=4, n_blocks=5), attention(q, k, v)
    )


def test_several_models_at_once():
    inputs = [x.detach() for x in arguments(18, leading=(3, 2))]
    together = vmap(lambda *x: block_attention(*x, block_size=4, n_blocks=2))(*inputs)
    for i in range(3):
        alone = block_attention(*(x[i] for x in inputs), block_size=4, n_blocks=2)
        torch.testing.assert_close(together[i], alone)


@pytest.mark.parametrize("length", [1, 7, 24])
def test_multiply_adds_are_those_of_what_is_seen(length):
    q, k, _ = (x[0].detach() for x in arguments(length))
    scores = sum(len(seen_by(q, k, t, 4, 2)) for t in range(length))
    means = sum(t // 4 for t in range(length))
    counted = block_attention_multiply_adds(length, 5, 3, block_size=4, n_blocks=2)
    assert counted == scores * (5 + 3) + means * 5
