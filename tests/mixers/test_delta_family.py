"""DeltaNet, Gated DeltaNet and RWKV-7 against the equations of their papers, step by step."""

import math

import pytest
import torch
import torch.nn.functional as F
from perturbing import perturbed

from recollect.errors import UserError
from recollect.mixers.delta_net import DeltaNet, GatedDeltaNet
from recollect.mixers.marks import is_decayed, keeps_init
from recollect.mixers.rwkv7 import RWKV7

LENGTH = 41


def inputs(d_model):
    return torch.randn(2, LENGTH, d_model, dtype=torch.float64)


def heads(x, n_heads):
    return x.view(n_heads, -1)


def names_with(module, mark):
    return {name for name, parameter in module.named_parameters() if mark(parameter)}


def sigmoid(x):
    return 1 / (1 + torch.exp(-x))


def delta_net_by_hand(module, x, reflects):
    """One sequence (L, d_model), position by position."""
    gated = isinstance(module, GatedDeltaNet)
    _, n_heads, d_k, d_v = module.initial_state(1)["memory"].shape
    width = module.qkv_proj.out_features
    projected = torch.cat([torch.zeros(3, width, dtype=x.dtype), module.qkv_proj(x)])
    memory = torch.zeros(n_heads, d_v, d_k, dtype=x.dtype)
    outputs = []
    for t, x_t in enumerate(x):
        # tap s of the convolution acts on the input s positions back
        qkv = sum(module.qkv_conv.weight[s] * projected[t + 3 - s] for s in range(4))
        q, k, v = F.silu(qkv).split([n_heads * d_k, n_heads * d_k, n_heads * d_v])
        q, k, v = heads(q, n_heads), heads(k, n_heads), heads(v, n_heads)
        y = torch.zeros_like(v)
        for h in range(n_heads):
            k_h = k[h] / torch.sqrt(k[h] @ k[h] + 1e-6)
            q_h = q[h] / torch.sqrt(q[h] @ q[h] + 1e-6)
            beta = sigmoid(module.b_proj.weight[h] @ x_t) * (2 if reflects else 1)
            alpha = torch.ones(())
            if gated:
                dt = torch.log(1 + torch.exp(module.a_proj.weight[h] @ x_t + module.dt_bias[h]))
                alpha = torch.exp(-torch.exp(module.A_log[h]) * dt)
            keep = torch.eye(d_k, dtype=x.dtype) - beta * torch.outer(k_h, k_h)
            memory[h] = memory[h] @ (alpha * keep) + beta * torch.outer(v[h], k_h)
            y[h] = memory[h] @ q_h
            y[h] = module.norm.weight * y[h] / torch.sqrt(y[h].square().mean() + 1e-5)
        y = y.flatten()
        if gated:
            gate = module.g_proj(x_t)
            y = y * gate * sigmoid(gate)
        outputs.append(module.out_proj.weight @ y)
    return torch.stack(outputs)


@pytest.mark.parametrize("mixer_class", [DeltaNet, GatedDeltaNet])
@pytest.mark.parametrize("reflects", [False, True])
def test_delta_net_is_its_equations(mixer_class, reflects):
    module = perturbed(mixer_class(12, n_heads=3, negative_eigenvalues=reflects))
    x = inputs(12)
    with torch.no_grad():
        expected = torch.stack([delta_net_by_hand(module, sequence, reflects) for sequence in x])
        torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-10)


def low_rank(module, x, f):
    y = f(x @ module.A) @ module.B
    return y if module.bias is None else y + module.bias


def rwkv7_by_hand(module, x):
    """One sequence (L, d_model), position by position."""
    n_heads, width = module.r_k.shape
    x_r, x_w, x_k, x_v, x_a, x_g = module.mu
    memory = torch.zeros(n_heads, width, width, dtype=x.dtype)
    outputs = []
    for t, now in enumerate(x):
        before = x[t - 1] if t else torch.zeros_like(now)
        r = module.r_proj.weight @ torch.lerp(now, before, x_r)
        key = module.k_proj.weight @ torch.lerp(now, before, x_k)
        v = module.v_proj.weight @ torch.lerp(now, before, x_v)
        d = low_rank(module.w_lora, torch.lerp(now, before, x_w), torch.tanh)
        w = torch.exp(-sigmoid(d) / math.sqrt(math.e))
        a = sigmoid(low_rank(module.a_lora, torch.lerp(now, before, x_a), lambda z: z))
        g = low_rank(module.g_lora, torch.lerp(now, before, x_g), sigmoid)
        kappa = key * module.k_k
        k = torch.lerp(key, key * a, module.k_a)
        r, w, k, v, kappa, a = (heads(z, n_heads) for z in (r, w, k, v, kappa, a))
        y = torch.zeros_like(v)
        for h in range(n_heads):
            unit = kappa[h] / kappa[h].norm()
            transition = torch.diag(w[h]) - torch.outer(unit, a[h] * unit)
            memory[h] = memory[h] @ transition + torch.outer(v[h], k[h])
            read = memory[h] @ r[h]
            variance = read.var(correction=0)
            y[h] = (read - read.mean()) / torch.sqrt(variance + 1e-5 * width)
        y = module.norm.weight * y.flatten() + module.norm.bias
        bonus = (r * module.r_k * k).sum(1, keepdim=True) * v
        outputs.append(module.out_proj.weight @ (g * (y + bonus.flatten())))
    return torch.stack(outputs)


def test_rwkv7_is_its_equations():
    module, x = perturbed(RWKV7(12, 1, 3, n_heads=3)), inputs(12)
    with torch.no_grad():
        expected = torch.stack([rwkv7_by_hand(module, sequence) for sequence in x])
        torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("layer_idx", [0, 1, 3])
