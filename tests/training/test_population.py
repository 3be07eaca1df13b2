"""A population gives every model what it gets alone."""

import warnings
from pathlib import Path

import pytest
import torch
from changing_mixers import CHANGING, UNTRAINED, HidesLayers, SharesALayer, StartsAnew
from torch import nn

import recollect.training.population as population_module
from recollect.errors import UserError
from recollect.mixers.catalogue import MIXERS, mixer
from recollect.mixers.patterns import PATTERNS
from recollect.models.config import ModelConfig
from recollect.tasks.copying import Copy
from recollect.tasks.mixture import Mixture
from recollect.tasks.mqar import MQAR
from recollect.training.config import Seeds, TrainConfig, TrialConfig
from recollect.training.evaluate import GROUPS, LOGITS_AT_ONCE
from recollect.training.population import run_population
from recollect.training.trial import run_trial

TASK = MQAR(seq_len=16, num_kv_pairs=2, vocab_size=32)
TRAIN = TrainConfig(
    steps=6,
    batch_size=4,
    eval_every=3,
    valid_examples=8,
    test_examples=8,
    grad_clip=1.0,
    dtype="float64",
)


def trials(mixer_name="mamba", **changes) -> list[TrialConfig]:
    """Three that differ in all that trials of one program may differ in."""
    model = ModelConfig(mixer=mixer_name, d_model=8)
    first = TrialConfig(**({"task": TASK, "model": model, "train": TRAIN} | changes))
    own = [(42, 3e-3, 0.1), (42, 3e-2, 0.0), (7, 1e-2, 1.0)]
    return [
        first.replace(
            seeds=Seeds.of(seed),
            train=first.train.replace(learning_rate=rate, weight_decay=decay),
        )
        for seed, rate, decay in own
    ]


