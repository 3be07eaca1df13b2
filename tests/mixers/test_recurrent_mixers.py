"""H3, RWKV-4, RG-LRU and S6 against their papers, written as loops over numbers."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit

from recollect.errors import UserError
from recollect.mixers.attention import Attention
from recollect.mixers.h3 import H3
from recollect.mixers.mamba import Mamba
from recollect.mixers.marks import is_decayed, keeps_init
from recollect.mixers.rg_lru import RGLRU
from recollect.mixers.rwkv4 import RWKV4
from recollect.mixers.s6 import S6
from recollect.mixers.sliding_window import SlidingWindowAttention

D = 6


def build(cls, seed=0, **options):
    """A mixer in double precision, away from the special values of its start."""
    torch.manual_seed(seed)
    module = cls(D, **options).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return module


def weights_of(module):
    return {name: p.detach().numpy() for name, p in module.named_parameters()}


def linear(weights, name, x):
    return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)


def assert_is(module, by_hand, length=11):
    """Every sequence of a batch is what the equations give."""
    x = torch.randn(2, length, D, dtype=torch.float64)
    with torch.no_grad():
        y = module(x)
    for row, expected in zip(x.numpy(), y.numpy(), strict=True):
        np.testing.assert_allclose(by_hand(weights_of(module), row), expected, rtol=1e-9, atol=1e-9)


def h3_by_hand(w, u, d_state, head_dim):
    q, k, v = (linear(w, f"{name}_proj", u) for name in "qkv")
    shifted = np.zeros_like(k)
    for t in range(len(u)):
        for s in range(min(d_state, t + 1)):  # row s of the state: the key s positions back
            shifted[t] += w["shift.weight"][s] * k[t - s]
    k = shifted + w["shift_D"] * k
    dt = np.exp(w["diag.log_dt"])
    A = -np.exp(w["diag.log_A_real"]) + 1j * w["diag.A_imag"]
    B, C = (w[f"diag.{name}"] @ [1, 1j] for name in "BC")
    out = np.zeros_like(u)
    for h in range(D // head_dim):
        a = (1 + dt[h] * A[h] / 2) / (1 - dt[h] * A[h] / 2)
        b = dt[h] * B[h] / (1 - dt[h] * A[h] / 2)
        for i in range(head_dim):
            for j in range(head_dim):
                state = np.zeros(d_state // 2, dtype=complex)
                for t in range(len(u)):
                    product = k[t, h * head_dim + i] * v[t, h * head_dim + j]
                    state = a * state + b * product
                    read = 2 * (C[h] @ state).real + w["diag.D"][h] * product
                    out[t, h * head_dim + j] += q[t, h * head_dim + i] * read
    return linear(w, "out_proj", out)


@pytest.mark.parametrize(("d_state", "head_dim"), [(4, 1), (8, 2), (32, 3)])
def test_h3_is_two_state_space_models_between_gates(d_state, head_dim):
    module = build(H3, d_state=d_state, head_dim=head_dim)
    assert_is(module, lambda w, u: h3_by_hand(w, u, d_state, head_dim))


def test_h3_may_train_the_b_of_its_shift():
    module = build(H3, d_state=6, train_B=True)
    w = weights_of(module)
    state, inputs = np.zeros_like(w["shift.B"]), np.random.default_rng(0).normal(size=(11, D))
    expected = []
    for u in inputs:  # the state moves by one, and B adds the input to it
        state = np.concatenate([np.zeros((1, D)), state[:-1]]) + w["shift.B"] * u
        expected.append((w["shift.weight"] * state).sum(0))
    shifted = module.shift(torch.from_numpy(inputs)[None])[0]
    np.testing.assert_allclose(shifted.detach().numpy(), expected, rtol=1e-9, atol=1e-9)


def test_with_its_first_b_h3_is_as_without():
    torch.manual_seed(0)
    plain = H3(D)
    trained = H3(D, train_B=True)
    trained.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, 11, D)
    torch.testing.assert_close(trained(x), plain(x), rtol=1e-4, atol=1e-6)
    trained(x).sum().backward()
    assert trained.shift.B.grad.abs().min() > 0


def test_h3_may_have_a_state_as_long_as_its_sequences():
    assert H3(D, 10, d_state=None).initial_state(1)["diag"].shape[-1] == 5  # of complex numbers
    assert H3(D, 9, d_state=None).initial_state(1)["diag"].shape[-1] == 5
    assert H3(D, 10).initial_state(1)["diag"].shape[-1] == 32
    with pytest.raises(UserError, match="a sequence of 10 tokens, but with d_state=None"):
        H3(D, 9, d_state=None)(torch.zeros(1, 10, D))
    assert H3(D, 9)(torch.zeros(1, 10, D)).shape == (1, 10, D)


def test_h3_starts_as_s4d_lin():
    diag = H3(64, d_state=16).diag
    assert math.log(1e-3) <= diag.log_dt.min() < -6 < -3 < diag.log_dt.max() <= math.log(0.1)
    torch.testing.assert_close(diag.log_A_real.exp(), torch.full((64, 8), 0.5))
    torch.testing.assert_close(diag.A_imag[5], math.pi * torch.arange(8.0))
    assert torch.equal(torch.view_as_complex(diag.B), torch.ones(64, 8, dtype=torch.complex64))
    assert diag.C.square().sum(-1).mean().item() == pytest.approx(1, abs=0.1)
    decayed = {name for name, p in diag.named_parameters() if is_decayed(p)}
    assert decayed == {"C", "D"}


def rwkv4_by_hand(w, x):
    shifted = np.concatenate([np.zeros((1, D)), x[:-1]])
    r, k, v = (
        linear(w, f"{name}_proj", mu * x + (1 - mu) * shifted)
        for name, mu in zip("rkv", w["mu"], strict=True)
    )
    decay, bonus = np.exp(w["time_decay"]), w["time_first"]
    averages = np.zeros_like(x)
    for t in range(len(x)):
        numerator, denominator = np.exp(bonus + k[t]) * v[t], np.exp(bonus + k[t])
        for s in range(t):
            weight = np.exp(k[s] - (t - 1 - s) * decay)
            numerator, denominator = numerator + weight * v[s], denominator + weight
        averages[t] = numerator / denominator
    return linear(w, "out_proj", expit(r) * averages)


def test_rwkv4_is_a_gated_decaying_average():
    assert_is(build(RWKV4, layer_idx=1, n_layers=3), rwkv4_by_hand)


def test_rwkv4_starts_as_its_authors_start_it():
    first, last = RWKV4(12, 0, 4), RWKV4(12, 3, 4)
    for module, power in ((first, 0.7), (last, 2.0)):
        speed = -5 + 8 * (np.arange(12) / 11) ** power
        np.testing.assert_allclose(module.time_decay.detach(), speed, rtol=1e-5)
        zigzag = np.log(0.3) + 0.5 * np.array([0, 1, -1] * 4)
        np.testing.assert_allclose(module.time_first.detach(), zigzag, rtol=1e-5)
    channel = np.arange(12) / 12
    np.testing.assert_allclose(first.mu.detach(), [channel**0.5, channel, channel], rtol=1e-5)
    mixes = [channel**0.125, channel**0.25, channel**0.25 + 0.3]
    np.testing.assert_allclose(last.mu.detach(), mixes, rtol=1e-5)
    values = first.v_proj.weight
    torch.testing.assert_close(values @ values.T, torch.eye(12))
    assert not first(torch.randn(2, 5, 12)).any()
    assert all(keeps_init(p) for p in first.parameters())
    spared = {name for name, p in first.named_parameters() if not is_decayed(p)}
    assert spared == {"mu", "time_decay", "time_first"}


@pytest.mark.parametrize("layer_idx", [0, 1])
def test_rwkv4_may_start_as_in_zoology(layer_idx):
    """The initialisation of `nn.Linear`, uniform up to 1 / sqrt(width), and a depth of twelve."""
    module = RWKV4(64, layer_idx, 2, init="zoology")
    for name in ("r_proj", "k_proj", "v_proj", "out_proj"):
        weight = getattr(module, name).weight
        assert 0.99 / 8 < weight.abs().max() <= 1 / 8
        assert weight.std().item() == pytest.approx(1 / math.sqrt(3 * 64), rel=0.05)
    authors = RWKV4(64, layer_idx, 12)
    for name in ("mu", "time_decay", "time_first"):
        assert torch.equal(getattr(module, name), getattr(authors, name))
    assert all(keeps_init(p) for p in module.parameters())
    assert module(torch.randn(2, 5, 64)).abs().max() > 0.01


def test_rwkv4_refuses_other_starts():
    with pytest.raises(UserError, match="init='torch': expected 'authors' or 'zoology'"):
        RWKV4(8, init="torch")
    with pytest.raises(UserError, match="defined for 12 layers, not 13"):
        RWKV4(8, 12, 13, init="zoology")


def gelu(x):
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def rg_lru_by_hand(w, u, n_blocks):
    inputs = linear(w, "linear_x", u)
    taps, width = w["conv_1d.weight"], inputs.shape[1]
    x = np.zeros_like(inputs) + w["conv_1d.bias"]
    for t in range(len(u)):
        for s in range(min(len(taps), t + 1)):
            x[t] += taps[s] * inputs[t - s]
    gates = {}
    for name in ("a_gate", "input_gate"):
        matrix = np.zeros((width, width))
        for block, weight in enumerate(w[f"{name}.weight"]):
            inside = slice(block * width // n_blocks, (block + 1) * width // n_blocks)
            matrix[inside, inside] = weight
        gates[name] = expit(x @ matrix + w[f"{name}.bias"])
    a = expit(-w["a_param"]) ** (8 * gates["a_gate"])  # the paper's sigmoid(Λ)^(c r)
    h, states = np.zeros(width), []
    for t in range(len(u)):
        h = a[t] * h + np.sqrt(1 - a[t] ** 2) * gates["input_gate"][t] * x[t]
        states.append(h)
    return linear(w, "out_proj", np.stack(states) * gelu(linear(w, "linear_y", u)))


@pytest.mark.parametrize(("width", "n_blocks"), [(None, 1), (9, 3)])
def test_rg_lru_is_griffin_s_recurrent_block(width, n_blocks):
    module = build(RGLRU, lru_width=width, n_blocks=n_blocks)
    assert_is(module, lambda w, u: rg_lru_by_hand(w, u, n_blocks))


def test_rg_lru_starts_with_slow_decays():
    module = RGLRU(1000, n_layers=2)
    decay = np.exp(-np.log1p(np.exp(module.a_param.detach().double().numpy())))
    assert 0.9 <= decay.min() < 0.902 < 0.998 < decay.max() <= 0.999
    assert (decay**2).mean() == pytest.approx((0.9**2 + 0.999**2) / 2, abs=0.005)
    for weight, variance in (
        (module.linear_x.weight, 1 / 1000),
        (module.a_gate.weight, 1 / 1000),
        (module.conv_1d.weight, 0.01 / 4),
        (module.out_proj.weight, 2 / 2 / 1000),
    ):
        assert weight.std().item() == pytest.approx(math.sqrt(variance), rel=0.05)
    assert all(keeps_init(p) for p in module.parameters())
    assert [name for name, p in module.named_parameters() if not is_decayed(p)] == ["a_param"]


@pytest.mark.parametrize("a_param", [-100.0, -20.0])
def test_rg_lru_where_it_forgets_hardly_anything(a_param):
    module = build(RGLRU)
    with torch.no_grad():
        module.a_param.fill_(a_param)
    assert_is(module, lambda w, u: rg_lru_by_hand(w, u, 1))
    module(torch.randn(1, 9, D, dtype=torch.float64)).sum().backward()
    assert all(p.grad.isfinite().all() for p in module.parameters())
    assert module.a_param.grad.any()  # there is a way back


def test_s6_is_mamba_without_gate_convolution_and_expansion():
    s6, mamba = build(S6), build(Mamba, d_conv=0, gate=False, expand=1)
    x = torch.randn(2, 9, D, dtype=torch.float64)
    assert torch.equal(s6(x), mamba(x))
    names = {name for name, _ in s6.named_parameters()}
    assert names == {name for name, _ in mamba.named_parameters()}
    assert s6.in_proj.weight.shape == (D, D)


def test_a_sliding_window_is_attention_with_a_window():
    local, attention = build(SlidingWindowAttention, window=4), build(Attention, window=4)
    x = torch.randn(2, 40, D, dtype=torch.float64)
    assert torch.equal(local(x), attention(x))
    assert SlidingWindowAttention(D).window == 64


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (H3, {"d_state": 7}, "d_state=7: expected an even number of at least 2"),
        (H3, {"d_state": None}, "or None and a max_len"),
        (H3, {"head_dim": 4}, "head_dim=4: expected a divisor of d_model=6"),
        (RGLRU, {"lru_width": 0}, "lru_width=0: expected at least 1, or None"),
        (RGLRU, {"n_blocks": 4}, "n_blocks=4: expected a divisor of the width 6"),
        (RGLRU, {"d_conv": 0}, "width 0: expected at least 1"),
        (S6, {"d_state": 0}, "d_state=0"),
        (SlidingWindowAttention, {"window": 0}, "window=0: expected at least 1"),
    ],
)
def test_wrong_options_are_refused(cls, options, message):
    with pytest.raises(UserError, match=message):
        cls(D, **options)
