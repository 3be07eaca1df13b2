"""MAD's table of settings, and the metrics of its recall tasks."""

from __future__ import annotations

import torch
from torch.nn.functional import one_hot

from recollect.tasks.mad import LEARNING_RATES, mad_settings
from recollect.tasks.task import Task, task


def test_the_table_is_that_of_the_paper() -> None:
    settings = mad_settings()
    counts = {name: len(of_task) for name, of_task in settings.items()}
    assert counts == {
        "in-context-recall": 11,
        "noisy-in-context-recall": 14,
        "fuzzy-in-context-recall": 11,
        "selective-copying": 13,
        "compression": 11,
        "memorization": 6,
    }
    assert sum(counts.values()) * len(LEARNING_RATES) * 2 == 396  # two weight decays
    every = [setting for of_task in settings.values() for setting in of_task]
    assert len({(setting.task.label, setting.train_examples) for setting in every}) == 66
    assert settings["noisy-in-context-recall"][0].task == task(
        "in-context-recall", vocab_size=32, noise_vocab_size=16, frac_noise=0.2
    )
    assert {setting.steps for setting in every} == {20_000, 10_000, 5000, 2600, 1400, 400}
    for setting in every:
        assert setting.task.sample(1, seed=0).inputs.shape == (1, setting.task.max_len)


def measured(recall: Task, answers: torch.Tensor, seed: int) -> float:
    (metric,) = recall.metrics
    batch = recall.sample(len(answers), seed)
    values, weights = metric.sums(one_hot(answers, recall.vocab_size).float(), batch)
    return float(values.sum() / weights.sum())


def test_recall_is_measured_where_a_key_was_read_before() -> None:
    for recall in (task("in-context-recall", seq_len=32), task("fuzzy-in-context-recall")):
        batch = recall.sample(300, seed=0)
        assert batch.marks is not None
        assert (batch.marks[:, -1] == 1).all()  # the last pair comes again
        assert measured(recall, batch.targets, seed=0) == 1
        only_marked = torch.where(batch.marks > 0, batch.targets, 0)
        assert measured(recall, only_marked, seed=0) == 1
        only_others = torch.where(batch.marks > 0, 0, batch.targets)
        assert measured(recall, only_others, seed=0) < 0.02  # 0 begins keys


def test_noise_has_its_share() -> None:
    recall = task("in-context-recall", vocab_size=32, noise_vocab_size=16, frac_noise=0.6)
    inputs = recall.sample(400, seed=0).inputs[:, :-1]
    assert abs(float((inputs >= 16).double().mean()) - 0.6 * 62 / 63) < 0.01
    assert (inputs[:, ::2] >= 16).equal(inputs[:, 1::2] >= 16)


def test_fuzzy_keys_have_any_length_in_training_and_the_largest_in_tests() -> None:
    fuzzy = task("fuzzy-in-context-recall", seq_len=60)
    lengths = {}
    for part in ("train", "test"):
        inputs = fuzzy.split(part).sample(50, seed=0).inputs.tolist()
        kinds = [("".join(fuzzy.spell(token)[0] for token in tokens)) for tokens in inputs]
        runs = [run for text in kinds for run in text.replace(".", "v").split("v") if run]
        lengths[part] = {len(run) for run in runs}
    assert lengths == {"train": {1, 2, 3}, "test": {3}}
