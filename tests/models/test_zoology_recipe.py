"""The settings of Zoology's public code, each against what that code computes."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import recollect as rc
from recollect.mixers.catalogue import MIXERS
from recollect.studies.labels import recipe
from recollect.training.optimizer import make_optimizer
from recollect.training.population import run_population
from recollect.training.trial import run_trial

TASK = rc.MQAR(seq_len=16, num_kv_pairs=2, vocab_size=32)
TRAIN = rc.TrainConfig(
    steps=2, batch_size=4, eval_every=1, valid_examples=8, test_examples=8, dtype="float64"
)
ALL_OF_IT = {
    "mlp": "identity",
    "head_norm": "rmsnorm",
    "init": rc.Init(rescale_residual="mlp", writes_per_layer=2),
}


def build(mixer: object = "attention", d_model: int = 16, **settings: object) -> nn.Module:
    return rc.ModelConfig(mixer=mixer, d_model=d_model, **settings).build(TASK).eval()


def zoology_forward(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Its two streams: what a block gives, and a residual to which the next block adds it."""
    hidden = model.embedding(inputs)
    if model.position_embedding is not None:
        hidden = hidden + model.position_embedding(torch.arange(inputs.shape[1]))
    residual = torch.zeros_like(hidden)
    for block in model.blocks:
        residual = residual + hidden
        mixed = block.mixer(block.norm(residual))
        residual = residual + mixed
        hidden = block.mlp_norm(residual)  # `Identity` follows
    return F.linear(model.norm(residual + hidden), model.embedding.weight)


@pytest.mark.parametrize("mixer", ["attention", "hyena", "h3", "rwkv4", "based"])
def test_the_identity_in_place_of_an_mlp_gives_its_block(mixer: str) -> None:
    model = build(mixer, n_layers=3, mlp="identity").double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.manual_seed(0))
        batch = TASK.sample(3, seed=0)
        expected = zoology_forward(model, batch.inputs)
        torch.testing.assert_close(model(batch.inputs), expected, rtol=1e-10, atol=1e-10)
        asked = expected.take_along_dim(batch.positions[..., None], 1)
        torch.testing.assert_close(
            model(batch.inputs, batch.positions), asked, rtol=1e-10, atol=1e-10
        )
        state = model.initial_state(3)
        for t in range(TASK.seq_len):
            logits, state = model.step(batch.inputs[:, t], state)
            torch.testing.assert_close(logits, expected[:, t], rtol=1e-8, atol=1e-8)


def test_its_stream_is_of_the_order_of_one_from_the_second_layer_on() -> None:
    """The norm that is added to a stream of 0.02 N(0, 1) has a standard deviation of 1."""
    spread = {}
    for mlp in (None, "identity"):
        model = build("attention", 64, mlp=mlp)
        model.blocks[1].norm.register_forward_pre_hook(
            lambda _, inputs, mlp=mlp: spread.update({mlp: inputs[0].std().item()})
        )
        model(TASK.sample(64, seed=0).inputs)
    assert 0.02 < spread[None] < 0.04
    assert 0.98 < spread["identity"] < 1.06


def test_mamba_s_block_has_another_norm_than_the_head() -> None:
    model = build("mamba", norm="rmsnorm", head_norm="layernorm")
    hidden = model.hidden(TASK.sample(2, seed=0).inputs)
    torch.testing.assert_close(hidden.mean(-1), torch.zeros(2, 16), rtol=0, atol=1e-6)
    x = torch.randn(4, 16) + 3
    torch.testing.assert_close(model.blocks[0].norm(x), F.rms_norm(x, (16,), eps=1e-5))


@pytest.mark.parametrize(
    ("mixer", "rescaled", "of_mixers"),
    [("attention", True, 1 / math.sqrt(8)), ("hyena", True, 1 / math.sqrt(8)), ("h3", "mlp", 1.0)],
)
@pytest.mark.parametrize("mlp", [None, "gelu"])
def test_maps_are_rescaled_by_two_writes_a_layer(
    mixer: str, rescaled: bool | str, of_mixers: float, mlp: str | None
) -> None:
    """Whether or not a layer has two; the output map of H3 has a name that its code passes over."""
    init = rc.Init(rescale_residual=rescaled, writes_per_layer=2)
    model = build(mixer, 128, n_layers=4, mlp=mlp, init=init)
    for block in model.blocks:
        std = block.mixer.out_proj.weight.std().item()
        assert std == pytest.approx(0.02 * of_mixers, rel=0.05)
        if block.mlp is not None:
            std = block.mlp.out_proj.weight.std().item()
            assert std == pytest.approx(0.02 / math.sqrt(8), rel=0.03)
            assert block.mlp.in_proj.weight.std().item() == pytest.approx(0.02, rel=0.03)


