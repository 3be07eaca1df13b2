"""Every optimiser does what its paper says, alone, in a population and after an interruption."""

import math
import warnings
from pathlib import Path

import own_optimizers as own
import pytest
import torch
from torch import nn

import recollect as rc
from recollect.errors import UserError
from recollect.mixers.marks import no_decay
from recollect.training.checkpoint import build_model
from recollect.training.config import TrialConfig
from recollect.training.data import held_out
from recollect.training.evaluate import evaluate
from recollect.training.lion import Lion
from recollect.training.optimizer import evaluated_weights, hidden_matrices, make_optimizer
from recollect.training.optimizer_name import OPTIMIZERS
from recollect.training.population import run_population
from recollect.training.stack import Stack
from recollect.training.stacked_update import orthogonalised
from recollect.training.trial import run_trial

TASK = rc.MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16)
TRAIN = rc.TrainConfig(
    learning_rate=1e-2,
    steps=10,
    batch_size=4,
    eval_every=4,
    valid_examples=8,
    test_examples=8,
    schedule="constant",
)
OWN = Path(own.__file__)


def trial(optimizer="adamw", mixer="base-conv", seed=1, **train) -> TrialConfig:
    return TrialConfig(
        task=TASK,
        model=rc.ModelConfig(mixer=mixer, d_model=8, mlp="gelu", n_layers=1),
        train=TRAIN.replace(optimizer=optimizer, **train),
        seeds=rc.Seeds.of(seed),
    )


def weights(result):
    return [p.detach() for p in result.model.parameters()]


def assert_same(ours, theirs):
    assert [r.train_loss for r in ours.history] == [r.train_loss for r in theirs.history]
    assert (ours.test, ours.step) == (theirs.test, theirs.step)
    for p, q in zip(weights(ours), weights(theirs), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, own.rms, own.two_rates])
def test_a_trial_that_goes_on_gives_the_same_bits(optimizer, tmp_path):
    config, path = trial(optimizer), tmp_path / "checkpoint.safetensors"
    whole = run_trial(config)
    for until in (3, 4, 7):
        assert run_trial(config, until=until, checkpoint=path).step == until
    assert path.exists()
    assert_same(run_trial(config, checkpoint=path), whole)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_population_gives_what_each_gives_alone(optimizer, tmp_path):
    """Marks of Mamba's included. Muon's matrices are made orthogonal in bfloat16, which rounds to
    2^-9."""
    configs = [
        trial(optimizer, "mamba", i, dtype="float64", learning_rate=rate, weight_decay=decay)
        for i, rate, decay in [(1, 1e-2, 0.1), (2, 3e-3, 0.0), (3, 1e-3, 1.0)]
    ]
    paths = [tmp_path / f"{i}" for i in range(len(configs))]
    tolerance = 5e-4 if optimizer == "muon" else 1e-9
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*one model at a time")
        for _ in run_population(configs, until=5, checkpoints=paths):
            pass
        results = dict(run_population(configs, checkpoints=paths))
    for place, config in enumerate(configs):
        alone = run_trial(config)
        moved = weights(alone)[0] - build_model(config).embedding.weight.detach()
        assert moved.abs().max() > 10 * tolerance
        for p, q in zip(weights(results[place]), weights(alone), strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=tolerance)
        for ours, theirs in zip(results[place].history, alone.history, strict=True):
            assert ours.valid.loss == pytest.approx(theirs.valid.loss, abs=tolerance)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_models_that_are_taken_out_of_a_stack_leave_the_others_alone(optimizer):
    configs = [trial(optimizer, seed=seed, dtype="float64") for seed in (1, 2, 3)]
    rates = torch.tensor([1e-2, 1e-3, 3e-3], dtype=torch.float64)
    found = []
    for chosen in ([0, 1, 2], [2, 0]):
        models = [build_model(config) for config in configs]
        optimizers = [make_optimizer(m, c.train) for m, c in zip(models, configs, strict=True)]
        stack = Stack(models, optimizers, 0, torch.device("cpu"))
        places = [0, 1, 2]
        for step in range(4):
            if step == 2:
                stack.keep(chosen)
                places = chosen
            one = TASK.sample(4, seed=step)
            batch = rc.Batch(*(x.expand(len(places), *x.shape) for x in one.tensors().values()))
            stack.step(batch, stack.numbers([rates[places].tolist()])[0], configs[0].train)
            stack.steps += 1
        for row in range(len(places)):
            stack.write_back(row)
        found.append([models[place] for place in (0, 2)])
    for ours, theirs in zip(*found, strict=True):
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-9)


