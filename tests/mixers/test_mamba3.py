"""Mamba-3 against the recurrence of its paper."""

import math

import pytest
import torch

from recollect.errors import UserError
from recollect.mixers.mamba3 import Mamba3
from recollect.mixers.marks import is_decayed, keeps_init

D_MODEL, LENGTH = 6, 29


def built(**options):
    torch.manual_seed(0)
    module = Mamba3(D_MODEL, d_state=10, head_dim=4, **options)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.4 * torch.randn_like(parameter)
    return module.double()


def turned(vectors, angles):
    """The first pairs of neighbours as complex numbers, times e^(i angle)."""
    vectors = vectors.clone()
    for i, angle in enumerate(angles):
        x, y = vectors[2 * i].item(), vectors[2 * i + 1].item()
        vectors[2 * i] = x * math.cos(angle) - y * math.sin(angle)
        vectors[2 * i + 1] = x * math.sin(angle) + y * math.cos(angle)
    return vectors


def normed(x, weight):
    return weight * x / torch.sqrt(x.square().mean() + 1e-5)


def by_hand(module, u):
    """One sequence, head by head and position by position."""
    heads, rank, width, p = module.n_heads, module.rank, module.d_state, module.head_dim
    ones = torch.ones(heads, 1, p).to(u)
    up, gate, down = (
        (module.mimo_x, module.mimo_z, module.mimo_o) if rank > 1 else (ones, ones, ones)
    )
    outputs = [[] for _ in u]
    for h in range(heads):
        memory, angles = torch.zeros(width, p).to(u), torch.zeros(module.n_angles).to(u)
        before = 0 * memory
        for t, u_t in enumerate(u):
            z, x, b, c, dt, a, share, theta = module.in_proj(u_t).split(module.widths)
            z, x = z.view(heads, p)[h], x.view(heads, p)[h]
            step = torch.log1p(torch.exp(dt[h] + module.dt_bias[h]))
            rate = 1 + a[h] if a[h] >= 0 else 1 / (1 - a[h])
            decay = torch.exp(-max(rate, 1e-4) * step)
            weight = torch.sigmoid(share[h])
            angles = angles + math.pi * torch.tanh(theta) * step
            b, c = b.view(rank, width), c.view(rank, width)
            keys = [
                turned(normed(b[r], module.B_norm) + module.B_bias[h, r], angles)
                for r in range(rank)
            ]
            reads = [
                turned(normed(c[r], module.C_norm) + module.C_bias[h, r], angles)
                for r in range(rank)
            ]
            now = sum(torch.outer(keys[r], up[h, r] * x) for r in range(rank))
            memory = decay * memory + (1 - weight) * step * decay * before + weight * step * now
            before = now
            y = torch.zeros_like(x)
            for r in range(rank):
                read = reads[r] @ memory + module.D[h] * up[h, r] * x
                opened = gate[h, r] * z
                y += down[h, r] * read * opened * torch.sigmoid(opened)
            outputs[t].append(y)
    return torch.stack([module.out_proj.weight @ torch.cat(each) for each in outputs])


@pytest.mark.parametrize("options", [{}, {"mimo_rank": 3}])
def test_it_is_its_equations(options):
    module = built(**options)
    u = 2 * torch.randn(2, LENGTH, D_MODEL, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.stack([by_hand(module, sequence) for sequence in u])
        torch.testing.assert_close(module(u), expected)


def test_it_starts_as_its_authors_have_it():
    module = Mamba3(128, 4)
    assert (module.n_heads, module.head_dim, module.d_state, module.n_angles) == (4, 64, 128, 32)
    for ones in (module.B_bias, module.C_bias, module.B_norm, module.C_norm, module.D):
        assert (ones == 1).all()
    dt = torch.nn.functional.softplus(Mamba3(2000, head_dim=2).dt_bias)
    assert 1e-3 <= dt.min() < 1.1e-3 < 0.09 < dt.max() <= 0.1
    assert module.out_proj.weight.abs().max() <= 1 / 16 / 2
    assert all(map(keeps_init, module.parameters()))
    spared = {name for name, p in module.named_parameters() if not is_decayed(p)}
    assert spared == {"dt_bias", "D"}
    several = Mamba3(64, mimo_rank=4)
    assert (several.mimo_x == 0.25).all()
    assert (several.mimo_z == 1).all()
    assert (several.mimo_o == 0.25).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_state": 3}, "d_state=3: expected at least 4"),
        ({"mimo_rank": 0}, "mimo_rank=0: expected at least 1"),
        ({"head_dim": 5}, "head_dim=5: expected a divisor of 16"),
    ],
)
def test_sizes_that_cannot_be_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        Mamba3(8, **options)
