import math

import pytest
import torch
from torch import nn

import recollect.analysis.mixing as mixing
from recollect.analysis.mixing import (
    head_weights,
    induction_score,
    mixing_matrices,
    previous_token_score,
)
from recollect.mixers.catalogue import MIXERS, mixer
from recollect.models.config import ModelConfig
from recollect.tasks.mqar import MQAR

pytestmark = pytest.mark.slow

TASK = MQAR(seq_len=8, num_kv_pairs=2, vocab_size=16)


class Before(nn.Module):
    """Looks one position back and nowhere else."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.linear(nn.functional.pad(x, (0, 0, 1, -1)))


class AfterTheLast(nn.Module):
    """Looks at what stood after its own token the last time."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x, tokens):
        found = torch.zeros_like(x)
        for row, ids in enumerate(tokens.tolist()):
            for t, token in enumerate(ids):
                if token in ids[:t]:
                    last = t - 1 - ids[:t][::-1].index(token)
                    found[row, t] = x[row, last + 1]
        return self.linear(found)


def matrices(mixer, tokens, d_model=6, **recipe):
    model = ModelConfig(mixer=mixer, d_model=d_model, n_layers=1, **recipe).build(TASK).double()
    (matrix,) = mixing_matrices(model, tokens)
    return matrix


def test_a_look_back_has_a_previous_token_score_of_one():
    tokens = TASK.sample(3, seed=0).inputs
    assert previous_token_score(matrices(Before, tokens)) == pytest.approx(1)
    assert previous_token_score(matrices(AfterTheLast, tokens)) < 0.5


def test_a_look_up_has_an_induction_score_of_one():
    tokens = torch.tensor([[3, 9, 4, 12, 3, 7, 4, 7], [5, 9, 5, 1, 1, 9, 2, 3]])
    assert induction_score(matrices(AfterTheLast, tokens), tokens) == pytest.approx(1)
    assert induction_score(matrices(Before, tokens), tokens) < 0.5


def test_the_score_is_over_recurring_tokens_alone():
    matrix = torch.rand(1, 5, 5)
    tokens = torch.tensor([[7, 8, 7, 7, 8]])  # the second 7 in a row looks at itself: left out
    expected = (matrix[0, 2, 1] + matrix[0, 4, 2]) / 2
    assert induction_score(matrix, tokens) == pytest.approx(expected.item())
    assert math.isnan(induction_score(matrix, torch.arange(5)[None]))
    asked = induction_score(matrix, tokens, torch.tensor([[1, 4]]))
    assert asked == pytest.approx(matrix[0, 4, 2].item())


@pytest.mark.parametrize("name", ["attention", "mamba", "sparse-attention"])
def test_it_is_the_norm_of_the_jacobian(name):
    tokens = TASK.sample(1, seed=1).inputs
    model = ModelConfig(mixer=name, d_model=4, n_layers=1).build(TASK).double().eval()
    seen = []
    model.blocks[0].mixer.register_forward_pre_hook(
        lambda _, given, named: seen.append((*given, named)), with_kwargs=True
    )
    (exact,) = mixing_matrices(model, tokens, probes=None)
    u, named = seen[0]
    jacobian = torch.autograd.functional.jacobian(lambda u: model.blocks[0].mixer(u, **named), u)
    jacobian = jacobian[0, :, :, 0]  # (t, i, s, j)
    norms = jacobian.square().sum((1, 3)).sqrt()
    torch.testing.assert_close(exact[0], norms / norms.sum(-1, keepdim=True).clamp(min=1e-300))
    (estimate,) = mixing_matrices(model, tokens, probes=100)
    torch.testing.assert_close(estimate, exact, rtol=0.5, atol=0.05)


def test_memory_may_be_short(monkeypatch):
    model = ModelConfig(mixer="sparse-attention", d_model=8).build(TASK).double()
    tokens = TASK.sample(3, seed=1).inputs
    at_once = mixing_matrices(model, tokens)
    monkeypatch.setattr(mixing, "NUMBERS_AT_ONCE", 3 * 8 * 8 * 3)  # three positions at a time
    for matrix, expected in zip(mixing_matrices(model, tokens), at_once, strict=True):
        torch.testing.assert_close(matrix, expected)


def test_heads_are_read_where_they_attend():
    layers = [mixer("attention", n_heads=2, window=3), "mamba", "sparse-attention"]
    model = ModelConfig(mixer=layers, d_model=8, n_layers=3, dropout=0.5).build(TASK).double()
    tokens = TASK.sample(2, seed=0).inputs
    attention, mamba, sparse = head_weights(model, tokens)
    assert mamba is None
    assert (attention.shape, sparse.shape) == ((2, 2, 8, 8), (2, 1, 8, 8))
    first = model.eval().blocks[0]
    x = first.norm(model.embedding(tokens) + model.position_embedding.weight)
    q, k, _ = first.mixer.qkv_proj(x).unflatten(-1, (3, 2, 4)).unbind(2)
    for head in range(2):
        for t in range(8):
            seen = range(max(0, t - 2), t + 1)
            scores = torch.stack([q[0, t, head] @ k[0, s, head] for s in seen]) / 2
            torch.testing.assert_close(attention[0, head, t, seen], scores.softmax(0))
    assert attention.sum(-1).allclose(torch.ones(2, 2, 8).double())
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", list(MIXERS))
def test_rows_sum_to_one_and_see_no_future(name):
    matrix = matrices(name, TASK.sample(2, seed=0).inputs, d_model=8)
    assert matrix.triu(1).max() < 1e-9
    sums = matrix.sum(-1)
    assert torch.isclose(sums, torch.ones_like(sums)).logical_or(sums == 0).all()


class WritesIntoItsInput(nn.Module):
    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.linear(x.mul_(2))


def test_a_mixer_may_write_into_its_input():
    matrix = matrices(WritesIntoItsInput, TASK.sample(2, seed=0).inputs)
    torch.testing.assert_close(matrix, torch.eye(8).double().expand(2, -1, -1))


def test_the_model_is_left_as_it_was():
    model = ModelConfig(mixer="mamba", d_model=8, dropout=0.5).build(TASK)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    tokens = TASK.sample(2, seed=0).inputs
    first, second = mixing_matrices(model, tokens), mixing_matrices(model, tokens)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert len(first) == 2
    assert model.training
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(layer.mixer._forward_pre_hooks for layer in model.layers)