@pytest.mark.parametrize(
    ("name", "spared"),
    [
        ("attention", 0),
        ("mamba", 2 * 2),  # A_log, D
        ("h3", 2 * 4),  # log_dt, log_A_real, A_imag, B
        (rc.mixer("h3", train_B=True), 2 * 5),
        ("hyena", 2 * 9),  # the filter
        ("rwkv4", 2 * 3),  # mu, time_decay, time_first
    ],
    ids=str,
)
def test_all_parameters_can_be_decayed(name: object, spared: int) -> None:
    model = build(name)
    for decay_all, undecayed in ((False, spared), (True, 0)):
        groups = make_optimizer(model, TRAIN.replace(decay_all=decay_all)).param_groups
        without = [p for g in groups for p in g["params"] if g["weight_decay"] == 0]
        assert len(without) == undecayed
        assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))


@pytest.mark.parametrize("name", [*MIXERS, "based"])
def test_every_mixer_trains_with_all_of_it(name: str, tmp_path) -> None:
    """Alone, interrupted, and in a population."""
    model = rc.ModelConfig(mixer=name, d_model=8, **ALL_OF_IT)
    trials = [
        rc.TrialConfig(task=TASK, model=model, train=TRAIN.replace(decay_all=True, **rest))
        for rest in ({}, {"learning_rate": 1e-2, "weight_decay": 1.0})
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # attention's kernel takes one model at a time
        together = dict(run_population(trials))
    saved = tmp_path / "checkpoint"
    assert run_trial(trials[1], until=1, checkpoint=saved).status == "stopped"
    alone = run_trial(trials[1], checkpoint=saved)
    assert alone.status == together[1].status == "complete"
    pairs = zip(alone.model.parameters(), together[1].model.parameters(), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("model", "train", "said"),
    [
        ({"mlp": "identity"}, {}, "mlp=identity"),
        ({"head_norm": "rmsnorm"}, {}, "head_norm=rmsnorm"),
        ({"init": rc.Init(writes_per_layer=2)}, {}, "init.writes_per_layer=2"),
        ({"init": rc.Init(rescale_residual="mlp")}, {}, "init.rescale_residual=mlp"),
        ({"mixer": rc.mixer("h3", train_B=True)}, {}, ""),
        ({}, {"decay_all": True}, ""),
    ],
    ids=str,
)
def test_settings_have_keys_of_their_own_and_are_printed(model, train, said) -> None:
    plain = rc.ModelConfig(mixer="h3", d_model=8)
    keys = set()
    for settings, training in (({}, {}), (model, train)):
        trial = rc.TrialConfig(
            task=TASK, model=plain.replace(**settings), train=TRAIN.replace(**training)
        )
        stored = trial.model_dump(mode="json")
        assert rc.TrialConfig(**stored) == trial
        keys.add(trial.key)
    assert len(keys) == 2
    assert recipe(trial.model) == said


def test_at_their_defaults_they_are_not_part_of_a_key() -> None:
    trial = rc.TrialConfig(task=TASK, model=rc.ModelConfig(mixer="h3", d_model=8))
    stored = trial.model_dump(mode="json")
    assert stored["model"]["init"] == {"std": 0.02, "rescale_residual": True}
    assert stored["model"]["mixer"][0]["options"] == {"d_state": 64, "head_dim": 1}
    assert "head_norm" not in stored["model"]
    assert "decay_all" not in stored["train"]


def test_a_number_of_writes_that_rescales_nothing_is_refused() -> None:
    with pytest.raises(rc.UserError, match="writes_per_layer=2 has no effect"):
        rc.Init(rescale_residual=False, writes_per_layer=2)
