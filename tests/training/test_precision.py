"""Mixed precision changes the matrix products of training and nothing else."""

import pytest
import torch

from recollect.mixers.catalogue import MIXERS, mixer
from recollect.mixers.patterns import PATTERNS
from recollect.models.config import ModelConfig
from recollect.ops.scan import selective_scan
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig, TrialConfig
from recollect.training.population import run_population
from recollect.training.precision import mixed_precision
from recollect.training.trial import run_trial

TASK = MQAR(seq_len=16, num_kv_pairs=2, vocab_size=32)
MIXED, FULL = TrainConfig(dtype="bfloat16"), TrainConfig()


def loss_and_gradient(model, train):
    batch = TASK.sample(8, seed=0)
    with mixed_precision(train, torch.device("cpu")):
        loss = model.loss(batch.inputs, batch.positions, batch.targets)
    return loss, torch.cat([g.flatten() for g in torch.autograd.grad(loss, model.parameters())])


@pytest.mark.parametrize("name", [*MIXERS, *PATTERNS])
def test_every_mixer_has_about_the_same_loss_and_gradient(name):
    # at 16, the norm of dt in these two turns a single number into its sign
    width = 32 if name in ("hymba", "jamba") else 16
    model = ModelConfig(mixer=name, d_model=width).build(TASK)
    (loss, gradient), (mixed, in_half) = (loss_and_gradient(model, t) for t in (FULL, MIXED))
    assert mixed.dtype == in_half.dtype == torch.float32
    assert mixed.item() == pytest.approx(loss.item(), rel=0.02)
    assert torch.cosine_similarity(in_half, gradient, dim=0) > 0.98
    assert not torch.equal(in_half, gradient)


def test_the_device_of_a_trial_names_a_reduced_precision_of_products():
    config = TrialConfig(
        task=TASK,
        model=ModelConfig(mixer="linear-attention", d_model=8, n_layers=1),
        train=FULL.replace(steps=1, batch_size=2, valid_examples=2, test_examples=2),
    )
    assert "precision" not in run_trial(config).device
    torch.set_float32_matmul_precision("medium")
    try:
        assert run_trial(config).device.endswith(", float32 products at 'medium' precision")
    finally:
        torch.set_float32_matmul_precision("highest")


def test_an_op_keeps_its_digits():
    generator = torch.Generator().manual_seed(0)
    x, delta, B, C = (torch.rand(1, 30, 4, generator=generator) for _ in range(4))
    A = -torch.rand(4, 4, generator=generator)
    expected, _ = selective_scan(x, delta, A, B, C)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = selective_scan(x, delta, A, B, C)
        halved, _ = selective_scan(x.bfloat16(), delta, A, B, C)
    assert torch.equal(found, expected)
    assert halved.dtype == torch.float32


def trial(**changes) -> TrialConfig:
    train = TrainConfig(
        steps=400, batch_size=64, eval_every=50, learning_rate=1e-2, dtype="bfloat16"
    )
    task = MQAR(seq_len=16, num_kv_pairs=4, vocab_size=128)
    model = ModelConfig(mixer=mixer("attention", qkv_conv=3), d_model=32, n_layers=1)
    return TrialConfig(task=task, model=model, train=train.replace(**changes))


def test_attention_recalls_in_mixed_precision():
    config = trial()
    result = run_trial(config)
    assert result.test[config.task.label].accuracy > 0.9
    assert {p.dtype for p in result.model.parameters()} == {torch.float32}
    assert config.key != trial(dtype="float32").key


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_a_population_in_mixed_precision_is_near_its_trials_alone():
    configs = [trial(steps=20, eval_every=10, learning_rate=rate) for rate in (3e-3, 1e-2)]
    for place, result in run_population(configs):
        alone = run_trial(configs[place])
        for ours, theirs in zip(result.history, alone.history, strict=True):
            assert ours.train_loss == pytest.approx(theirs.train_loss, rel=0.01)
