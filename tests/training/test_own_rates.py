"""Parameters whose authors fixed the learning rate or the weight decay are trained by these."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import recollect as rc
from recollect.training.checkpoint import build_model
from recollect.training.config import TrialConfig
from recollect.training.optimizer import make_optimizer
from recollect.training.population import run_population
from recollect.training.trial import run_trial

TASK = rc.MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16)
TRAIN = rc.TrainConfig(
    learning_rate=1e-2, steps=10, batch_size=4, eval_every=5, valid_examples=8, test_examples=8
)


class Kernel(nn.Module):
    """Marked as S4's kernel and Mamba's decay are."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.marked(nn.Parameter(torch.ones(d_model)), "fixed", lr=0.0, weight_decay=0.0)
        self.marked(nn.Parameter(torch.ones(d_model)), "slow", lr=1e-3)
        self.marked(nn.Parameter(torch.ones(d_model)), "like_the_rest", lr=1e-2)
        self.marked(nn.Parameter(torch.ones(d_model)), "decayed", weight_decay=0.5)
        self.A_log = nn.Parameter(torch.ones(d_model))
        self.A_log._no_weight_decay = True
        self.free = nn.Parameter(torch.ones(d_model))
        self.frozen = nn.Parameter(torch.arange(3), requires_grad=False)

    def marked(self, parameter: nn.Parameter, name: str, **optim: float) -> None:
        parameter._optim = optim
        self.register_parameter(name, parameter)

    def forward(self, x):
        gains = self.fixed + self.slow + self.like_the_rest + self.decayed + self.A_log + self.free
        return x.cumsum(1) * gains


def _trial(seed: int = 1, **train: object) -> TrialConfig:
    model = rc.ModelConfig(mixer=Kernel, d_model=4, n_layers=1, positions=None)
    return TrialConfig(
        task=TASK, model=model, train=TRAIN.replace(**train), seeds=rc.Seeds.of(seed)
    )


def test_groups_of_the_optimiser() -> None:
    config = _trial(weight_decay=0.1)
    model = build_model(config)
    names = {id(p): name.rpartition(".")[2] for name, p in model.named_parameters()}
    groups = {
        names[id(p)]: (group["weight_decay"], group["own_rate"])
        for group in make_optimizer(model, config.train).param_groups
        for p in group["params"]
    }
    own = ("fixed", "slow", "like_the_rest", "decayed", "A_log", "free")
    assert [groups[name] for name in own] == [
        (0.0, 0.0),
        (0.1, 1e-3),
        (0.1, 1e-2),
        (0.5, None),
        (0.0, None),
        (0.1, None),
    ]
    assert "frozen" not in groups


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_fixed_rate_follows_the_schedule_below_its_own_peak(schedule: str) -> None:
    """All have the same gradients, so that Adam moves each in proportion to its rate."""
    config = _trial(schedule=schedule, warmup=0.2, weight_decay=0.0)
    module = run_trial(config).model.layers[0].mixer
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    moved = {name: (p - 1).abs().mean().item() for name, p in parameters.items()}
    assert moved["fixed"] == 0.0
    assert moved["slow"] == pytest.approx(moved["free"] / 10, rel=1e-3)
    assert moved["like_the_rest"] == pytest.approx(moved["free"], rel=1e-6)


def test_a_fixed_rate_does_not_go_with_the_trial_s() -> None:
    def moved(rate: float) -> float:
        config = _trial(learning_rate=rate, steps=1, eval_every=1, warmup=0.0, weight_decay=0.0)
        return (run_trial(config).model.layers[0].mixer.slow - 1).abs().mean().item()

    assert moved(1e-2) == pytest.approx(moved(1e-1), rel=1e-3) == pytest.approx(1e-3, rel=1e-3)


def test_a_trial_that_goes_on_keeps_the_rates(tmp_path: Path) -> None:
    config, path = _trial(), tmp_path / "checkpoint.safetensors"
    run_trial(config, until=5, checkpoint=path)
    resumed, whole = run_trial(config, checkpoint=path), run_trial(config)
    for p, q in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(p, q)


def test_populations() -> None:
    configs = [_trial(seed=seed) for seed in (1, 2)]
    with pytest.warns(UserWarning, match=r"one model at a time: .*\.fixed has a fixed learning"):
        results = dict(run_population(configs))
    assert results[1].test == run_trial(configs[1]).test
