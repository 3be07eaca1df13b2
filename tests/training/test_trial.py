import warnings
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn
from without_clock import numbers

import recollect.training.trial as trial_module
from recollect.errors import UserError
from recollect.mixers.catalogue import mixer
from recollect.models.config import ModelConfig
from recollect.tasks.mixture import Mixture
from recollect.tasks.mqar import MQAR
from recollect.training.checkpoint import load_weights, save_weights
from recollect.training.config import Seeds, TrainConfig, TrialConfig
from recollect.training.device import resolve_device
from recollect.training.trial import run_trial, train

TASK = MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)
MODEL = ModelConfig(mixer="attention", d_model=32, n_layers=2, dropout=0.1)
TRAIN = TrainConfig(steps=40, batch_size=32, eval_every=10, valid_examples=64, test_examples=64)


def trial(**changes) -> TrialConfig:
    return TrialConfig(task=TASK, model=MODEL, train=TRAIN).replace(**changes)


def test_one_layer_of_attention_recalls_with_a_short_convolution_and_not_without():
    task = MQAR(seq_len=16, num_kv_pairs=4, vocab_size=128)
    steps = TrainConfig(learning_rate=1e-2, steps=400, batch_size=64, eval_every=50)
    with_conv, without = (
        train(
            ModelConfig(mixer=mixer("attention", qkv_conv=width), d_model=32, n_layers=1),
            task,
            steps,
            device="cpu",
        )
        for width in (3, 0)
    )
    assert with_conv.history[0].valid.accuracy < 0.5
    assert with_conv.test[task.label].accuracy > 0.9
    assert without.test[task.label].accuracy < 0.35


@pytest.mark.parametrize(
    ("model", "task", "named"), [(TASK, MODEL, "model=MQAR"), ("mamba", TASK, "model='mamba'")]
)
def test_what_is_no_model_is_named(model, task, named):
    with pytest.raises(UserError, match=named):
        train(model, task)


@pytest.mark.parametrize(
    ("mixer", "what"),
    [("attention", "learned positions"), ("log-linear-mamba2", "weights for long inputs")],
)
def test_tests_longer_than_training_are_told_of_what_they_use_untrained(mixer, what):
    model, longer = (
        ModelConfig(mixer=mixer, d_model=16),
        MQAR(seq_len=32, num_kv_pairs=2, vocab_size=64),
    )
    quick = TRAIN.replace(steps=1, eval_every=1)
    told = f"mqar-32x2-v64: longer than training, so some {what} of {mixer} were never trained"
    with pytest.warns(UserWarning, match=told):
        train(model, TASK, quick, test_tasks=[longer], device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(model, TASK, quick, test_tasks=[TASK.replace(num_kv_pairs=1)], device="cpu")
        train(
            ModelConfig(mixer="mamba", d_model=16), TASK, quick, test_tasks=[longer], device="cpu"
        )


@pytest.mark.parametrize("train_examples", [None, 100])
def test_a_resumed_trial_equals_an_uninterrupted_one(tmp_path: Path, train_examples):
    config = trial(train=TRAIN.replace(train_examples=train_examples))
    checkpoint = tmp_path / "checkpoint.safetensors"
    whole = run_trial(config)
    for until in (7, 20):
        part = run_trial(config, until=until, checkpoint=checkpoint)
        assert (part.status, part.step, part.test) == ("stopped", until, {})
        assert checkpoint.exists()
    resumed = run_trial(config, checkpoint=checkpoint)
    assert numbers(resumed) == numbers(whole)
    assert checkpoint.exists(), "until the outcome is stored"
    assert numbers(run_trial(config, checkpoint=checkpoint)) == numbers(whole)
    for a, b in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_long_work_is_saved_now_and_then(tmp_path: Path, monkeypatch):
    checkpoint = tmp_path / "checkpoint.safetensors"
    monkeypatch.setattr(trial_module, "CHECKPOINT_SECONDS", 0.0)

    class Killed(Exception):
        pass

    def kill(record):
        if record.step == 30:
            raise Killed

    with pytest.raises(Killed):
        run_trial(trial(), checkpoint=checkpoint, on_record=kill)
    monkeypatch.undo()
    seen = []
    result = run_trial(trial(), checkpoint=checkpoint, on_record=lambda r: seen.append(r.step))
    assert seen == [30, 40]
    assert numbers(result) == numbers(run_trial(trial()))


class Explodes(nn.Module):
    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(d_model))

    def forward(self, x):
        return x * self.scale * float("inf")


def test_divergence_is_an_outcome_and_no_crash():
    result = run_trial(trial(model=ModelConfig(mixer=Explodes, d_model=32)))
    assert result.status == "diverged"
    assert result.step == 1
    assert result.test == {}


def test_a_solved_task_ends_the_trial():
    result = run_trial(trial(train=TRAIN.replace(stop_accuracy=1e-6, learning_rate=1e-2)))
    assert result.status == "complete"
    assert result.step < TRAIN.steps
    assert TASK.label in result.test


