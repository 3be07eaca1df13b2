"""Each mixer against its paper's equations, written out position by position."""

import math

import pytest
import torch
import torch.nn.functional as F
from perturbing import perturbed

from recollect.errors import UserError
from recollect.mixers.based import TaylorLinearAttention
from recollect.mixers.gla import GatedLinearAttention
from recollect.mixers.linear_attention import LinearAttention
from recollect.mixers.mamba2 import Mamba2
from recollect.mixers.marks import is_decayed, keeps_init
from recollect.mixers.retnet import RetNet

D_MODEL, LENGTH = 16, 21


def one_sequence(d_model=D_MODEL):
    return torch.randn(LENGTH, d_model, dtype=torch.float64)


def assert_gives(mixer, x, expected):
    """Both forms of the mixer give these outputs."""
    torch.testing.assert_close(mixer(x[None])[0], torch.stack(expected), rtol=1e-9, atol=1e-11)
    state = mixer.initial_state(1)
    for x_t, expected_t in zip(x, expected, strict=True):
        y_t, state = mixer.step(x_t[None], state)
        torch.testing.assert_close(y_t[0], expected_t, rtol=1e-9, atol=1e-11)


def heads(x, n_heads):
    """The heads' parts of one position's vector."""
    return x.reshape(n_heads, -1)


def normalised_attention(mixer, x, weight_of):
    """Causal attention with any weight w(q, k), normalised by the sum of the weights."""
    projections = (mixer.q_proj, mixer.k_proj, mixer.v_proj)
    q, k, v = (torch.stack([heads(z, mixer.n_heads) for z in p(x)]) for p in projections)
    outputs = []
    for t in range(len(x)):
        parts = []
        for h in range(mixer.n_heads):
            weights = [weight_of(q[t, h], k[s, h]) for s in range(t + 1)]
            total = sum(w * v[s, h] for s, w in enumerate(weights))
            parts.append(total / sum(weights))
        outputs.append(mixer.out_proj(torch.cat(parts)))
    return outputs


@pytest.mark.parametrize("n_heads", [1, 4])
def test_linear_attention(n_heads):
    def weight_of(q, k):
        return (F.elu(q) + 1) @ (F.elu(k) + 1)

    mixer, x = perturbed(LinearAttention(D_MODEL, n_heads=n_heads)), one_sequence()
    mixer.eps = 0.0  # guards the division, and is not in the paper's equation
    assert_gives(mixer, x, normalised_attention(mixer, x, weight_of))


@pytest.mark.parametrize("n_heads", [1, 2])
def test_taylor_linear_attention(n_heads):
    def weight_of(q, k):
        z = q @ k / math.sqrt(len(q))
        return 1 + z + z**2 / 2

    mixer = perturbed(TaylorLinearAttention(D_MODEL, n_heads=n_heads, feature_dim=6))
    x = one_sequence()
    assert_gives(mixer, x, normalised_attention(mixer, x, weight_of))


