"""Ways to answer the test examples of a user's task without recall.

Test examples that the training has too can be answered from memory. If a guess that reads nothing
is right more often than the stated chance level, a model that has learnt no more seems to recall.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from recollect.identity import is_ours
from recollect.seeding import derive_seed
from recollect.tasks.batch import Batch
from recollect.tasks.task import Task
from recollect.training.config import TrainConfig
from recollect.training.data import shares

TRAINING, TEST = 2048, 512
"""The most examples that are drawn to look for shortcuts."""
TEST_SEED = derive_seed("shortcuts", "test")
KNOWN = 0.1
"""A share of test examples that the whole training would have; from here on a warning is given."""
FEWEST = 3
"""Fewer equal examples are put down to chance."""
ERRORS = 4.0
"""Standard errors by which a guess must be better than the chance level."""


def warn_of_shortcuts(task: Task, train: TrainConfig) -> None:
    """Warn of shortcuts in a user's task, or in the user's parts of a mixture.

    For any task, warn if a guess that does not know the question is always right.

    Args:
        task: a task for training and testing, whose examples have been checked.
        train: how models are trained on it.
    """
    if task.chance >= 1:
        warnings.warn(
            f"task {task.label}: a guess that does not know the question is always right (chance"
            " 1), so its models are reported as not learnt, whatever they do: choose options that"
            " leave several answers",
            stacklevel=2,
        )
    drawn = _examples_drawn(train)
    for part, number in shares(task, drawn):
        if not is_ours(type(part)) and number:
            trained = _training_batches(part, number, train)
            tested = part.split("test").sample(min(TEST, train.test_examples), TEST_SEED)
            _warn_of_known_examples(part, trained, tested, number)
            _warn_of_guesses(part, trained, tested)


def _examples_drawn(train: TrainConfig) -> int:
    """The number of different examples that a training draws."""
    drawn = train.steps * train.batch_size
    return min(drawn, train.train_examples or drawn)


def _training_batches(task: Task, drawn: int, train: TrainConfig) -> list[Batch]:
    """Some of the training examples, in portions as a training draws them."""
    portion = min(drawn, train.train_examples or train.batch_size, TRAINING)
    return [
        task.split("train").sample(portion, derive_seed("shortcuts", "train", i))
        for i in range(math.ceil(min(TRAINING, drawn) / portion))
    ]


def _warn_of_known_examples(task: Task, trained: list[Batch], tested: Batch, drawn: int) -> None:
    known = {row for batch in trained for row in _rows(batch)}
    seen = sum(map(len, trained))
    equal = sum(row in known for row in _rows(tested))
    missed = (1 - equal / len(tested)) ** (drawn / seen)  # by all of the training examples
    if equal >= FEWEST and 1 - missed >= KNOWN:
        warnings.warn(
            f"task {task.label}: {equal} of {len(tested)} test examples are among"
            f" {seen:,} training examples, so about {100 * (1 - missed):.0f} % of them would be"
            f" among the {drawn:,} of a training. A model may answer them from memory of the"
            " training: let `split` keep the test examples apart, or draw from more",
            stacklevel=3,
        )


def _rows(batch: Batch) -> list[bytes]:
    """Each example as bytes: tokens, positions and targets."""
    parts = [batch.inputs, batch.targets] + ([] if batch.positions is None else [batch.positions])
    return [row.tobytes() for row in torch.cat(parts, dim=1).numpy()]


def _warn_of_guesses(task: Task, trained: list[Batch], tested: Batch) -> None:
    """Warn of a guess, made on training examples, that beats the chance level on test examples."""
    same = [batch.targets for batch in trained if batch.targets.shape[1] == tested.targets.shape[1]]
    if not tested.targets.numel() or not same:
        return
    answers = torch.cat(same)
    always = answers.flatten().mode().values
    guesses: list[tuple[str, Tensor]] = [
        (f"the answer {task.spell(int(always))} to every question", always)
    ]
    if answers.shape[1] > 1:
        guesses.append(("one answer to each question of an example", answers.mode(0).values))
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
