"""Examples of a trial: a training batch for each step, and fixed validation and test sets.

All are pure functions of the trial's seeds, so a resumed trial sees the same examples as an
uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, get_args

import torch

from recollect.errors import UserError
from recollect.identity import is_ours
from recollect.seeding import derive_seed
from recollect.tasks.batch import Batch
from recollect.tasks.task import Split, Task
from recollect.training.config import Seeds, TrainConfig

SEEDS_TO_CHECK, EXAMPLES_TO_CHECK = 4, 16
"""Enough that small random batches are not all equal by chance."""


def held_out(task: Task, n: int, seeds: Seeds, split: Split) -> list[Batch]:
    """Fixed set of `n` examples of a split, divided among the task's components by weight.

    Raises:
        UserError: if their number is another, or a token id or a position in them does not exist.
    """
    return [
        _sample(component.split(split), count, derive_seed(seeds.data, split, i), task)
        for i, (component, count) in enumerate(shares(task, n))
        if count
    ]


class TrainingData:
    """The training batches of a trial.

    Without `train_examples` every step draws new examples. Otherwise a fixed set is shuffled every
    epoch: first the examples of each component, then the batches. All examples of a batch have the
    same length.
    """

    def __init__(self, task: Task, train: TrainConfig, seeds: Seeds) -> None:
        self._task, self._train, self._seeds = task.split("train"), train, seeds
        self._sets: list[Batch] | None = None
        if train.train_examples is not None:
            self._sets = held_out(task, train.train_examples, seeds, "train")
        self._order = lru_cache(maxsize=1)(self._epoch_order)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass over the training set; 1 if every batch is new."""
        if self._sets is None:
            return 1
        return sum(math.ceil(len(examples) / self._train.batch_size) for examples in self._sets)

    def batch(self, step: int) -> Batch:
        """The examples of optimiser step `step`, counted from 0."""
        if self._sets is None:
            seed = derive_seed(self._seeds.data, "train", step)
            return _sample(self._task, self._train.batch_size, seed, self._task)
        epoch, place = divmod(step, self.steps_per_epoch)
        which, rows = self._order(epoch)[place]
        return self._sets[which][rows]

    def _epoch_order(self, epoch: int) -> list[tuple[int, torch.Tensor]]:
        """Batches of an epoch: the number of a set and indices of its examples."""
        assert self._sets is not None
        generator = torch.Generator().manual_seed(derive_seed(self._seeds.order, "order", epoch))
        batches = [
            (which, rows)
            for which, examples in enumerate(self._sets)
            for rows in torch.randperm(len(examples), generator=generator).split(
                self._train.batch_size
            )
        ]
        if len(self._sets) == 1:  # already in random order; a short last batch stays last
            return batches
        return [batches[i] for i in torch.randperm(len(batches), generator=generator)]


def shares(task: Task, n: int) -> list[tuple[Task, int]]:
    """Divide `n` examples among the components in proportion to their weights; the largest
    remainders are rounded up. A component may get none."""
    weights = task.component_weights
    whole, remainders = zip(*(divmod(n * weight, sum(weights)) for weight in weights), strict=True)
    largest = sorted(range(len(weights)), key=lambda i: -remainders[i])
    rounded_up = set(largest[: n - sum(whole)])
    return [
        (component, share + (i in rounded_up))
        for i, (component, share) in enumerate(zip(task.components, whole, strict=True))
    ]


def check_examples(trained: Iterable[Task], tested: Iterable[Task]) -> None:
    """Check a few examples of users' tasks, or of the users' parts of mixtures.

    Args:
        trained: tasks for training, with all their splits.
        tested: tasks for tests alone.

    Raises:
        UserError: as `held_out`, and if the seed does not determine the examples, or does not
            change them.
    """
    asked = [
        *((task, split) for task in trained for split in get_args(Split)),
        *((task, "test") for task in tested),
    ]
    for task, split in asked:
        for each in {id(part): part for part in (task, *task.components)}.values():
            if not is_ours(type(each)):
                _check_few(each.split(split))


def _check_few(task: Task) -> None:
    seeds, n = [derive_seed("check", i) for i in range(SEEDS_TO_CHECK)], EXAMPLES_TO_CHECK
    found = [_sample(task, n, seed, task).tensors() for seed in (seeds[0], *seeds)]
    if not _are_equal(*found[:2]):
        raise UserError(
            f"task {task.label}: sample({n}, seed) gives other examples when it is called again"
            " with the same seed: draw everything from one generator with this seed"
        )
    if all(_are_equal(found[0], other) for other in found[1:]):
        raise UserError(
            f"task {task.label}: sample({n}, seed) gives the same examples for every seed, so the"
            " test examples would be those of the training"
        )


def _are_equal(one: Mapping[str, torch.Tensor], two: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def _sample(part: Task, n: int, seed: int, task: Task) -> Batch:
    """`n` examples of a part of a task, which must fit what the task says."""
    found: Any = part.sample(n, seed)
    if not isinstance(found, Batch):
        raise UserError(
            f"task {task.label}: sample({n}, seed) returns {type(found).__name__}, expected an"
            " rc.Batch"
        )
    return found.checked(n, task.vocab_size, task.max_len, task.label)