@pytest.fixture(autouse=True)
def _as_one():
    """A population that is not trained as one is an error, but for attention's kernel: PyTorch has
    none on the CPU that takes several models."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*one model at a time")
        warnings.filterwarnings("ignore", "There is a performance drop")
        yield


def together(configs, **options):
    """The results of a population, in the order of the trials."""
    results = dict(run_population(configs, **options))
    return [results[place] for place in range(len(configs))]


def assert_alike(together, alone):
    assert (together.key, together.status, together.step) == (alone.key, alone.status, alone.step)
    assert together.parameters == alone.parameters
    assert len(together.history) == len(alone.history)
    for ours, theirs in zip(together.history, alone.history, strict=True):
        assert (ours.step, ours.learning_rate) == (theirs.step, theirs.learning_rate)
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-8)
        assert_same_metrics(ours.valid, theirs.valid)
    assert together.test.keys() == alone.test.keys()
    for label in alone.test:
        assert_same_metrics(together.test[label], alone.test[label])
    if alone.status == "diverged":
        return
    for ours, theirs in zip(together.model.parameters(), alone.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


def assert_same_metrics(ours, theirs):
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-8)
    assert (ours.accuracy, ours.example_accuracy) == (theirs.accuracy, theirs.example_accuracy)
    assert ours.loss_groups == pytest.approx(theirs.loss_groups, rel=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MIXERS, *PATTERNS])
def test_each_model_is_what_it_is_alone(name):
    configs = trials(name)
    for result, config in zip(together(configs), configs, strict=True):
        assert_alike(result, run_trial(config))


@pytest.mark.parametrize(
    "recipe",
    [
        {"mlp": "gelu", "short_conv": 3, "norm": "rmsnorm"},
        {"tie_embedding": False, "positions": "learned", "mlp": "swiglu"},
    ],
)
def test_surroundings_are_stacked_too(recipe):
    configs = trials(model=ModelConfig(mixer="base-conv", d_model=8, **recipe))
    for result, config in zip(together(configs), configs, strict=True):
        assert_alike(result, run_trial(config))


@pytest.mark.parametrize(
    "task",
    [TASK, Mixture(tasks=(TASK, TASK.replace(seq_len=20))), Copy(min_length=2, max_length=4)],
)
@pytest.mark.parametrize("train_examples", [None, 10])
def test_every_kind_of_data(task, train_examples):
    """Ten examples make batches of 4, 4 and 2; the lengths of a mixture differ over the seeds."""
    configs = trials(task=task, train=TRAIN.replace(train_examples=train_examples))
    for result, config in zip(together(configs), configs, strict=True):
        assert_alike(result, run_trial(config))


@pytest.mark.parametrize("task", [TASK, Mixture(tasks=(TASK, TASK.replace(seq_len=20)))])
def test_groups_of_examples_are_the_same_in_parts_of_any_size(task, monkeypatch):
    """Parts of five examples do not begin at the first group."""
    configs = trials("gla", task=task, train=TRAIN.replace(valid_examples=37))
    alone = [run_trial(config) for config in configs]
    monkeypatch.setitem(LOGITS_AT_ONCE, "cpu", 5 * 2 * task.vocab_size * len(configs))
    for result, other in zip(together(configs), alone, strict=True):
        assert len(result.valid.loss_groups) == GROUPS
        assert len({*result.valid.loss_groups}) == GROUPS
        assert_alike(result, other)


def test_a_population_may_stop_and_go_on_in_any_company(tmp_path: Path):
    configs = trials()
    paths = [tmp_path / f"{i}.safetensors" for i in range(len(configs))]
    stopped = together(configs, until=2, checkpoints=paths)
    assert [(r.status, r.step, r.test) for r in stopped] == [("stopped", 2, {})] * 3
    alone = run_trial(configs[0], until=4, checkpoint=paths[0])
    assert (alone.status, alone.step) == ("stopped", 4)
    seen = []
    ended = together(
        configs,
        checkpoints=paths,
        on_record=lambda place, record: seen.append((place, record.step)),
    )
    assert sorted(seen) == [(0, 6), (1, 3), (1, 6), (2, 3), (2, 6)]
    for result, config in zip(ended, configs, strict=True):
        assert_alike(result, run_trial(config))
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}


def test_long_work_is_saved_now_and_then(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(population_module, "CHECKPOINT_SECONDS", 0.0)
    configs = trials()
    paths = [tmp_path / f"{i}.safetensors" for i in range(len(configs))]

    def kill(place, record):
        if (place, record.step) == (2, 6):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together(configs, checkpoints=paths, on_record=kill)
    monkeypatch.undo()
    for config, path in zip(configs, paths, strict=True):
        records = []
        run_trial(config, checkpoint=path, on_record=records.append)
        assert [record.step for record in records] == [6], "the first half is not done again"


def test_who_ends_early_leaves_the_others_alone():
    """One diverges; one has reached its accuracy at the first validation."""
    configs = trials(model=ModelConfig(mixer=ExplodesAtHighRates, d_model=8))
    configs[1] = configs[1].replace(train=configs[1].train.replace(learning_rate=1e6))
    configs = [c.replace(train=c.train.replace(steps=9, stop_accuracy=1e-9)) for c in configs]
    alone = [run_trial(config) for config in configs]
    assert "diverged" in [result.status for result in alone]
    ended = list(run_population(configs))
    for place, result in ended:
        assert_alike(result, alone[place])
    steps = [result.step for _, result in ended]
    assert steps == sorted(steps)
    assert len(set(steps)) > 1


class ExplodesAtHighRates(nn.Module):
    """A mixer of a user's, plain."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(d_model))

    def forward(self, x):
        return (x @ self.weight).exp()


class LooksAtItsNumbers(nn.Module):
    """A mixer whose way depends on values, which no program for several models can follow."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.linear(x) if x.sum().item() > 0 else -self.linear(x)


class KeepsAParameter(nn.Module):
    """A mixer with weights that are not trained."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)
        self.scale = nn.Parameter(torch.full((d_model,), 2.0), requires_grad=False)

    def forward(self, x):
        return self.linear(x * self.scale)


class InEvaluationLooksAtItsNumbers(LooksAtItsNumbers):
    def forward(self, x):
        return self.linear(x) if self.training else super().forward(x)


class Holds(nn.Module):
    def __init__(self, d_model: int, scales: tuple[float, ...] = (1.0, 2.0)) -> None:
        super().__init__()
        self.linear, self.scales, self.nothing = nn.Linear(d_model, d_model), scales, float("nan")
        self.table = {"ones": torch.ones(d_model), "nan": torch.full((2,), float("nan"))}
        self.rng, self.act, self.myself = torch.Generator(), torch.tanh, [self]

    def forward(self, x):
        return self.act(self.linear(x)) * self.table["ones"].to(x.dtype) * self.scales[1]


class LeavesAParameterOut(nn.Module):
    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.used(x)


class DrawsRandomNumbers(nn.Module):
    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(d_model, d_model), nn.Dropout(0.1)

    def forward(self, x):
        return self.dropout(self.linear(x))


