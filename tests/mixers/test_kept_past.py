"""Forgetting, gated, latent, block and PaTH attention against the equations of their papers."""

import math

import pytest
import torch
import torch.nn.functional as F
from perturbing import perturbed

from recollect.errors import UserError
from recollect.mixers.fox import ForgettingAttention
from recollect.mixers.gated_attention import GatedAttention
from recollect.mixers.mla import MultiHeadLatentAttention
from recollect.mixers.moba import BlockAttention
from recollect.mixers.path import PaTHAttention
from recollect.mixers.patterns import PATTERNS
from recollect.ops.block_attention import block_attention_definition
from recollect.ops.rotary import rotary_definition

D_MODEL, LENGTH = 12, 19


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


def moba(module, x):
    """The choice of blocks is tested with the op."""
    q, k, v = (m.view(LENGTH, module.n_heads, -1) for m in module.qkv_proj(x).chunk(3, -1))
    if module.rope:
        q, k = (rotary_definition(m.transpose(0, 1)).transpose(0, 1) for m in (q, k))
    heads = [
        block_attention_definition(q[:, h], k[:, h], v[:, h], **module.sizes)
        for h in range(module.n_heads)
    ]
    return module.out_proj(torch.cat(heads, dim=1))


def mla(module, x):
    heads, rope = module.n_heads, module.rope_dim
    down = module.kv_down(x)
    rank = down.shape[1] - rope
    root = torch.sqrt(down[:, :rank].square().mean(1, keepdim=True) + 1e-6)
    latent = module.kv_norm.weight * down[:, :rank] / root
    k = module.k_up(latent).view(LENGTH, heads, -1)
    v = module.v_up(latent).view(LENGTH, heads, -1)
    q = module.q_proj(x).view(LENGTH, heads, -1)
    turns = rope and module.rotated
    shared = rotary_definition(down[:, rank:]) if turns else down[:, rank:]
    outputs = []
    for h in range(heads):
        content, turned = q[:, h, : D_MODEL // heads], q[:, h, D_MODEL // heads :]
        turned = rotary_definition(turned) if turns else turned
        scores = content @ k[:, h].T + turned @ shared.T
        hidden = torch.ones(LENGTH, LENGTH).triu(1).bool()
        weights = (scores / math.sqrt(q.shape[-1])).masked_fill(hidden, -math.inf).softmax(1)
        outputs.append(weights @ v[:, h])
    return module.out_proj(torch.cat(outputs, 1))


def normed(x, weight):
    return weight * x / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def gated_attention(module, x):
    q, k, v = (m.view(LENGTH, module.n_heads, -1) for m in module.qkv_proj(x).chunk(3, -1))
    q, k = normed(q, module.q_norm), normed(k, module.k_norm)
    rope = module.rope_dim
    outputs = []
    for h in range(module.n_heads):
        turned = [
            torch.cat([rotary_definition(m[:, h, :rope]), m[:, h, rope:]], 1) if rope else m[:, h]
            for m in (q, k)
        ]
        hidden = torch.ones(LENGTH, LENGTH).triu(1).bool()
        scores = turned[0] @ turned[1].T / math.sqrt(q.shape[-1])
        outputs.append(scores.masked_fill(hidden, -math.inf).softmax(1) @ v[:, h])
    gate = torch.sigmoid(x @ module.g_proj.weight.T)
    return (torch.cat(outputs, 1) * gate) @ module.out_proj.weight.T


def path(module, x):
    q, k, v = (m.view(LENGTH, module.n_heads, -1) for m in module.qkv_proj(x).chunk(3, -1))
    low = module.w_proj(x)
    padded = torch.cat([torch.zeros(2, D_MODEL).to(x), low])
    taps = module.w_conv.weight  # tap s acts on the input s positions back
    w = F.silu(sum(taps[s] * padded[2 - s : 2 - s + LENGTH] for s in range(3)))
    w = w.view(LENGTH, module.n_heads, -1)
    w = w / torch.sqrt(w.square().sum(-1, keepdim=True) + 1e-6)
    beta = 2 * torch.sigmoid(module.beta_proj(x))
    y = torch.zeros_like(v)
    identity = torch.eye(q.shape[-1]).to(x)
    for h in range(module.n_heads):
        for t in range(LENGTH):
            scores, product = [], identity
            for s in range(t, -1, -1):
                scores.append(q[t, h] @ product @ k[s, h] / math.sqrt(q.shape[-1]))
                product = product @ (identity - beta[s, h] * torch.outer(w[s, h], w[s, h]))
            y[t, h] = torch.stack(scores).softmax(0) @ v[: t + 1, h].flip(0)
    return module.out_proj(y.flatten(1))


@pytest.mark.parametrize(
    ("build", "by_hand"),
    [
        (lambda: ForgettingAttention(D_MODEL, n_heads=3), fox),
        (lambda: PaTHAttention(D_MODEL, n_heads=3), path),
        (lambda: BlockAttention(D_MODEL, block_size=5, n_blocks=2), moba),
        (lambda: BlockAttention(D_MODEL, n_heads=3, rope=True, block_size=3), moba),
        (lambda: GatedAttention(D_MODEL, n_heads=1), gated_attention),
        (lambda: GatedAttention(D_MODEL, n_heads=3, rotated=0.0), gated_attention),
        (lambda: MultiHeadLatentAttention(D_MODEL, n_heads=3), mla),
        (lambda: MultiHeadLatentAttention(D_MODEL, n_heads=2, kv_rank=5, q_rank=7), mla),
        (lambda: MultiHeadLatentAttention(D_MODEL, rope_dim=0), mla),
        (lambda: MultiHeadLatentAttention(D_MODEL, n_heads=3, rotated=False), mla),
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


def test_kimi_linear_keeps_the_shared_key_unrotated():
    (latent,) = (spec for spec in PATTERNS["kimi-linear"].layers if spec.mixer == "mla")
    module = latent.build(d_model=128)
    assert not module.rotated
    _, state = module.step(torch.zeros(1, 128), module.initial_state(1))
    assert state["rope_keys"].shape == (1, 1, 16)


@pytest.mark.parametrize("options", [{"rope_dim": 3}, {"kv_rank": 0}, {"q_rank": 0}])
def test_widths_that_cannot_be_are_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(UserError, match=f"{name}={value}: expected"):
        MultiHeadLatentAttention(16, **options)


def test_a_quarter_of_gated_attention_is_rotated():
    assert GatedAttention(128).rope_dim == 16
    with pytest.raises(UserError, match=r"rotated=2\.0: expected a fraction"):
        GatedAttention(16, rotated=2.0)
