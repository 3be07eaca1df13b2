"""KDA, Gated DeltaNet-2, Gated DeltaProduct and Comba against their papers' recurrences."""

import math

import pytest
import torch
import torch.nn.functional as F

from recollect.errors import UserError
from recollect.mixers.comba import Comba
from recollect.mixers.gated_delta_net_2 import GatedDeltaNet2
from recollect.mixers.gated_delta_product import GatedDeltaProduct
from recollect.mixers.kda import KDA
from recollect.mixers.marks import is_decayed, keeps_init

LENGTH, D_MODEL, HEADS = 37, 12, 3


def built(mixer_class, **options):
    """In float64, away from the ones and zeros of the initialisation."""
    torch.manual_seed(0)
    module = mixer_class(D_MODEL, n_heads=HEADS, **options)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return module.double()


def by_heads(x):
    return x.view(HEADS, -1)


def projected(module, x):
    """q, k and v after convolution and SiLU, one row a position."""
    rows = torch.cat([torch.zeros(3, module.qkv_proj.out_features).to(x), module.qkv_proj(x)])
    taps = module.qkv_conv.weight  # tap s acts on the input s positions back
    return [
        F.silu(sum(taps[s] * rows[t + 3 - s] for s in range(4))).split(module.widths)
        for t in range(len(x))
    ]


def unit(x):
    return x / torch.sqrt(x.square().sum(-1, keepdim=True) + 1e-6)


def gated(module, y, gate):
    """The output of one position: RMSNorm of each head, the gate, the last map."""
    root = torch.sqrt(y.square().mean(-1, keepdim=True) + 1e-5)
    return module.out_proj.weight @ ((module.norm.weight * y / root).flatten() * gate)


def low_rank(layers, x):
    return layers[1](layers[0].weight @ x)


def channel_decay(module, x):
    dt = torch.log1p(torch.exp(low_rank(module.f_proj, x) + module.dt_bias))
    return torch.exp(-module.A_log.exp() * by_heads(dt))


def head_decay(module, x):
    dt = torch.log1p(torch.exp(module.a_proj.weight @ x + module.dt_bias))
    return torch.exp(-module.A_log.exp() * dt)


def outer(x, y):
    return torch.einsum("hk,hv->hkv", x, y)


def reach(module):
    """The upper bound of the strength of erasing."""
    return 2 if module.negative_eigenvalues else 1