@pytest.mark.parametrize(
    "model",
    [
        ModelConfig(mixer="gla", d_model=8, dropout=0.3),
        ModelConfig(mixer=mixer("attention", dropout=0.3), d_model=8, dropout=0.1),
        ModelConfig(mixer=mixer("sliding-window", window=2, dropout=0.3), d_model=8),
    ],
    ids=lambda model: model.label,
)
def test_each_model_has_the_masks_of_dropout_that_it_has_alone(model):
    configs = trials(model=model)
    for result, config in zip(together(configs), configs, strict=True):
        alone = run_trial(config)
        assert_alike(result, alone)
    without = run_trial(config.replace(model=ModelConfig(mixer="gla", d_model=8)))
    assert without.history[-1].train_loss != alone.history[-1].train_loss


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (ModelConfig(mixer=LooksAtItsNumbers, d_model=8), "item"),
        (ModelConfig(mixer=InEvaluationLooksAtItsNumbers, d_model=8), "item"),
        (ModelConfig(mixer=KeepsAParameter, d_model=8), "scale is not trained"),
        (ModelConfig(mixer=LeavesAParameterOut, d_model=8), "appears to not have been used"),
        (ModelConfig(mixer=DrawsRandomNumbers, d_model=8), "random"),
    ],
)
def test_what_cannot_be_stacked_is_trained_alone_and_says_so(model, reason):
    configs = trials(model=model)
    with pytest.warns(UserWarning, match=f"one model at a time.*{reason}"):
        results = together(configs)
    for result, config in zip(results, configs, strict=True):
        assert_alike(result, run_trial(config))


@pytest.mark.parametrize(("cls", "name"), CHANGING.items(), ids=lambda value: str(value)[-30:])
def test_a_model_that_changes_itself_is_trained_alone(cls, name):
    task = Copy(min_length=2, max_length=4)
    configs = trials(task=task, model=ModelConfig(mixer=cls, d_model=8, n_layers=1))
    said = (
        rf"{cls.__name__} is trained one model at a time: .* changes blocks\.0\.mixer\.{name}(\.|$)"
    )
    with pytest.warns(UserWarning, match=said):
        results = together(configs)
    for result, config in zip(results, configs, strict=True):
        assert_alike(result, run_trial(config))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_that_keeps_what_it_holds_is_trained_in_company(dtype):
    """Tables, options and random generators that stand still are no change."""
    configs = trials(
        model=ModelConfig(mixer=Holds, d_model=8), train=TRAIN.replace(dtype=dtype, steps=1)
    )
    assert len(together(configs)) == len(configs)  # a warning is an error here


@pytest.mark.parametrize(("cls", "name"), UNTRAINED.items())
@pytest.mark.parametrize("train", [together, lambda configs: run_trial(configs[0])])
def test_a_parameter_that_no_optimiser_knows_is_an_error(cls, name, train):
    warnings.simplefilter("ignore")
    with pytest.raises(
        UserError, match=rf"blocks\.0\.mixer\.{name} was created, or its requires_grad set"
    ):
        train(trials(model=ModelConfig(mixer=cls, d_model=8)))


@pytest.mark.parametrize("train", [together, lambda configs: run_trial(configs[0])])
def test_weights_that_are_no_parameters_are_an_error(train):
    warnings.simplefilter("ignore")
    with pytest.raises(UserError, match=r"depends on 4 tensors .* nn\.ModuleList"):
        train(trials(model=ModelConfig(mixer=HidesLayers, d_model=8, n_layers=2)))


@pytest.mark.parametrize("train", [together, lambda configs: run_trial(configs[0])])
def test_weights_that_models_share_are_an_error(train):
    warnings.simplefilter("ignore")
    with pytest.raises(UserError, match=r"two new models share blocks\.0\.mixer\.first\.weight"):
        train(trials(model=ModelConfig(mixer=SharesALayer, d_model=8)))


def test_what_a_call_makes_for_itself_is_no_weight():
    (config, *_) = trials(model=ModelConfig(mixer=StartsAnew, d_model=8))
    assert run_trial(config).status == "complete"


def test_shapes_may_differ():
    configs = [*trials(), *trials("s6"), *trials()[:1]]
    for result, config in zip(together(configs), configs, strict=True):
        assert_alike(result, run_trial(config))


def test_it_leaves_the_caller_s_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    together(trials())
    assert torch.equal(torch.rand(3), expected)
