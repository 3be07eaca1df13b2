"""mLSTM and sLSTM against the sums of their paper, not divided by the largest exponent."""

import math

import pytest
import torch
import torch.nn.functional as F
from perturbing import perturbed

from recollect.errors import UserError
from recollect.mixers.marks import is_decayed, keeps_init
from recollect.mixers.mlstm import MLSTM
from recollect.mixers.slstm import SLSTM

LENGTH, D_MODEL = 23, 8


def convolved(conv, x):
    """One sequence; tap s acts on the input s positions back."""
    padded = torch.cat([torch.zeros(3, x.shape[1]).to(x), x])
    taps = sum(conv.weight[s] * padded[3 - s : 3 - s + len(x)] for s in range(4))
    return F.silu(taps + conv.bias)


def head_norm(h, weight):
    h = (h - h.mean(1, keepdim=True)) / torch.sqrt(h.var(1, correction=0, keepdim=True) + 1e-5)
    return h.flatten() * weight


def mlstm(module, u):
    x, z = module.up_proj(u).chunk(2, 1)
    c = convolved(module.conv, x)
    q, k, v = (
        m @ torch.block_diag(*weight).T
        for m, weight in ((c, module.q_proj), (c, module.k_proj), (x, module.v_proj))
    )
    gates = torch.cat([q, k, v], 1)
    heads = module.n_heads
    memory = norm = 0
    outputs = []
    for t in range(len(u)):
        i = torch.exp(module.i_proj(gates[t]))[:, None]
        f = torch.sigmoid(module.f_proj(gates[t]))[:, None]
        q_t, k_t, v_t = (m[t].view(heads, -1) for m in (q, k, v))
        k_t = k_t / math.sqrt(k_t.shape[1])
        memory = f[..., None] * memory + i[..., None] * k_t[..., None] * v_t[:, None]
        norm = f * norm + i * k_t
        divisor = (norm * q_t).sum(1).abs().clamp(min=1)[:, None]
        h = torch.einsum("hkv,hk->hv", memory, q_t) / divisor
        y = head_norm(h, module.norm) + module.skip * c[t]
        outputs.append(module.down_proj(y * F.silu(z[t])))
    return torch.stack(outputs)


def slstm(module, x):
    c = convolved(module.conv, x)
    _, heads, head = module.bias.shape
    h, cell, norm = torch.zeros(3, heads, head).to(x)
    outputs = []
    for t in range(len(x)):
        given = (c[t], c[t], x[t], x[t])
        logits = [
            torch.stack(
                [
                    module.gates[gate, i] @ given[gate].view(heads, head)[i]
                    + h[i] @ module.recurrent[gate, i]
                    + module.bias[gate, i]
                    for i in range(heads)
                ]
            )
            for gate in range(4)
        ]
        write, keep = torch.exp(logits[0]), torch.sigmoid(logits[1])
        cell = keep * cell + write * torch.tanh(logits[2])
        norm = keep * norm + write
        h = torch.sigmoid(logits[3]) * cell / norm
        outputs.append(head_norm(h, module.norm))
    return torch.stack(outputs)


@pytest.mark.parametrize(
    ("build", "by_hand"),
    [
        (lambda: MLSTM(D_MODEL), mlstm),
        (lambda: MLSTM(D_MODEL, n_heads=2, expand=1), mlstm),
        (lambda: SLSTM(D_MODEL, 1, 3), slstm),
        (lambda: SLSTM(D_MODEL, 1, 3, n_heads=2), slstm),
    ],
)
def test_a_mixer_is_its_equations(build, by_hand):
    module = perturbed(build())
    x = torch.randn(2, LENGTH, D_MODEL, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.stack([by_hand(module, sequence) for sequence in x])
        # the divisor has 1e-6 more in it
        torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-5)


def test_mlstm_starts_as_its_authors_have_it():
    module = MLSTM(256, 4)
    assert module.f_proj.bias.tolist() == [3, 4, 5, 6]
    assert not module.f_proj.weight.any()
    assert not module.i_proj.weight.any()
    assert module.up_proj.weight.std().item() == pytest.approx(math.sqrt(2 / 5 / 256), rel=0.02)
    assert module.q_proj.std().item() == pytest.approx(math.sqrt(2 / 5 / 256), rel=0.1)
    assert module.down_proj.weight.std().item() == pytest.approx(2 / 4 / 16, rel=0.02)
    assert all(map(keeps_init, module.parameters()))


@pytest.mark.parametrize("layer_idx", [0, 1, 3])
def test_slstm_starts_as_its_authors_have_it(layer_idx):
    module = SLSTM(64, layer_idx, 4, n_heads=4)
    power = 0.3 + 1.3 * layer_idx / 3
    expected = [5 - 12 * (i / 15) ** power for i in range(16)]
    for bias in module.bias[1]:
        assert bias.tolist() == pytest.approx(expected, abs=1e-5)
    assert not module.bias[[0, 2, 3]].any()
    assert not module.recurrent.any()
    assert module.gates.std().item() == pytest.approx(math.sqrt(2 / 5 / 64), rel=0.1)
    assert all(map(keeps_init, module.parameters()))


@pytest.mark.parametrize(
    ("build", "decayed"),
    [
        (
            lambda: MLSTM(8),
            {
                *("up_proj.weight", "conv.weight", "q_proj", "k_proj", "v_proj"),
                *("i_proj.weight", "f_proj.weight", "down_proj.weight"),
            },
        ),
        (lambda: SLSTM(8), {"conv.weight", "gates"}),
    ],
)
def test_weight_decay_acts_where_the_authors_have_it(build, decayed):
    parameters = build().named_parameters()
    assert {name for name, parameter in parameters if is_decayed(parameter)} == decayed


@pytest.mark.parametrize(("options", "mix"), [({}, True), ({"n_heads": 2}, False)])
def test_channels_of_slstm_mix_within_a_head_alone(options, mix):
    module = perturbed(SLSTM(D_MODEL, **options))
    x = torch.randn(1, LENGTH, D_MODEL, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x)[..., 0].sum(), x)
    assert gradient[..., : D_MODEL // 2].any()
    assert gradient[..., D_MODEL // 2 :].any() == mix


def test_widths_that_blocks_do_not_divide_are_refused():
    with pytest.raises(UserError, match="expand=1 times d_model=6: expected a multiple of 4"):
        MLSTM(6, n_heads=2, expand=1)
