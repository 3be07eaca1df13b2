"""Forgetting attention and latent attention against the equations of their papers."""

import math

import pytest
import torch

from recollect.errors import UserError
from recollect.mixers.fox import ForgettingAttention
from recollect.mixers.mla import MultiHeadLatentAttention
from recollect.ops.rotary import rotary_definition

D_MODEL, LENGTH = 12, 19


def perturbed(module):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return module.double()


def fox(module, x):
    q, k, v = (m.view(LENGTH, module.n_heads, -1) for m in module.qkv_proj(x).chunk(3, -1))
    gates = torch.sigmoid(module.f_proj(x))
    y = torch.zeros_like(v)
    for h in range(module.n_heads):
        for t in range(LENGTH):
            scores = [
                q[t, h] @ k[s, h] / math.sqrt(q.shape[-1]) + gates[s + 1 : t + 1, h].log().sum()
                for s in range(t + 1)
            ]
            y[t, h] = torch.stack(scores).softmax(0) @ v[: t + 1, h]
    return module.out_proj(y.flatten(1))


def mla(module, x):
    heads, rope = module.n_heads, module.rope_dim
    down = module.kv_down(x)
    rank = down.shape[1] - rope
    root = torch.sqrt(down[:, :rank].square().mean(1, keepdim=True) + 1e-6)
    latent = module.kv_norm.weight * down[:, :rank] / root
    k = module.k_up(latent).view(LENGTH, heads, -1)
    v = module.v_up(latent).view(LENGTH, heads, -1)
    q = module.q_proj(x).view(LENGTH, heads, -1)
    shared = rotary_definition(down[:, rank:]) if rope else down[:, rank:]
    outputs = []
    for h in range(heads):
        content, turned = q[:, h, : D_MODEL // heads], q[:, h, D_MODEL // heads :]
        turned = rotary_definition(turned) if rope else turned
        scores = content @ k[:, h].T + turned @ shared.T
        hidden = torch.ones(LENGTH, LENGTH).triu(1).bool()
        weights = (scores / math.sqrt(q.shape[-1])).masked_fill(hidden, -math.inf).softmax(1)
        outputs.append(weights @ v[:, h])
    return module.out_proj(torch.cat(outputs, 1))


@pytest.mark.parametrize(
    ("build", "by_hand"),
    [
        (lambda: ForgettingAttention(D_MODEL, n_heads=3), fox),
        (lambda: MultiHeadLatentAttention(D_MODEL, n_heads=3), mla),
        (lambda: MultiHeadLatentAttention(D_MODEL, n_heads=2, kv_rank=5, q_rank=7), mla),
        (lambda: MultiHeadLatentAttention(D_MODEL, rope_dim=0), mla),
    ],
)
def test_a_mixer_is_its_equations(build, by_hand):
    module = perturbed(build())
    x = torch.randn(2, LENGTH, D_MODEL, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.stack([by_hand(module, sequence) for sequence in x])
        torch.testing.assert_close(module(x), expected)


def test_widths_of_the_latent_are_those_of_the_paper():
    module = MultiHeadLatentAttention(128)
    assert module.kv_norm.weight.numel() == 4 * 32
    assert module.rope_dim == 16


@pytest.mark.parametrize("options", [{"rope_dim": 3}, {"kv_rank": 0}, {"q_rank": 0}])
def test_widths_that_cannot_be_are_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(UserError, match=f"{name}={value}: expected"):
        MultiHeadLatentAttention(16, **options)
