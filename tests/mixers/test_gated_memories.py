"""GSA, HGRN2, RWKV-6, Raven and MesaNet against the equations of their papers, step by step."""

import math

import pytest
import torch
import torch.nn.functional as F
from perturbing import perturbed

from recollect.errors import UserError
from recollect.mixers.gsa import GatedSlotAttention
from recollect.mixers.hgrn2 import HGRN2
from recollect.mixers.marks import is_decayed, keeps_init
from recollect.mixers.mesa_net import MesaNet
from recollect.mixers.raven import Raven
from recollect.mixers.rwkv6 import RWKV6

LENGTH, D_MODEL = 37, 12


def rms_norm(x, weight):
    return weight * x / torch.sqrt(x.square().mean() + 1e-5)


def gsa(module, x):
    heads = module.n_heads
    keys = values = None
    outputs = []
    for x_t in x:
        q, k, v, f = (
            (projection.weight @ x_t).view(heads, -1)
            for projection in (module.q_proj, module.k_proj, module.v_proj, module.f_proj)
        )
        alpha = torch.sigmoid(f)[..., None] ** (1 / 8)
        now = (1 - alpha) * F.silu(k)[:, None], (1 - alpha) * F.silu(v)[:, None]
        keys = now[0] if keys is None else alpha * keys + now[0]
        values = now[1] if values is None else alpha * values + now[1]
        weights = torch.einsum("hmd,hd->hm", keys, F.silu(q)).softmax(-1)
        y = torch.einsum("hmd,hm->hd", values, weights).flatten()
        outputs.append(module.out_proj.weight @ rms_norm(F.silu(y), module.norm.weight))
    return torch.stack(outputs)