def test_rwkv7_starts_as_its_authors_have_it(layer_idx):
    n_layers, d_model = 4, 128
    module = RWKV7(d_model, layer_idx, n_layers)
    above = 1 - layer_idx / n_layers
    for channel in (0, 1, 50, 64, 127):
        share = channel / 127 - 0.5
        offset = (channel % 64 - 31.5) / 31.5
        zigzag = offset * abs(offset)
        slope = (channel / 127) ** (1 + (layer_idx / 3) ** 0.3)
        actual = [
            *module.mu[:, channel],
            module.w_lora.bias[channel],
            module.a_lora.bias[channel],
            module.k_k[channel],
        ]
        expected = [1 - (channel / 128) ** (p * above) for p in (0.2, 0.9, 0.7, 0.7, 0.9, 0.2)]
        expected += [-6 + 6 * slope + 0.5 + 2.5 * zigzag]
        expected += [-0.19 + 0.3 * zigzag + 0.4 * share, 0.71 - 0.1 * share]
        assert [x.item() for x in actual] == pytest.approx(expected, abs=1e-5)
    assert (module.k_a == 1.02).all()
    assert (module.r_k == -0.04).all()
    assert module.norm.weight.tolist() == pytest.approx([((1 + layer_idx) / 4) ** 0.7] * d_model)
    for linear, gain in ((module.r_proj, 1), (module.k_proj, 0.1), (module.v_proj, 1)):
        square = linear.weight @ linear.weight.T
        torch.testing.assert_close(square, gain**2 * torch.eye(d_model), rtol=0, atol=1e-5)
    assert not module.out_proj.weight.any()
    for lora, rank in ((module.w_lora, 32), (module.a_lora, 32), (module.g_lora, 64)):
        assert not lora.A.any()
        square = lora.B @ lora.B.T
        torch.testing.assert_close(square, 0.01 * torch.eye(rank), rtol=0, atol=1e-6)
    assert all(keeps_init(parameter) for parameter in module.parameters())


def test_gated_delta_net_starts_with_the_decays_of_mamba_2():
    module = GatedDeltaNet(3000, n_heads=3000)
    rates, dt = module.A_log.exp(), F.softplus(module.dt_bias)
    assert 0 < rates.min() < 0.1 < 15.9 < rates.max() < 16
    assert rates.mean().item() == pytest.approx(8, abs=0.5)
    assert 1e-3 <= dt.min() < 1.1e-3 < 0.09 < dt.max() <= 0.1
    assert dt.log().mean().item() == pytest.approx(math.log(1e-2), abs=0.1)
    assert names_with(module, keeps_init) == {"A_log", "dt_bias"}


def test_what_is_spared_weight_decay():
    assert names_with(DeltaNet(8), is_decayed) == names_with(DeltaNet(8), lambda _: True)
    decayed = names_with(GatedDeltaNet(8), is_decayed)
    assert names_with(GatedDeltaNet(8), lambda _: True) - decayed == {"A_log", "dt_bias"}
    matrices = {f"{name}_proj.weight" for name in ("r", "k", "v", "out")}
    assert names_with(RWKV7(8), is_decayed) == matrices


def test_heads_have_memories_of_their_own():
    module = DeltaNet(128)
    state = module.initial_state(5)
    assert state["memory"].shape == (5, 2, 64, 64)
    assert state["qkv_conv"].shape == (5, 3, 3 * 128)
    assert GatedDeltaNet(128).initial_state(5)["memory"].shape == (5, 2, 64, 128)
    assert set(DeltaNet(128, qkv_conv=0).initial_state(5)) == {"memory"}
    state = RWKV7(128).initial_state(5)
    assert state["memory"].shape == (5, 2, 64, 64)
    assert state["previous"].shape == (5, 128)


@pytest.mark.parametrize(("d_model", "n_heads"), [(16, 1), (64, 1), (100, 1), (128, 2), (320, 5)])
def test_rwkv7_has_heads_of_64_channels(d_model, n_heads):
    assert RWKV7(d_model).n_heads == n_heads


def test_the_state_of_rwkv7_holds_nothing_but_itself():
    x = torch.randn(2, 1000, 16)
    _, state = RWKV7(16).step(x[:, 0], RWKV7(16).initial_state(2))
    assert state["previous"].untyped_storage().nbytes() == 2 * 16 * 4


def test_the_gate_and_the_convolution_can_be_left_out():
    x = torch.randn(2, 9, 8)
    plain = GatedDeltaNet(8, qkv_conv=0, output_gate=False)
    assert {name.split(".")[0] for name, _ in plain.named_parameters()} == {
        *("qkv_proj", "b_proj", "a_proj", "A_log", "dt_bias", "norm", "out_proj")
    }
    state, outputs = plain.initial_state(2), []
    for t in range(9):
        y_t, state = plain.step(x[:, t], state)
        outputs.append(y_t)
    torch.testing.assert_close(torch.stack(outputs, 1), plain(x), rtol=1e-4, atol=1e-5)


def test_inputs_of_zero_have_finite_gradients():
    x = torch.zeros(1, 5, 8, requires_grad=True)
    DeltaNet(8)(x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("mixer_class", [DeltaNet, GatedDeltaNet, RWKV7])
@pytest.mark.parametrize("n_heads", [0, 3])
def test_heads_that_do_not_divide_the_width_are_refused(mixer_class, n_heads):
    with pytest.raises(UserError, match=f"n_heads={n_heads}: expected a divisor of d_model=16"):
        mixer_class(16, n_heads=n_heads)


def test_values_need_a_width():
    with pytest.raises(UserError, match="expand_v=0: expected at least 1"):
        DeltaNet(16, expand_v=0)
