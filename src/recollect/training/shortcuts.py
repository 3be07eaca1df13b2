"""Ways to answer the test examples of a user's task without recall.

Test examples that the training has too can be answered from memory. If a guess that reads nothing
is right more often than the stated chance level, a model that has learnt no more seems to recall.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from recollect.identity import is_ours
from recollect.seeding import derive_seed
from recollect.tasks.batch import Batch
from recollect.tasks.task import Task
from recollect.training.config import TrainConfig

TRAINING, TEST = 2048, 512
"""The most examples that are drawn to look for shortcuts."""
TRAINING_SEED, TEST_SEED = (derive_seed("shortcuts", split) for split in ("train", "test"))
KNOWN = 0.1
"""A share of test examples that the whole training would have; from here on a warning is given."""
FEWEST = 3
"""Fewer equal examples are put down to chance."""
ERRORS = 4.0
"""Standard errors by which a guess must be better than the chance level."""


def warn_of_shortcuts(task: Task, train: TrainConfig) -> None:
    """Warn of shortcuts in a user's task, or in the user's parts of a mixture.

    Args:
        task: a task for training and testing, whose examples have been checked.
        train: how models are trained on it.
    """
    for each in {id(part): part for part in (task, *task.components)}.values():
        if not is_ours(type(each)):
            drawn = training_examples(train)
            trained = each.split("train").sample(min(TRAINING, drawn), TRAINING_SEED)
            tested = each.split("test").sample(min(TEST, train.test_examples), TEST_SEED)
            _warn_of_known_examples(each, trained, tested, drawn)
            _warn_of_guesses(each, trained, tested)


def training_examples(train: TrainConfig) -> int:
    """The number of different examples that a training draws."""
    drawn = train.steps * train.batch_size
    return min(drawn, train.train_examples or drawn)


def _warn_of_known_examples(task: Task, trained: Batch, tested: Batch, drawn: int) -> None:
    known = {*_rows(trained)}
    equal = sum(row in known for row in _rows(tested))
    missed = (1 - equal / len(tested)) ** (drawn / len(trained))  # by all of the training examples
    if equal >= FEWEST and 1 - missed >= KNOWN:
        warnings.warn(
            f"task {task.label}: {equal} of {len(tested)} test examples are among"
            f" {len(trained):,} training examples, of {drawn:,} in a training. A model may answer"
            " them from memory of the training: let `split` keep the test examples apart, or draw"
            " from more",
            stacklevel=3,
        )


def _rows(batch: Batch) -> list[bytes]:
    """Each example as bytes: tokens, positions and targets."""
    parts = [batch.inputs, batch.targets] + ([] if batch.positions is None else [batch.positions])
    return [row.tobytes() for row in torch.cat(parts, dim=1).numpy()]


def _warn_of_guesses(task: Task, trained: Batch, tested: Batch) -> None:
    """Warn of a guess, made on training examples, that beats the chance level on test examples."""
    if not tested.targets.numel() or not trained.targets.numel():
        return
    always = trained.targets.flatten().mode().values
    guesses: list[tuple[str, Tensor]] = [
        (f"the answer {task.spell(int(always))} to every question", always)
    ]
    if trained.targets.shape[1] == tested.targets.shape[1] > 1:
        guesses.append(
            ("one answer to each question of an example", trained.targets.mode(0).values)
        )
    n = len(tested)
    expected = max(task.chance, 1 / n)
    for what, guess in guesses:
        accuracy = (tested.targets == guess).double().mean().item()
        if accuracy - task.chance > ERRORS * (expected * (1 - expected) / n) ** 0.5:
            warnings.warn(
                f"task {task.label}: {what}, without reading the example, is right in"
                f" {accuracy:.2f} of the cases, but chance is {task.chance:.2g}. A model that has"
                " learnt no more would seem to recall: state a higher chance",
                stacklevel=3,
            )
            return