def test_the_default_is_no_part_of_a_key_and_others_are():
    assert "optimizer" not in trial().model_dump(mode="json")["train"]
    assert len({trial(each).key for each in (*OPTIMIZERS, own.rms, own.two_rates)}) == 7


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, own.rms])
def test_a_stored_config_is_read_back(optimizer):
    config = trial(optimizer)
    assert TrialConfig(**config.model_dump(mode="json")) == config


def test_an_unknown_name_lists_the_choices():
    with pytest.raises(UserError, match=r"unknown optimizer 'adam': did you mean 'adamw'.*lion"):
        trial("adam")


def test_schedule_free_refuses_a_schedule():
    with pytest.raises(UserError, match="set schedule='constant' first"):
        trial("schedule-free", schedule="cosine")


@pytest.mark.parametrize("optimizer", ["sgd", "lion"])
def test_betas_without_effect_are_refused(optimizer):
    with pytest.raises(UserError, match="have no effect"):
        trial(optimizer, betas=(0.9, 0.95))


def test_schedule_free_is_evaluated_on_its_average():
    """How often it is validated changes nothing in training."""
    config = trial("schedule-free")
    often, once = run_trial(config), run_trial(trial("schedule-free", eval_every=10))
    for p, q in zip(weights(often), weights(once), strict=True):
        assert torch.equal(p, q)
    assert often.history[-1].valid == once.history[-1].valid
    valid = held_out(TASK, TRAIN.valid_examples, config.seeds, "valid")
    assert evaluate(often.model, valid) == often.history[-1].valid


def test_schedule_free_averages_its_steps():
    """At a constant rate all steps weigh alike; between steps and average lie the weights at which
    gradients are taken."""
    point = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    model = nn.ParameterList([point])
    optimizer = make_optimizer(model, TRAIN.replace(optimizer="schedule-free", weight_decay=0.0))
    steps = []
    for scale in (1.0, 0.5, 2.0):
        point.grad = scale * torch.ones_like(point)
        optimizer.step()
        steps.append(optimizer.state[point]["z"].clone())
    trained, average = point.detach().clone(), torch.stack(steps).mean(0)
    with evaluated_weights(model, optimizer):
        torch.testing.assert_close(point.detach(), average)
    assert torch.equal(point, trained)
    torch.testing.assert_close(trained, 0.9 * average + 0.1 * steps[-1])


def test_lion_takes_steps_of_one_size():
    point = nn.Parameter(torch.tensor([1.0, -1.0, 2.0]))
    optimizer = Lion([point], lr=0.1, weight_decay=0.5)
    gradients = torch.tensor([[3.0, -0.01, 1.0], [-1.0, 0.02, -0.05]])
    for gradient in gradients:
        point.grad = gradient.clone()
        optimizer.step()
    momentum, theta = 0.01 * gradients[0], torch.tensor([1.0, -1.0, 2.0])
    theta = 0.95 * theta - 0.1 * gradients[0].sign()
    theta = 0.95 * theta - 0.1 * (0.9 * momentum + 0.1 * gradients[1]).sign()
    torch.testing.assert_close(point.detach(), theta)
    expected = 0.99 * momentum + 0.01 * gradients[1]
    torch.testing.assert_close(optimizer.state[point]["exp_avg"], expected)


def test_muon_has_the_linear_maps_of_the_blocks_and_adamw_all_else():
    model = build_model(trial("muon", mixer="hyena"))
    names = {id(p): name for name, p in model.named_parameters()}
    chosen = {names[id(p)] for p in hidden_matrices(model)}
    linear = {
        f"{name}.weight"
        for name, module in model.blocks.named_modules(prefix="blocks")
        if isinstance(module, nn.Linear)
    }
    assert chosen == linear
    assert "embedding.weight" not in chosen
    tables = {n for n, p in model.blocks.named_parameters() if p.ndim >= 2}
    assert "0.mixer.short_filter.weight" in tables - {n.removeprefix("blocks.") for n in chosen}
    assert "blocks.0.mixer.attention.in_proj_weight" in _chosen(Multihead)


def _chosen(mixer):
    model = build_model(trial("muon", mixer=mixer))
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)] for p in hidden_matrices(model)}