def kda(module, x):
    memory, outputs = 0, []
    identity = torch.eye(D_MODEL // HEADS).to(x)
    for x_t, (q, k, v) in zip(x, projected(module, x), strict=True):
        q, k, v = unit(by_heads(q)), unit(by_heads(k)), by_heads(v)
        beta = reach(module) * torch.sigmoid(module.b_proj.weight @ x_t)[:, None]
        transition = (identity - outer(beta * k, k)) @ torch.diag_embed(channel_decay(module, x_t))
        memory = (transition @ memory if outputs else 0) + outer(beta * k, v)
        y = torch.einsum("hkv,hk->hv", memory, q)
        outputs.append(gated(module, y, torch.sigmoid(low_rank(module.g_proj, x_t))))
    return torch.stack(outputs)


def gated_delta_net_2(module, x):
    memory, outputs = 0, []
    identity = torch.eye(D_MODEL // HEADS).to(x)
    for x_t, (q, k, v) in zip(x, projected(module, x), strict=True):
        q, k, v = unit(by_heads(q)), unit(by_heads(k)), by_heads(v)
        b = reach(module) * by_heads(torch.sigmoid(module.b_proj.weight @ x_t))
        w = by_heads(torch.sigmoid(module.w_proj.weight @ x_t))
        transition = (identity - outer(k, b * k)) @ torch.diag_embed(channel_decay(module, x_t))
        memory = (transition @ memory if outputs else 0) + outer(k, w * v)
        y = torch.einsum("hkv,hk->hv", memory, q)
        outputs.append(gated(module, y, torch.sigmoid(low_rank(module.g_proj, x_t))))
    return torch.stack(outputs)


def gated_delta_product(module, x):
    memory, outputs = torch.zeros(HEADS, D_MODEL // HEADS, 2 * D_MODEL // HEADS).to(x), []
    identity = torch.eye(D_MODEL // HEADS).to(x)
    for x_t, (q, k, v) in zip(x, projected(module, x), strict=True):
        beta = 2 * torch.sigmoid(module.b_proj.weight @ x_t).view(module.steps, HEADS, 1)
        memory = head_decay(module, x_t)[:, None, None] * memory
        for k_i, v_i, beta_i in zip(
            k.view(module.steps, HEADS, -1), v.view(module.steps, HEADS, -1), beta, strict=True
        ):
            k_i = unit(k_i)
            memory = (identity - outer(beta_i * k_i, k_i)) @ memory + outer(beta_i * k_i, v_i)
        y = torch.einsum("hkv,hk->hv", memory, unit(by_heads(q)))
        outputs.append(gated(module, y, F.silu(module.g_proj.weight @ x_t)))
    return torch.stack(outputs)


def comba(module, x):
    memory, outputs = torch.zeros(HEADS, D_MODEL // HEADS, 2 * D_MODEL // HEADS).to(x), []
    identity = torch.eye(D_MODEL // HEADS).to(x)
    for x_t, (q, k, v) in zip(x, projected(module, x), strict=True):
        q, k, v = unit(by_heads(q)), unit(by_heads(k)), by_heads(v)
        beta = torch.sigmoid(module.b_proj.weight @ x_t)[:, None]
        weaker = torch.sigmoid(module.b) * beta
        transition = head_decay(module, x_t)[:, None, None] * identity - outer(weaker * k, k)
        memory = transition @ memory + outer(beta * k, v)
        y = torch.einsum("hkv,hk->hv", memory, q - module.d * k)
        outputs.append(gated(module, y, torch.sigmoid(module.g_proj.weight @ x_t)))
    return torch.stack(outputs)


@pytest.mark.parametrize(
    ("mixer_class", "by_hand", "options"),
    [
        (KDA, kda, {}),
        (KDA, kda, {"expand_v": 2}),
        (KDA, kda, {"negative_eigenvalues": True}),
        (GatedDeltaNet2, gated_delta_net_2, {}),
        (GatedDeltaNet2, gated_delta_net_2, {"negative_eigenvalues": True}),
        (GatedDeltaProduct, gated_delta_product, {}),
        (GatedDeltaProduct, gated_delta_product, {"steps": 1}),
        (GatedDeltaProduct, gated_delta_product, {"steps": 3}),
        (Comba, comba, {"correction": 0.5}),
    ],
)
def test_a_mixer_is_its_equations(mixer_class, by_hand, options):
    module = built(mixer_class, **options)
    x = torch.randn(2, LENGTH, D_MODEL, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.stack([by_hand(module, sequence) for sequence in x])
        torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-10)


def test_one_strength_for_both_makes_gated_delta_net_2_kda():
    theirs, ours = built(KDA), built(GatedDeltaNet2)
    x = torch.randn(2, LENGTH, D_MODEL, dtype=torch.float64)
    weights = {n: p for n, p in theirs.state_dict().items() if not n.startswith("b_proj")}
    ours.load_state_dict(weights, strict=False)
    with torch.no_grad():
        repeated = theirs.b_proj.weight.repeat_interleave(D_MODEL // HEADS, 0)
        ours.b_proj.weight.copy_(repeated)
        ours.w_proj.weight.copy_(repeated)
        torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("mixer_class", [KDA, GatedDeltaNet2])
def test_kda_starts_with_the_decays_of_its_code(mixer_class):
    module = mixer_class(3000, n_heads=1500)
    rates, dt = module.A_log.exp(), F.softplus(module.dt_bias)
    assert 1 <= rates.min() < 1.1 < 15.9 < rates.max() <= 16
    assert 1e-3 <= dt.min() < 1.1e-3 < 0.09 < dt.max() <= 0.1
    assert dt.log().mean().item() == pytest.approx(math.log(1e-2), abs=0.1)
    kept = {name for name, parameter in module.named_parameters() if keeps_init(parameter)}
    spared = {name for name, parameter in module.named_parameters() if not is_decayed(parameter)}
    assert kept == spared == {"A_log", "dt_bias"}


def test_the_feedback_of_comba_starts_as_in_its_code():
    module = Comba(8)
    assert (module.b == 1).all()
    assert (module.d == 0.01).all()
    assert (Comba(8, correction=0.02).d == 0.02).all()
    assert all(map(keeps_init, (module.b, module.d)))


@pytest.mark.parametrize("options", [{"steps": 0}, {"expand_v": 0}])
def test_no_steps_and_no_values_are_refused(options):
    ((name, _),) = options.items()
    with pytest.raises(UserError, match=f"{name}=0: expected at least 1"):
        GatedDeltaProduct(8, **options)