def test_test_tasks_may_be_longer():
    longer = MQAR(seq_len=24, num_kv_pairs=3, vocab_size=64)
    result = run_trial(trial(test_tasks=(longer,)))
    assert set(result.test) == {TASK.label, longer.label}
    with pytest.raises(UserError, match="vocab_size=128"):
        trial(test_tasks=(MQAR(seq_len=24, num_kv_pairs=3, vocab_size=128),))


class Spelled(MQAR):
    """A user's task whose token ids stand for something."""

    alphabet: str

    @property
    def vocabulary(self) -> str:
        return self.alphabet


def test_tasks_of_a_trial_have_one_vocabulary():
    latin, greek = (
        Spelled(seq_len=length, num_kv_pairs=2, vocab_size=64, alphabet=alphabet)
        for length, alphabet in ((16, "latin"), (24, "greek"))
    )
    longer = latin.replace(seq_len=24)
    trial(task=latin, test_tasks=(longer, TASK.replace(seq_len=32)))
    with pytest.raises(UserError, match="has another tokenizer"):
        trial(task=latin, test_tasks=(greek,))
    Mixture(tasks=(TASK, latin, longer))
    with pytest.raises(UserError, match="need the same tokenizer"):
        Mixture(tasks=(TASK, latin, greek))
    with pytest.raises(UserError, match="has another tokenizer"):
        trial(task=Mixture(tasks=(TASK, latin)), test_tasks=(greek,))


def test_a_label_names_one_task():
    """Results are told apart by it."""
    longer = MQAR(seq_len=24, num_kv_pairs=3, vocab_size=64)
    other = Spelled(seq_len=24, num_kv_pairs=3, vocab_size=64, alphabet="latin")
    assert trial(test_tasks=(TASK, longer, longer)).test_tasks
    for tests in ((longer, other), (other.replace(seq_len=16, num_kv_pairs=2),)):
        with pytest.raises(UserError, match="two tasks have the label 'mqar-"):
            trial(test_tasks=tests)


def test_the_three_seeds_are_streams_of_their_own():
    base = trial().seeds
    results = {
        name: run_trial(trial(seeds=base.replace(**{name: 7}), train=TRAIN.replace(steps=10)))
        for name in ("data", "init", "order")
    }
    results["none"] = run_trial(trial(train=TRAIN.replace(steps=10)))
    assert len({r.history[-1].train_loss for r in results.values()}) == 4
    weights = {n: r.model.embedding.weight for n, r in results.items()}
    assert not torch.equal(weights["init"], weights["none"])


def test_a_trial_leaves_the_caller_s_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    run_trial(trial(train=TRAIN.replace(steps=2)))
    assert torch.equal(torch.rand(3), expected)


def test_key_holds_what_the_outcome_depends_on():
    base = trial()
    assert base.key == trial().key
    others = [
        trial(train=TRAIN.replace(learning_rate=1e-2)),
        trial(seeds=Seeds.of(7)),
        trial(task=MQAR(seq_len=16, num_kv_pairs=3, vocab_size=64)),
        trial(model=MODEL.replace(d_model=64)),
    ]
    assert len({base.key, *(other.key for other in others)}) == 5
    assert TrialConfig(**base.model_dump(mode="json")).key == base.key


def test_weights_survive_the_disk(tmp_path: Path):
    result = run_trial(trial())
    path = tmp_path / "weights.safetensors"
    save_weights(result.model, path)
    loaded = load_weights(trial(), path)
    batch = TASK.sample(4, seed=0)
    loaded.eval(), result.model.eval()
    expected = result.model(batch.inputs, batch.positions)
    assert torch.equal(loaded(batch.inputs, batch.positions), expected)


def test_damaged_weights_are_named(tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    save_weights(run_trial(trial(train=TRAIN.replace(steps=1))).model, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"weights\.safetensors is damaged"):
        load_weights(trial(), path)
    with pytest.raises(UserError, match="there is no"):
        load_weights(trial(), tmp_path / "absent.safetensors")


def test_a_full_disk_is_a_user_error(tmp_path: Path, monkeypatch):
    def fill_up(_tensors, path, _metadata):
        Path(path).write_bytes(b"...")
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("recollect.training.checkpoint.save_file", fill_up)
    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(UserError, match=r"cannot write .*checkpoint.* No space left"):
        run_trial(trial(), until=1, checkpoint=checkpoint)
    assert not list(tmp_path.iterdir())


def test_gradient_clipping_bounds_the_step():
    clipped = run_trial(trial(train=TRAIN.replace(grad_clip=1e-12, weight_decay=0.0)))
    free = run_trial(trial())
    assert clipped.history[-1].train_loss > free.history[-1].train_loss


@pytest.mark.parametrize("device", ["abacus", "meta", "mps", "cuda", "cuda:1"])
def test_a_device_that_is_not_there_is_a_user_error(device, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match=f"device='{device}'.*'cpu'"):
        run_trial(trial(), device=device)


def test_a_gpu_is_meant_by_its_number(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UserError, match=r"device='cuda:2'.*cuda:0 to cuda:1"):
        resolve_device("cuda:2")
