"""A mixer from outside of the package keeps its initialisation unless it is reset."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import recollect as rc
from recollect.mixers.attention import Attention
from recollect.training.config import TrialConfig

TASK = rc.MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16)


class LowRank(nn.Module):
    """A step size as Mamba's: the bias is what matters."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.dt_proj = nn.Linear(d_model, d_model)
        nn.init.constant_(self.dt_proj.weight, 0.5)
        nn.init.constant_(self.dt_proj.bias, -5.9)
        self.dt_proj.bias._no_reinit = True
        self.table = nn.Embedding(16, d_model)
        nn.init.constant_(self.table.weight, 7.0)

    def forward(self, x, tokens):
        return nn.functional.softplus(self.dt_proj(x)) * self.table(tokens)


class AroundOurs(nn.Module):
    """A mixer of ours as a part of another one."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.inner = Attention(d_model)
        for parameter in self.inner.parameters():
            nn.init.constant_(parameter, 0.25)

    def forward(self, x):
        return self.inner(x)


class Derived(Attention):
    """A mixer of this package that a user has changed."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        nn.init.eye_(self.out_proj.weight)


class Tied(nn.Module):
    """Keeps a weight of torch's own initialisation in two places."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.other.weight = self.one.weight
        self.start = self.one.weight.detach().clone()

    def forward(self, x):
        return self.other(self.one(x))


def _mixer(cls: type[nn.Module], foreign: str = "keep", **recipe) -> nn.Module:
    init = rc.Init(foreign=foreign)
    config = rc.ModelConfig(mixer=cls, d_model=4, n_layers=1, init=init, **recipe)
    return config.build(TASK).layers[0].mixer


def test_a_foreign_mixer_keeps_its_initialisation() -> None:
    module = _mixer(LowRank)
    assert (module.dt_proj.weight == 0.5).all()
    assert (module.dt_proj.bias == torch.tensor(-5.9)).all()
    assert (module.table.weight == 7.0).all()
    assert all((p == 0.25).all() for p in _mixer(AroundOurs).parameters())
    assert torch.equal(_mixer(Derived).out_proj.weight, torch.eye(4))
    tied = _mixer(Tied)
    assert torch.equal(tied.other.weight, tied.start)
    assert tied.one.bias.any()


def test_it_can_be_reset_but_for_what_its_authors_marked() -> None:
    module = _mixer(LowRank, foreign="reset")
    assert module.dt_proj.weight.abs().max() < 0.1
    assert (module.dt_proj.bias == torch.tensor(-5.9)).all()
    assert module.table.weight.abs().max() < 0.1
    assert all(p.abs().max() < 0.1 for p in _mixer(AroundOurs, foreign="reset").parameters())


@pytest.mark.parametrize("foreign", ["keep", "reset"])
def test_what_surrounds_a_foreign_mixer_is_initialised_by_the_recipe(foreign: str) -> None:
    config = rc.ModelConfig(
        mixer=[LowRank, "attention"], d_model=64, mlp="gelu", init=rc.Init(foreign=foreign)
    )
    model = config.build(TASK)
    assert model.embedding.weight.std().item() == pytest.approx(0.02, rel=0.15)
    for module in (model.layers[0].mlp.in_proj, model.layers[1].mixer.qkv_proj):
        assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
    written = model.layers[0].mlp.out_proj.weight.std().item()
    assert written == pytest.approx(0.02 / math.sqrt(3), rel=0.1)


def test_a_config_says_whose_initialisation_it_is() -> None:
    def of(mixer: object, **init: object) -> str | None:
        return rc.ModelConfig(mixer=mixer, d_model=4, init=rc.Init(**init)).initialisation

    assert of("attention") is None
    assert of(LowRank) == of(["attention", Derived]) == "own"
    assert of(LowRank, foreign="reset") == "recipe"


def test_keys_tell_the_two_apart_and_those_of_our_mixers_stay_as_they_are() -> None:
    def dumped(mixer: object, **init: object) -> tuple[str, dict]:
        model = rc.ModelConfig(mixer=mixer, d_model=4, init=rc.Init(**init))
        trial = TrialConfig(task=TASK, model=model)
        again = TrialConfig(**trial.model_dump(mode="json"))
        assert again == trial
        assert again.key == trial.key
        return trial.key, trial.model_dump(mode="json")["model"]

    kept, reset = dumped(LowRank), dumped(LowRank, foreign="reset")
    assert kept[0] != reset[0]
    assert kept[1]["mixer"][0]["foreign"]
    key, model = dumped("attention")
    assert model["init"] == {"std": 0.02, "rescale_residual": True}
    assert "foreign" not in model["mixer"][0]
    assert key == "3e019fe70801ecd1c3a7781b3b8d86c8"


class Adapted(nn.Linear):
    """A linear map with parameters of its author's."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width)
        self.scale = nn.Parameter(torch.ones(width))


def _pruned(linear: nn.Linear) -> nn.Linear:
    return prune.random_unstructured(linear, "weight", 0.5)


class Computed(nn.Module):
    """Linear maps whose weight or bias is computed from other parameters."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        norms = nn.utils.parametrizations
        makers = (norms.weight_norm, norms.orthogonal, nn.utils.spectral_norm, _pruned)
        maps = [make(nn.Linear(d_model, d_model)) for make in makers]
        self.maps = nn.ModuleList([*maps, Adapted(d_model)])
        self.attention = norms.weight_norm(nn.MultiheadAttention(d_model, 1), "in_proj_weight")
        self.start = [p.detach().clone() for p in self.parameters()]


class Torchs(nn.Module):
    """PyTorch's attention, with one matrix for queries, keys and values, and with three."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.one = nn.MultiheadAttention(d_model, 2)
        self.three = nn.MultiheadAttention(d_model, 2, kdim=3, vdim=5, add_bias_kv=True)
        for parameter in self.parameters():
            nn.init.constant_(parameter, 3.0)
        rc.keep_init(self.three.k_proj_weight)


def test_a_computed_linear_map_is_left_whole() -> None:
    module = _mixer(Computed, foreign="reset")
    assert all(map(torch.equal, module.parameters(), module.start))


def test_the_attention_of_torch_is_reset_whole() -> None:
    assert all((p == 3).all() for p in _mixer(Torchs).parameters())
    module = _mixer(Torchs, foreign="reset")
    kept = [name for name, p in module.named_parameters() if (p == 3).any()]
    assert kept == ["three.k_proj_weight"]
    for attention in (module.one, module.three):
        assert not attention.in_proj_bias.any()
        assert not attention.out_proj.bias.any()
    assert 0 < module.one.in_proj_weight.abs().max() < 0.1
    assert 0 < module.three.bias_k.abs().max() < 0.1