class Multihead(nn.Module):
    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(d_model, 1, batch_first=True)

    def forward(self, x):
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        return self.attention(x, x, x, attn_mask=mask, need_weights=False)[0]


@pytest.mark.parametrize("shape", [(48, 48), (24, 96), (96, 24)])
def test_a_step_of_muon_is_as_large_as_one_of_adamw(shape):
    """AdamW's are 0.2 to 0.4 of the rate (arXiv 2502.16982)."""
    model = nn.Module()
    model.blocks = nn.ModuleList([nn.Linear(shape[1], shape[0], bias=False)])
    model.embedding = nn.Embedding(2, 2)
    generator = torch.Generator().manual_seed(0)
    train = TRAIN.replace(optimizer="muon", learning_rate=0.1, weight_decay=0.0)
    optimizer = make_optimizer(model, train)
    weight = model.blocks[0].weight
    before = weight.detach().clone()
    weight.grad = torch.randn(shape, generator=generator)
    optimizer.step()
    size = (weight.detach() - before).square().mean().sqrt().item()
    assert 0.1 * 0.2 * 0.6 < size < 0.1 * 0.2 * 1.3


@pytest.mark.parametrize("shape", [(16, 16), (8, 24), (24, 8)])
def test_matrices_are_made_orthogonal_together_as_alone(shape):
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(3, *shape, generator=generator)
    points = [nn.Parameter(torch.zeros(shape)) for _ in gradients]
    alone = torch.optim.Muon(points, lr=1.0, weight_decay=0.0, momentum=0.0)
    for point, gradient in zip(points, gradients, strict=True):
        point.grad = gradient.clone()
    alone.step()
    together = orthogonalised(gradients, alone.param_groups[0]).float()
    scale = math.sqrt(max(1, shape[0] / shape[1]))  # of Muon without the scale of 2502.16982
    for point, ours in zip(points, together, strict=True):
        torch.testing.assert_close(-point.detach() / scale, ours, rtol=0, atol=0.02)


class Spared(nn.Module):
    """A vector that no gradient moves, and that must not decay."""

    def __init__(self, d_model: int, rate: float | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)
        self.spared, self.decayed = (nn.Parameter(torch.ones(d_model)) for _ in range(2))
        no_decay(self.spared)
        if rate is not None:
            self.spared._optim = {"lr": rate, "weight_decay": 0.0}

    def forward(self, x):
        return self.linear(x.cumsum(1)) + 0.0 * (self.spared + self.decayed)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, own.rms])
def test_what_is_marked_is_not_decayed(optimizer):
    result = run_trial(trial(optimizer, mixer=Spared, weight_decay=1.0))
    mixer = result.model.layers[0].mixer
    assert torch.equal(mixer.spared.detach(), torch.ones(8))
    assert mixer.decayed.detach().max() < 0.99


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, own.rms])
def test_a_fixed_rate_holds_or_is_refused(optimizer):
    config = trial(optimizer, mixer=rc.mixer(Spared, rate=1e-4))
    if optimizer in ("sgd", "lion"):
        with pytest.raises(UserError, match=r"spared at 0.0001, which is meant for AdamW"):
            run_trial(config)
        return
    model = build_model(config)
    groups = make_optimizer(model, config.train).param_groups
    spared = model.layers[0].mixer.spared
    (own_rate,) = [g["own_rate"] for g in groups if any(p is spared for p in g["params"])]
    assert own_rate == 1e-4


def test_muon_without_matrices_is_refused():
    class Sums(nn.Module):
        def forward(self, x):
            return x.cumsum(1)

    model = nn.Module()
    model.blocks, model.embedding = nn.ModuleList([Sums()]), nn.Embedding(2, 2)
    with pytest.raises(UserError, match=r"this model has none: use 'adamw'"):
        make_optimizer(model, TRAIN.replace(optimizer="muon"))


@pytest.mark.parametrize("optimizer", ["lion", "schedule-free"])
def test_complex_parameters_are_refused_where_they_would_be_trained_wrongly(optimizer):
    model = nn.ParameterList([nn.Parameter(torch.ones(2, dtype=torch.complex64))])
    with pytest.raises(UserError, match="is complex"):
        make_optimizer(model, TRAIN.replace(optimizer=optimizer))


def test_a_user_s_optimiser_may_be_named_by_its_file():
    named = trial(f"{OWN}:rms")
    assert named.key == trial(own.rms).key
    (stored,) = {named.model_dump(mode="json")["train"]["optimizer"]}
    assert stored.startswith("own_optimizers:rms#")