def hgrn2(module, x):
    heads = module.n_heads
    bound = torch.zeros(D_MODEL).to(x)
    if module.lower_bound is not None:
        bound = torch.sigmoid(module.lower_bound)
    state, outputs = torch.zeros(heads, D_MODEL // heads, D_MODEL // heads).to(x), []
    for x_t in x:
        f = bound + (1 - bound) * torch.sigmoid(module.f_proj.weight @ x_t)
        q = F.silu(module.q_proj.weight @ x_t)
        i = module.i_proj.weight @ x_t
        q, f, i = (z.view(heads, -1) for z in (q, f, i))
        state = f[..., None] * state + (1 - f)[..., None] * i[:, None]
        y = torch.einsum("hkv,hk->hv", state, q).flatten()
        outputs.append(module.out_proj.weight @ rms_norm(y, module.norm.weight))
    return torch.stack(outputs)


def rwkv6(module, x):
    heads, width = module.u.shape
    state, outputs = torch.zeros(heads, width, width).to(x), []
    for t, now in enumerate(x):
        d = (x[t - 1] if t else torch.zeros_like(now)) - now
        hidden = now + d * module.mu_x
        mixed = []
        for way in range(5):
            share = module.mu[way] + torch.tanh(hidden @ module.mix_A[way]) @ module.mix_B[way]
            mixed.append(now + d * share)
        x_w, x_k, x_v, x_r, x_g = mixed
        logits = module.decay + torch.tanh(x_w @ module.decay_A) @ module.decay_B
        w = torch.exp(-torch.exp(logits)).view(heads, -1)
        r, k, v = (
            (projection.weight @ z).view(heads, -1)
            for projection, z in (
                (module.r_proj, x_r),
                (module.k_proj, x_k),
                (module.v_proj, x_v),
            )
        )
        now_written = k[..., None] * v[:, None]
        y = torch.einsum("hkv,hk->hv", state + module.u[..., None] * now_written, r)
        state = w[..., None] * state + now_written
        mean, variance = y.mean(1, keepdim=True), y.var(1, correction=0, keepdim=True)
        y = ((y - mean) / torch.sqrt(variance + 64e-5)).flatten()
        y = module.norm.weight * y + module.norm.bias
        outputs.append(module.out_proj.weight @ (y * F.silu(module.g_proj.weight @ x_g)))
    return torch.stack(outputs)


def raven(module, x):
    heads = module.n_heads
    keys = values = None
    outputs = []
    for x_t in x:
        q, k, v, logits = (
            (projection.weight @ x_t).view(heads, -1)
            for projection in (module.q_proj, module.k_proj, module.v_proj, module.r_proj)
        )
        q, k = (
            torch.stack([rms_norm(F.silu(head), weight) for head in z])
            for z, weight in ((q, module.q_norm), (k, module.k_norm))
        )
        scores = torch.sigmoid(logits)
        least = scores.sort(1, descending=True).values[:, module.top_k - 1, None]
        scores = torch.where(scores >= least, scores, 0)
        scores = scores / (scores.sum(1, keepdim=True) + 1e-9)
        dt = torch.log1p(torch.exp(module.a_proj.weight @ x_t + module.dt_bias))
        alpha = torch.exp(-(module.A_log.exp() * dt)[:, None] * scores)[..., None]
        now = (1 - alpha) * k[:, None], (1 - alpha) * F.silu(v)[:, None]
        keys = now[0] if keys is None else alpha * keys + now[0]
        values = now[1] if values is None else alpha * values + now[1]
        weights = torch.einsum("hmd,hd->hm", keys, q).softmax(-1)
        y = torch.einsum("hmd,hm->hd", values, weights).flatten()
        outputs.append(module.out_proj.weight @ rms_norm(F.silu(y), module.norm.weight))
    return torch.stack(outputs)


def mesa_net(module, x):
    heads, width = module.ridge.shape
    rows = torch.cat([torch.zeros(3, 2 * D_MODEL).to(x), module.qk_proj(x)])
    taps = module.qk_conv.weight  # tap s acts on the input s positions back
    ridge = torch.log1p(torch.exp(module.ridge)) + 0.25
    gram = memory = torch.zeros(heads, width, width).to(x)
    outputs = []
    for t, x_t in enumerate(x):
        q, k = F.silu(sum(taps[s] * rows[t + 3 - s] for s in range(4))).view(2, heads, -1)
        q, k = (z / torch.sqrt(z.square().sum(1, keepdim=True) + 1e-6) for z in (q, k))
        v = (module.v_proj.weight @ x_t).view(heads, -1)
        alpha, beta = (
            torch.sigmoid(gate(x_t))[:, None, None] for gate in (module.a_proj, module.b_proj)
        )
        gram = alpha * gram + beta * k[..., None] * k[:, None]
        memory = alpha * memory + beta * k[..., None] * v[:, None]
        solution = torch.linalg.inv(gram + torch.diag_embed(ridge)) @ q[..., None]
        y = (memory.mT @ solution).squeeze(-1)
        y = torch.stack([rms_norm(head, module.norm.weight) for head in y])
        outputs.append(module.out_proj.weight @ y.flatten())
    return torch.stack(outputs)


@pytest.mark.parametrize(
    ("build", "by_hand"),
    [
        (lambda: GatedSlotAttention(D_MODEL, n_heads=3), gsa),
        (lambda: GatedSlotAttention(D_MODEL, n_heads=2, n_slots=5), gsa),
        (lambda: Raven(D_MODEL, n_heads=3, n_slots=7, top_k=2).eval(), raven),
        (lambda: MesaNet(D_MODEL, n_heads=3), mesa_net),
        (lambda: HGRN2(D_MODEL, expand_ratio=4), hgrn2),
        (lambda: HGRN2(D_MODEL, 2, 3), hgrn2),
        (lambda: RWKV6(D_MODEL, 1, 3, n_heads=3), rwkv6),
    ],
)
def test_a_mixer_is_its_equations(build, by_hand):
    module = perturbed(build())
    x = torch.randn(2, LENGTH, D_MODEL, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.stack([by_hand(module, sequence) for sequence in x])
        torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-10)


def test_the_first_layer_of_hgrn2_may_forget_all_and_the_last_little():
    assert HGRN2(8).lower_bound is None
    bounds = [HGRN2(8, i, 4).lower_bound.sigmoid() for i in (1, 2, 3)]
    for i, bound in enumerate(bounds, start=1):
        torch.testing.assert_close(bound, torch.full((8,), i / 4))
    assert keeps_init(HGRN2(8, 1, 4).lower_bound)
    assert not is_decayed(HGRN2(8, 1, 4).lower_bound)


@pytest.mark.parametrize("layer_idx", [0, 2])
def test_rwkv6_starts_as_its_authors_have_it(layer_idx):
    n_layers, d_model = 3, 128
    module = RWKV6(d_model, layer_idx, n_layers)
    above, depth = 1 - layer_idx / n_layers, layer_idx / (n_layers - 1)
    for n in (0, 1, 64, 127):
        share = n / d_model
        slow, fast = 1 - share**above, 1 - share ** (0.5 * above)
        expected = [slow, slow, slow - 0.3 * depth, fast, fast]
        expected += [slow, -6 + 5 * (n / 127) ** (0.7 + 1.3 * depth)]
        expected += [depth * (1 - n / 127) + 0.1 * ((n + 1) % 3 - 1)]
        actual = [*module.mu[:, n], module.mu_x[n], module.decay[n], module.u.flatten()[n]]
        assert [x.item() for x in actual] == pytest.approx(expected, abs=1e-5)
    for projection, gain in (
        (module.r_proj, 1),
        (module.k_proj, 0.1),
        (module.v_proj, 1),
        (module.g_proj, 0.1),
        (module.out_proj, 0),
    ):
        square = projection.weight @ projection.weight.T
        torch.testing.assert_close(square, gain**2 * torch.eye(d_model), rtol=0, atol=1e-5)
    assert not module.mix_A.any()
    assert not module.decay_A.any()
    assert 0.009 < module.mix_B.abs().max() <= 0.01
    assert module.norm.weight.tolist() == pytest.approx([((1 + layer_idx) / 3) ** 0.7] * d_model)
    assert all(map(keeps_init, module.parameters()))
    decayed = {name for name, parameter in module.named_parameters() if is_decayed(parameter)}
    assert decayed == {f"{name}_proj.weight" for name in ("r", "k", "v", "g", "out")}


def test_slots_and_heads_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="n_slots=0"):
        GatedSlotAttention(8, n_slots=0)
    with pytest.raises(UserError, match="expand_ratio=3: expected a divisor of d_model=8"):
        HGRN2(8, expand_ratio=3)
    assert HGRN2(256).n_heads == 2
    assert math.isclose(HGRN2(64).initial_state(1).numel(), 64 * 64)


def test_noisy_raven_chooses_other_slots_in_training_and_leaves_the_rest_alone():
    torch.manual_seed(0)
    module = Raven(8, n_heads=2, n_slots=20, top_k=3, noise=True)
    x = torch.randn(2, 30, 8)
    torch.testing.assert_close(module.eval()(x), module(x))
    noisy = module.train()(x)
    assert not torch.equal(noisy, module(x))
    quiet = Raven(8, n_heads=2, n_slots=20, top_k=3).train()
    quiet.load_state_dict(module.state_dict())
    torch.testing.assert_close(quiet(x), module.eval()(x))
    _, after = module.eval().step(x[:, 0], module.initial_state(2))
    assert (after["keys"].abs().sum(-1) > 0).sum(-1).tolist() == [[3, 3], [3, 3]]
    with pytest.raises(UserError, match="top_k=5: expected at least 1 and at most n_slots=4"):
        Raven(8, n_slots=4, top_k=5)


def test_the_ridge_of_mesa_net_starts_at_one():
    module = MesaNet(16)
    torch.testing.assert_close(F.softplus(module.ridge) + 0.25, torch.ones(4, 4))
    assert keeps_init(module.ridge)
    assert not is_decayed(module.ridge)