@pytest.mark.parametrize(("n_heads", "expand_v"), [(4, 2), (1, 1), (8, 1)])
def test_retnet(n_heads, expand_v):
    """Rotation as multiplication of complex numbers (eq. 5), retention as a sum (eq. 6)."""
    mixer, x = perturbed(RetNet(D_MODEL, n_heads=n_heads, expand_v=expand_v)), one_sequence()
    d_k = D_MODEL // n_heads
    angles = torch.logspace(0, -4, d_k // 2, dtype=torch.float64)

    def rotated(z, position):
        return torch.view_as_complex(z.reshape(-1, 2)) * torch.exp(1j * position * angles)

    outputs = []
    for t in range(LENGTH):
        parts = []
        for h in range(n_heads):
            q = rotated(heads(mixer.q_proj(x[t]), n_heads)[h], t)
            total = 0
            for s in range(t + 1):
                k = rotated(heads(mixer.k_proj(x[s]), n_heads)[h], s)
                v = heads(mixer.v_proj(x[s]), n_heads)[h]
                decay = (1 - 2.0 ** (-5 - h)) ** (t - s)
                total = total + decay * (q * k.conj()).real.sum() / math.sqrt(d_k) * v
            parts.append(total / total.square().mean().add(1e-6).sqrt())
        gate = mixer.g_proj(x[t])
        outputs.append(mixer.out_proj(gate * gate.sigmoid() * torch.cat(parts)))
    assert_gives(mixer, x, outputs)


@pytest.mark.parametrize("options", [{}, {"n_heads": 2, "expand_k": 1.0, "expand_v": 2.0}])
def test_gla(options):
    mixer, x = perturbed(GatedLinearAttention(D_MODEL, **options)), one_sequence()
    n_heads = mixer.n_heads
    memories, outputs = mixer.initial_state(1)[0].unbind(0), []
    for x_t in x:
        q, k, v = (heads(p(x_t), n_heads) for p in (mixer.q_proj, mixer.k_proj, mixer.v_proj))
        low_rank, full_rank = mixer.k_gate
        logits = full_rank.weight @ (low_rank.weight @ x_t) + full_rank.bias
        alpha = heads(logits.sigmoid() ** (1 / 16), n_heads)
        memories = [
            torch.diag(alpha[h]) @ memories[h] + torch.outer(k[h], v[h]) for h in range(n_heads)
        ]
        parts = []
        for h in range(n_heads):
            read = q[h] @ memories[h] / math.sqrt(len(q[h]))
            parts.append((read - read.mean()) / (read.var(correction=0) + 1e-5).sqrt())
        gate = mixer.g_proj(x_t)
        outputs.append(mixer.out_proj(gate * gate.sigmoid() * torch.cat(parts)))
    assert_gives(mixer, x, outputs)


@pytest.mark.parametrize(
    "options",
    [
        {"d_state": 6},
        {"d_state": 6, "d_conv": 0, "head_dim": 4},
        {"d_state": 3, "d_conv": 3, "head_dim": 8, "n_groups": 2},
    ],
)
def test_mamba2(options):
    mixer, u = perturbed(Mamba2(D_MODEL, **options)), one_sequence()
    d_inner, n, groups = 2 * D_MODEL, mixer.d_state, mixer.n_groups
    n_heads = d_inner // mixer.head_dim
    z, x_b_c, dt = mixer.in_proj(u).split([d_inner, d_inner + 2 * groups * n, n_heads], dim=-1)
    if mixer.conv1d is not None:
        taps, bias = mixer.conv1d.weight, mixer.conv1d.bias
        x_b_c = torch.stack(
            [
                bias + sum(taps[s] * x_b_c[t - s] for s in range(min(len(taps), t + 1)))
                for t in range(LENGTH)
            ]
        )
    x_b_c = x_b_c * x_b_c.sigmoid()
    states, outputs = [torch.zeros(mixer.head_dim, n).double()] * n_heads, []
    for t in range(LENGTH):
        x, b, c = x_b_c[t].split([d_inner, groups * n, groups * n])
        x, b, c = heads(x, n_heads), heads(b, groups), heads(c, groups)
        parts = []
        for h in range(n_heads):
            group = h // (n_heads // groups)
            step = torch.log1p(torch.exp(dt[t, h] + mixer.dt_bias[h]))
            decay = torch.exp(-torch.exp(mixer.A_log[h]) * step)
            states[h] = decay * states[h] + step * torch.outer(x[h], b[group])
            parts.append(states[h] @ c[group] + mixer.D[h] * x[h])
        gated = (torch.cat(parts) * z[t] * z[t].sigmoid()).reshape(groups, -1)
        normed = gated / (gated.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        outputs.append(mixer.out_proj(normed.flatten() * mixer.norm.weight))
    assert_gives(mixer, u, outputs)


def numbers(state):
    """How many numbers the tensors of a state hold."""
    if isinstance(state, dict):
        return sum(numbers(part) for part in state.values())
    return state.numel() if isinstance(state, torch.Tensor) else 0


@pytest.mark.parametrize(
    ("mixer", "expected"),
    [
        (LinearAttention(128, n_heads=4), 4 * 32 * (32 + 1)),
        (TaylorLinearAttention(128), 153 * (128 + 1)),
        (TaylorLinearAttention(128, n_heads=8, feature_dim=8), 8 * 45 * (16 + 1)),
        (RetNet(128), 4 * 32 * 64),
        (GatedLinearAttention(128), 4 * 16 * 32),
        (Mamba2(128), 4 * 128 * 64 + 3 * (256 + 2 * 128)),
        (Mamba2(128, d_state=16, d_conv=0, n_groups=2), 4 * 16 * 64),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_state_is_as_large_as_the_papers_say(mixer, expected):
    assert numbers(mixer.initial_state(1)) == expected
    _, state = mixer.step(torch.randn(1, 128), mixer.initial_state(1))
    assert numbers(state) == expected


def test_mamba2_starts_as_its_authors_have_it():
    mixer = Mamba2(512, n_layers=4)
    dt, rate = F.softplus(mixer.dt_bias), mixer.A_log.exp()
    assert dt.min() >= 0.999e-3
    assert dt.max() <= 0.1001
    assert rate.min() >= 1
    assert rate.max() <= 16
    assert torch.equal(mixer.D, torch.ones(16))
    bound = 1 / math.sqrt(1024) / 2  # PyTorch's for this many inputs, over the root of the depth
    assert mixer.out_proj.weight.abs().max() <= bound
    assert mixer.out_proj.weight.abs().max() > 0.99 * bound
    assert all(keeps_init(parameter) for parameter in mixer.parameters())
    undecayed = {name for name, p in mixer.named_parameters() if not is_decayed(p)}
    assert undecayed == {"A_log", "D", "dt_bias"}


@pytest.mark.parametrize(
    ("mixer", "kept"),
    [
        (LinearAttention(64), set()),
        (TaylorLinearAttention(64), set()),
        (RetNet(64), {"q_proj", "k_proj", "v_proj", "g_proj"}),
        (GatedLinearAttention(64), {"q_proj", "k_proj", "k_gate.0", "k_gate.1"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_linear_maps_whose_start_the_authors_fix_keep_it(mixer, kept):
    for name, linear in mixer.named_modules():
        if isinstance(linear, torch.nn.Linear):
            assert keeps_init(linear.weight) == (name in kept)
            if name in kept:
                bound = 2**-2.5 * math.sqrt(6 / sum(linear.weight.shape))
                assert 0.95 * bound < linear.weight.abs().max() <= bound
    assert all(is_decayed(parameter) for parameter in mixer.parameters())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LinearAttention(64, n_heads=3), "n_heads=3: expected a divisor of d_model=64"),
        (lambda: TaylorLinearAttention(64, n_heads=0), "n_heads=0"),
        (lambda: TaylorLinearAttention(64, feature_dim=0), "feature_dim=0"),
        (lambda: RetNet(64, n_heads=64), "even width"),
        (lambda: RetNet(64, expand_v=0), "expand_v=0"),
        (lambda: GatedLinearAttention(64, n_heads=5), r"keys \(32\) and values \(64\)"),
        (lambda: GatedLinearAttention(64, expand_k=0.0), r"keys \(0\)"),
        (lambda: Mamba2(64, head_dim=48), "head_dim=48: expected a divisor of 128"),
        (lambda: Mamba2(64, n_groups=3), "n_groups=3: expected a divisor of the 2 heads"),
        (lambda: Mamba2(64, d_state=0), "d_state=0"),
        (lambda: Mamba2(64, d_conv=-1), "width -1"),
    ],
)
def test_what_cannot_be_built_is_a_user_error(build, message):
    with pytest.raises(UserError, match=message):
        build()