def test_the_source_of_a_user_s_optimiser_is_in_the_key(tmp_path):
    keys = set()
    for name, decay in (("one", 0.0), ("two", 0.5)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "mine_opt.py").write_text(
            "from torch import optim\n\ndef make(model, config):\n"
            f"    return optim.SGD(model.parameters(), config.learning_rate, momentum={decay})\n"
        )
        keys.add(trial(f"{folder}/mine_opt.py:make").key)
    assert len(keys) == 2


def test_groups_of_a_user_s_optimiser_keep_their_ratio():
    """Of 1 to 10, through the warm-up."""
    config = trial(own.two_rates, steps=1, warmup=1.0, learning_rate=1e-3)
    model = build_model(config)
    groups = make_optimizer(model, config.train).param_groups
    assert [group["own_rate"] for group in groups] == [None, pytest.approx(1e-2)]
    moved = [
        (p - q).abs().max().item()
        for rate in (1e-3, 1e-2)
        for p, q in [
            (
                run_trial(trial(own.two_rates, steps=1, learning_rate=rate)).model.norm.weight,
                torch.ones(8),
            )
        ]
    ]
    assert moved[1] == pytest.approx(10 * moved[0], rel=1e-2)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (own.fixed_rate, r"lr=\[0.123\], none of them the trial's 0.01"),
        (own.closure, "LBFGS.step.* needs a closure"),
        (own.leaves_out, r"leaves out embedding\.weight"),
        (own.changes_weights, "changes weights before training"),
        (own.nothing, "returned a Linear"),
        (own.raises, "ZeroDivisionError: a bug"),
    ],
)
def test_a_user_s_optimiser_that_would_train_otherwise_is_refused(function, message):
    with pytest.raises(UserError, match=message):
        run_trial(trial(function))


@pytest.mark.parametrize(
    ("function", "changes", "message"),
    [
        (own.no_decay, {"weight_decay": 0.3}, r"weight_decay=\[0\], none of them the trial's 0.3"),
        (own.two_rates, {"betas": (0.8, 0.9)}, r"betas=\[None, None\], none of them .*0.8, 0.9"),
        (own.no_betas, {"betas": (0.8, 0.9)}, r"betas=\[\(0.9, 0.999\)\], none of them"),
    ],
)
def test_a_user_s_optimiser_that_ignores_settings_is_refused(function, changes, message):
    config = trial(function, **changes)
    with pytest.raises(UserError, match=message):
        make_optimizer(build_model(config), config.train)


def test_a_user_s_optimiser_may_take_part_of_the_settings():
    for function, changes in (
        (own.no_decay, {"weight_decay": 0.0, "betas": (0.8, 0.9)}),
        (own.two_rates, {"weight_decay": 0.3}),
    ):
        config = trial(function, **changes)
        make_optimizer(build_model(config), config.train)


def test_a_user_s_optimiser_that_breaks_a_mark_is_refused():
    with pytest.raises(UserError, match=r"decays blocks.0.mixer.spared by 0.1.*parameter_groups"):
        run_trial(trial(own.decays_all, mixer=Spared))


def test_what_is_no_function_is_refused():
    with pytest.raises(UserError, match="is not a function"):
        trial(f"{OWN}:Counting")


def test_a_user_s_optimiser_is_trained_one_model_at_a_time():
    configs = [trial(own.rms, seed=seed) for seed in (1, 2)]
    with pytest.warns(UserWarning, match=r"one model at a time: .*a user's function, .*rms"):
        results = dict(run_population(configs))
    assert_same(results[1], run_trial(configs[1]))


def test_an_optimiser_that_hides_what_it_keeps_is_not_saved(tmp_path):
    config, path = trial(own.counting), tmp_path / "checkpoint.safetensors"
    with pytest.warns(UserWarning, match=r"cannot be checkpointed.*its optimiser changes steps"):
        run_trial(config, until=3, checkpoint=path)
    assert not path.exists()
    assert_same(run_trial(config, checkpoint=path), run_trial(config))


@pytest.mark.parametrize("betas", [(0.9, 1.5), (-0.1, 0.9), (1.0, 0.9)])
def test_betas_are_from_0_to_below_1(betas):
    with pytest.raises(rc.UserError, match="expected two numbers from 0 to below 1"):
        rc.TrainConfig(betas=betas)
