"""Metrics besides loss and accuracy: a task's own, and a user's functions."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import Tensor

import recollect as rc
from recollect.tasks.batch import Batch
from recollect.tasks.metric import Metric
from recollect.training.checkpoint import build_model
from recollect.training.data import held_out
from recollect.training.evaluate import evaluate
from recollect.training.population import run_population
from recollect.training.result import Metrics
from recollect.training.trial import run_trial

TASK = rc.MQAR(seq_len=16, num_kv_pairs=3, vocab_size=32)
MODEL = rc.ModelConfig(mixer="attention", d_model=8, n_layers=1)
TRAIN = rc.TrainConfig(steps=8, batch_size=8, eval_every=4, valid_examples=20, test_examples=20)


@rc.register_metric("first_answer")
def first_answer(logits: Tensor, batch: Batch) -> Tensor:
    """Whether the first query of an example is answered right."""
    return (logits[:, 0].argmax(dim=-1) == batch.targets[:, 0]).float()


@rc.register_metric("loss_on_even", lower_is_better=True, guess=math.log(32))
def loss_on_even(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """The mean loss on answers that are even numbers: none, one or several in an example."""
    loss = -logits.log_softmax(dim=-1).gather(2, batch.targets[:, :, None])[:, :, 0]
    even = (batch.targets % 2 == 0).float()
    return (loss * even).sum(dim=1), even.sum(dim=1)


def entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Of the answers."""
    log_p = logits.log_softmax(dim=-1)
    return -(log_p.exp() * log_p).sum(dim=-1).mean(dim=1)


class Marked(rc.MQAR):
    """Notes which answers are to the key that comes first, and measures them apart."""

    name = "marked"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("of_first_key", _of_first_key),)

    def sample(self, n: int, seed: int) -> Batch:
        batch = super().sample(n, seed)
        marks = (batch.inputs.gather(1, batch.positions) == batch.inputs[:, :1]).long()
        return Batch(batch.inputs, batch.positions, batch.targets, marks)


def _of_first_key(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    right = (logits.argmax(dim=-1) == batch.targets).float()
    return (right * batch.marks).sum(dim=1), batch.marks.sum(dim=1)


def trial(train: rc.TrainConfig = TRAIN, task: rc.Task = TASK, **changes) -> rc.TrialConfig:
    return rc.TrialConfig(task=task, model=MODEL, train=train.replace(**changes))


def test_values_and_errors_are_those_of_the_definition():
    """A mean over examples; where these have several parts, over all parts, the error by the
    examples."""
    config = trial(metrics=[first_answer, loss_on_even, entropy])
    model = build_model(config).eval()
    batches = held_out(TASK, 20, config.seeds, "valid")
    found = evaluate(model, batches, config.metrics_on(TASK))
    assert list(found.further) == ["first_answer", "loss_on_even", "entropy"]
    (batch,) = batches
    with torch.no_grad():
        logits = model(batch.inputs, batch.positions)
    values = entropy(logits, batch).double()
    measure = found.further["entropy"]
    assert measure.value == pytest.approx(values.mean().item(), rel=1e-6)
    assert measure.error == pytest.approx(values.std().item() / math.sqrt(20), rel=1e-4)
    sums, counts = (each.double() for each in loss_on_even(logits, batch))
    mean = (sums.sum() / counts.sum()).item()
    residuals = (sums - mean * counts).square().sum().item()
    measure = found.further["loss_on_even"]
    assert measure.value == pytest.approx(mean, rel=1e-6)
    expected = math.sqrt(residuals * 20 / 19) / counts.sum().item()
    assert measure.error == pytest.approx(expected, rel=1e-4)
    assert measure.lower_is_better
    assert not found.further["first_answer"].lower_is_better


def test_what_no_example_has_is_no_number():
    never = Metric("never", lambda logits, _: (logits[:, 0, 0] * 0, logits[:, 0, 0] * 0))
    config = trial()
    found = evaluate(build_model(config), held_out(TASK, 4, config.seeds, "valid"), [never])
    assert math.isnan(found.further["never"].value)
    assert found.further["never"].error is None


def test_the_rest_is_the_same_to_the_bit_with_them():
    plain, more = run_trial(trial()), run_trial(trial(metrics=["first_answer", entropy]))
    assert plain.valid is not None
    assert more.valid is not None
    assert set(more.valid.further) == {"first_answer", "entropy"}
    for a, b in zip(plain.history, more.history, strict=True):
        assert (a.train_loss, a.valid.loss) == (b.train_loss, b.valid.loss)
        assert a.valid.accuracy_error == b.valid.accuracy_error


def test_a_population_measures_what_its_models_do_alone():
    configs = [trial(metrics=[loss_on_even], learning_rate=rate) for rate in (1e-3, 1e-2)]
    together = dict(run_population(configs))
    for place, config in enumerate(configs):
        alone = run_trial(config)
        for ours, theirs in zip(together[place].history, alone.history, strict=True):
            ours, theirs = (each.valid.further["loss_on_even"] for each in (ours, theirs))
            assert ours.value == pytest.approx(theirs.value, rel=1e-4)
            assert ours.error == pytest.approx(theirs.error, rel=1e-3)


def test_one_that_writes_into_what_it_is_given_changes_nothing():
    def overwriting(logits: Tensor, batch: Batch) -> Tensor:
        batch.targets.zero_()
        batch.inputs.zero_()
        return logits.zero_()[:, 0, 0]

    config = trial()
    model, batches = build_model(config), held_out(TASK, 20, config.seeds, "valid")
    further = (Metric("overwriting", overwriting), *trial(metrics=[entropy]).metrics_on(TASK))
    plain, found = evaluate(model, batches, further[1:]), evaluate(model, batches, further)
    assert found.further["entropy"] == plain.further["entropy"]
    assert evaluate(model, batches, further[1:]) == plain


def test_a_checkpoint_keeps_them(tmp_path: Path):
    config, path = trial(metrics=[entropy], valid_examples=40), tmp_path / "checkpoint.safetensors"
    run_trial(config, until=4, checkpoint=path)
    resumed, whole = run_trial(config, checkpoint=path), run_trial(config)
    assert [each.valid for each in resumed.history] == [each.valid for each in whole.history]
    assert all(each.valid.loss_groups for each in resumed.history)
    assert resumed.test == whole.test


def test_metrics_that_older_versions_wrote_have_no_groups():
    plain = asdict(Metrics(1.0, 0.5, 0.5, loss_groups=(1.0, 2.0)))
    assert Metrics.of(json.loads(json.dumps(plain))).loss_groups == (1.0, 2.0)
    del plain["loss_groups"]
    assert Metrics.of(plain).loss_groups == ()


def test_a_task_measures_by_what_it_notes_of_its_answers():
    task = Marked(seq_len=16, num_kv_pairs=3, vocab_size=32)
    configs = [trial(task=task, learning_rate=rate) for rate in (1e-3, 1e-2)]
    (result, _) = dict(run_population(configs)).values()
    assert 0 <= result.test[task.label].further["of_first_key"].value <= 1
    batch = task.sample(6, seed=0)
    assert (batch.marks.sum(dim=1) == 1).all()
    assert torch.equal(batch[2:4].to("cpu").marks, batch.marks[2:4])
    assert trial(task=task).metrics_on(task)[0].name == "of_first_key"


def test_keys_know_the_source_of_a_user_s_metric(tmp_path: Path):
    """And do not change where there are none."""
    file = tmp_path / "own_metrics.py"
    file.write_text("def mean(logits, batch):\n    return logits.mean(dim=(1, 2))\n")
    config = trial(metrics=[f"{file}:mean"])
    (stored,) = config.model_dump(mode="json")["train"]["metrics"]
    assert stored.startswith("own_metrics:mean#")
    assert "metrics" not in trial().model_dump(mode="json")["train"]
    assert config.key != trial().key
    assert rc.TrialConfig(**config.model_dump(mode="json")).key == config.key
    changed = stored[:-1] + ("0" if stored[-1] != "0" else "1")
    with pytest.raises(rc.UserError, match=r"cannot import|has changed"):
        trial(metrics=[changed])


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["first_anser"], "first_answer"),
        ([3], "expected a metric's name, a function, or file.py:function"),
        ([first_answer, "first_answer"], "two metrics have the name 'first_answer'"),
        (["absent.py:f"], "absent"),
    ],
)
def test_what_names_no_metric_is_refused(metrics, message):
    with pytest.raises(rc.UserError, match=message):
        trial(metrics=metrics)


