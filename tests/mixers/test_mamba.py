import numpy as np
import pytest
import torch
from scipy.special import expit, softplus

from recollect.errors import UserError
from recollect.mixers.catalogue import mixer
from recollect.mixers.mamba import Mamba
from recollect.mixers.marks import is_decayed, keeps_init

OPTIONS = [
    {},
    {"d_conv": 0},
    {"gate": False},
    {"d_state": 3, "d_conv": 2, "expand": 1, "dt_rank": 5},
    {"d_state": 5, "dt_rank": 3, "inner_norms": True},
]


def build(d_model=8, seed=0, **options):
    """A mixer in double precision, away from the special values of its start."""
    torch.manual_seed(seed)
    module = Mamba(d_model, **options).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return module


def by_hand(module, u):
    """One sequence by algorithm 2 and figure 3 of the paper, number by number."""
    weights = {name: p.detach().numpy() for name, p in module.named_parameters()}
    A = -np.exp(weights["A_log"])
    d_inner, d_state = A.shape
    rank = weights["dt_proj.weight"].shape[1]
    projected = u @ weights["in_proj.weight"].T
    inputs, outputs = projected[:, :d_inner], []
    h = np.zeros((d_inner, d_state))
    for t in range(len(u)):
        x = inputs[t]
        if "conv1d.weight" in weights:
            taps = weights["conv1d.weight"]
            x = sum(taps[s] * inputs[t - s] for s in range(min(len(taps), t + 1)))
            x = x + weights["conv1d.bias"]
        x = x * expit(x)
        dt, B, C = np.split(weights["x_proj.weight"] @ x, [rank, rank + d_state])
        if "inner_scales" in weights:
            scales = np.split(weights["inner_scales"], [rank, rank + d_state])
            dt, B, C = (
                scale * part / np.sqrt(np.mean(part**2) + 1e-6)
                for scale, part in zip(scales, (dt, B, C), strict=True)
            )
        delta = softplus(weights["dt_proj.weight"] @ dt + weights["dt_proj.bias"])
        y = np.zeros(d_inner)
        for c in range(d_inner):
            h[c] = np.exp(delta[c] * A[c]) * h[c] + delta[c] * B * x[c]
            y[c] = C @ h[c] + weights["D"][c] * x[c]
        z = projected[t, d_inner:]
        outputs.append(weights["out_proj.weight"] @ (y * z * expit(z) if len(z) else y))
    return np.stack(outputs)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_computes_what_the_paper_says(options):
    module, u = build(**options), torch.randn(2, 11, 8, dtype=torch.float64)
    with torch.no_grad():
        y = module(u)
    for i in range(2):
        np.testing.assert_allclose(y[i].numpy(), by_hand(module, u[i].numpy()), rtol=1e-9)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_steps_equal_the_sequence_and_keep_the_given_state(options):
    module, u = build(**options), torch.randn(3, 70, 8, dtype=torch.float64)
    state, outputs = module.initial_state(3), []
    with torch.no_grad():
        for t in range(70):
            before = {name: tensor.clone() for name, tensor in state.items()}
            y_t, new = module.step(u[:, t], state)
            assert all(torch.equal(state[name], tensor) for name, tensor in before.items())
            outputs.append(y_t)
            state = new
        torch.testing.assert_close(torch.stack(outputs, 1), module(u), rtol=1e-9, atol=1e-12)


def test_the_state_is_the_scan_s_and_the_convolution_s():
    sizes = {name: tensor.shape for name, tensor in Mamba(8).initial_state(5).items()}
    assert sizes == {"scan": (5, 16, 16), "conv": (5, 3, 16)}
    assert set(Mamba(8, d_conv=0).initial_state(5)) == {"scan"}


def test_without_convolution_a_position_is_mixed_by_the_scan_alone():
    module = build(d_conv=0)
    with torch.no_grad():
        module.A_log.fill_(20)  # every state is forgotten in a step
        u = torch.randn(1, 9, 8, dtype=torch.float64)
        alone = torch.cat([module(u[:, t : t + 1]) for t in range(9)], 1)
        torch.testing.assert_close(module(u), alone)


def test_the_gate_is_half_of_the_projection():
    assert Mamba(8).in_proj.weight.shape == (32, 8)
    assert Mamba(8, gate=False).in_proj.weight.shape == (16, 8)


def test_parameters_are_those_of_the_authors_code():
    shapes = {name: tuple(p.shape) for name, p in Mamba(64).named_parameters()}
    assert shapes == {
        "A_log": (128, 16),
        "D": (128,),
        "in_proj.weight": (256, 64),
        "conv1d.weight": (4, 128),
        "conv1d.bias": (128,),
        "x_proj.weight": (36, 128),
        "dt_proj.weight": (128, 4),
        "dt_proj.bias": (128,),
        "out_proj.weight": (64, 128),
    }
    assert Mamba(65).dt_proj.in_features == 5
    assert Mamba(64, dt_rank=7).dt_proj.in_features == 7


def test_the_start_is_the_authors():
    module = Mamba(256, n_layers=4)
    torch.testing.assert_close(module.A_log.exp(), torch.arange(1.0, 17).expand(512, 16))
    assert (module.D == 1).all()
    dt = torch.nn.functional.softplus(module.dt_proj.bias.double())
    assert 0.99e-3 < dt.min() < 1.1e-3
    assert 0.09 < dt.max() < 0.101
    assert abs(dt.log().mean().exp() - 1e-2) < 2e-3  # log-uniform: the mean is in the middle
    bounds = {"in_proj": 256**-0.5, "x_proj": 512**-0.5, "dt_proj": 16**-0.5}
    bounds["out_proj"] = 512**-0.5 / 2  # by the square root of the depth
    for name, bound in bounds.items():
        largest = getattr(module, name).weight.abs().max()
        assert 0.98 * bound < largest <= bound


def test_the_recipe_leaves_the_start_alone_and_does_not_decay_the_dynamics():
    module = Mamba(8)
    assert all(keeps_init(p) for p in module.parameters())
    exempt = {name for name, p in module.named_parameters() if not is_decayed(p)}
    assert exempt == {"A_log", "D"}


def test_the_catalogue_tells_the_depth():
    module = mixer("mamba").build(d_model=8, max_len=64, layer_idx=1, n_layers=9, rope=False)
    assert module.out_proj.weight.abs().max() <= 16**-0.5 / 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dt_rank": 0}, "dt_rank=0: expected"),
        ({"dt_rank": "full"}, "dt_rank='full': expected"),
        ({"d_state": 0}, "d_state=0"),
        ({"d_conv": -1}, "d_conv=-1"),
        ({"expand": 0}, "expand=0"),
    ],
)
def test_sizes_out_of_range_are_an_error(options, message):
    with pytest.raises(UserError, match=message):
        Mamba(8, **options)