@pytest.mark.parametrize(
    "name", ["loss", "learning_rate", "a b", "", "1st", "x_min", "accuracy_max", "é", "caf\u00e9"]
)
def test_names_that_a_metric_cannot_have(name):
    """And such a name is not registered by half."""
    for _ in range(2):
        with pytest.raises(rc.UserError, match="expected a letter"):
            rc.register_metric(name)(entropy)
    with pytest.raises(rc.UserError, match="unknown metric"):
        trial(metrics=[name])


def test_a_single_metric_is_taken_too():
    assert trial(metrics="first_answer").key == trial(metrics=["first_answer"]).key
    assert trial(metrics=entropy).key == trial(metrics=[entropy]).key
    with pytest.raises(rc.UserError, match="unknown metric 'x'"):
        trial(metrics="x")


def test_a_name_is_registered_once():
    rc.register_metric("first_answer")(first_answer)
    with pytest.raises(rc.UserError, match="already registered"):
        rc.register_metric("first_answer")(entropy)


def test_a_metric_that_is_defined_again_runs_as_it_is_now(monkeypatch):
    """As when the cell of a notebook is edited, with the decorator or without."""

    def constant(value: float):
        def steady(logits: Tensor, batch: Batch) -> Tensor:
            return torch.full((len(batch),), value)

        steady.__qualname__ = "steady"
        monkeypatch.setitem(globals(), "steady", steady)
        return steady

    rc.register_metric("steady_value")(constant(0.25))
    redefined = constant(0.75)
    (metric,) = trial(metrics=redefined).own_metrics
    assert metric.name == "steady_value"
    found = run_trial(trial(metrics=redefined))
    assert found.test[TASK.label].further["steady_value"].value == 0.75


@pytest.mark.parametrize(
    "wrong", [lambda logits, _: logits.mean(), lambda logits, _: logits[:, 0], lambda *_: 0.5]
)
def test_a_metric_that_does_not_give_a_number_for_each_example(wrong):
    config = trial()
    with pytest.raises(rc.UserError, match=r"the metric mine returns .* for 20 examples"):
        evaluate(
            build_model(config), held_out(TASK, 20, config.seeds, "valid"), [Metric("mine", wrong)]
        )
