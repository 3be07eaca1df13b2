"""A mixture of tasks, to train on several lengths and numbers of pairs at once.

Based (Arora et al., 2024, arXiv 2402.18668; `arxiv24_based_figure2` in Zoology's code) trains on
100,000 examples of the easiest task and 20,000 of each other one, and tests on further tasks:

    mqar = rc.MQAR(seq_len=64, num_kv_pairs=4, filler="random")
    trained = [(64, 4), (128, 8), (256, 16), (256, 32), (256, 64)]
    tested = [(64, 4), (64, 8), (64, 16), (128, 32), (256, 64), (512, 128), (1024, 256)]
    rc.Study(
        "based",
        tasks=rc.Mixture(
            tasks=[mqar.replace(seq_len=n, num_kv_pairs=pairs) for n, pairs in trained],
            weights=[100, 20, 20, 20, 20],
        ),
        test_tasks=[mqar.replace(seq_len=n, num_kv_pairs=pairs) for n, pairs in tested],
        train=rc.TrainConfig(train_examples=180_000),
        ...
    )
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator
from torch import Tensor

from recollect.config import digest
from recollect.errors import UserError
from recollect.tasks._filler import common_filler
from recollect.tasks.batch import Batch
from recollect.tasks.metric import Metric
from recollect.tasks.task import AnyTask, Split, Task, register_task

MEASURED = 64
"""Number of examples in which marked answers are counted."""
FEW = 8
"""Most tasks that a label lists in full; with more, it has only the first and the last."""


@register_task("mixture")
class Mixture(Task):
    """A mixture of tasks: each batch comes from one of their components, drawn by the seed.

    Attributes:
        tasks: one or several tasks with one vocabulary; a task with several components contributes
            all of them.
        weights: integer weights by which tasks are drawn, and a fixed set of examples is divided.
            Empty: each task has its number of components as weight.

    Raises:
        UserError: if there is no task, the vocabularies differ, or the number of weights is not
            that of tasks.
    """

    unsaid = MappingProxyType({"weights": ()})

    tasks: tuple[AnyTask, ...]
    weights: tuple[Annotated[int, Field(gt=0)], ...] = ()

    @field_validator("tasks", mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        """Accept a single task."""
        return (given,) if isinstance(given, Task) else given

    @model_validator(mode="after")
    def _has_one_vocabulary(self) -> Mixture:
        if not self.tasks:
            raise UserError("tasks=() is empty: expected at least one task")
        if len({task.vocab_size for task in self.tasks}) > 1:
            given = ", ".join(f"{task.label} has {task.vocab_size}" for task in self.tasks)
            raise UserError(f"the tasks of a mixture need the same vocab_size, but {given}")
        if len({task.vocabulary for task in self.tasks} - {None}) > 1:
            raise UserError(f"the texts of the mixture {self.label} need the same tokenizer")
        if self.weights and len(self.weights) != len(self.tasks):
            raise UserError(
                f"weights={self.weights} for {len(self.tasks)} tasks: expected one weight for each"
                " task, or no weights"
            )
        return self

    @property
    def label(self) -> str:
        """The tasks' labels, with weights if there are any: `5*mqar-64x4+mqar-128x8`.

        For more than `FEW` tasks: the first and the last label, and a digest of all.
        """
        labels = [task.label for task in self.tasks]
        if self.weights:
            labels = [f"{w}*{label}" for w, label in zip(self.weights, labels, strict=True)]
        if len(labels) <= FEW:
            return "+".join(labels)
        return f"{labels[0]}+...+{labels[-1]}-{len(labels)}-{digest(labels)[:6]}"

    @property
    def vocab_size(self) -> int:
        """The number of token ids, the same for every task."""
        return self.tasks[0].vocab_size

    @property
    def vocabulary(self) -> str | None:
        """The vocabulary of every task that has one; None if no task has one."""
        return next(filter(None, (task.vocabulary for task in self.tasks)), None)

    @property
    def max_len(self) -> int:
        """The longest input of any task."""
        return max(task.max_len for task in self.tasks)

    @property
    def filler_token(self) -> int | None:
        """The filler token of every task.

        Raises:
            UserError: if the tasks have different ones.
        """
        return common_filler(self.tasks)

    @property
    def chance(self) -> float:
        """Chance level of all answers: components are weighted by their number of answers."""
        drawn = zip(self.components, self.component_weights, strict=True)
        answers = [(c.chance, w * c.sample(1, seed=0).targets.shape[1]) for c, w in drawn]
        return sum(chance * count for chance, count in answers) / sum(n for _, n in answers)

    @property
    def guess_loss(self) -> float | None:
        """The tasks' guess loss if all are equal, else None."""
        losses = {task.guess_loss for task in self.tasks}
        return losses.pop() if len(losses) == 1 else None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that all tasks have; what a guess gets is the mean of theirs.

        Tasks are weighted by their weight and by the number of marked answers in their examples.
        """
        given = self.weights or tuple(len(task.components) for task in self.tasks)
        weights = [w * _marked(task) for w, task in zip(given, self.tasks, strict=True)]
        by_name = [{metric.name: metric for metric in task.metrics} for task in self.tasks]
        return tuple(
            replace(
                first,
                guess=sum(w * each[name].guess for w, each in zip(weights, by_name, strict=True))
                / sum(weights),
            )
            for name, first in by_name[0].items()
            if all(name in each and each[name].function == first.function for each in by_name)
        )

    @cached_property
    def components(self) -> tuple[Task, ...]:
        """The components of all tasks, each with one length."""
        return tuple(component for task in self.tasks for component in task.components)

    @cached_property
    def component_weights(self) -> tuple[int, ...]:
        """The weight of each task, divided among its components by their own weights."""
        weights = self.weights or tuple(len(task.components) for task in self.tasks)
        parts = [
            Fraction(weight * part, sum(task.component_weights))
            for weight, task in zip(weights, self.tasks, strict=True)
            for part in task.component_weights
        ]
        scale = math.lcm(*(part.denominator for part in parts))
        whole = [int(part * scale) for part in parts]
        return tuple(weight // math.gcd(*whole) for weight in whole)

    def split(self, name: Split) -> Mixture:
        """Return the mixture of the tasks for training, validation or test."""
        return self.replace(tasks=[task.split(name) for task in self.tasks])

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples of `component(seed)`; equal seeds give equal bytes."""
        return self.component(seed).sample(n, seed)

    def roles(self, batch: Batch) -> Tensor:  # noqa: ARG002
        """Raise `UserError`, since a batch does not identify its component.

        Args:
            batch: any batch.

        Raises:
            UserError: always; ask the component that made the batch.
        """
        raise UserError(
            f"a batch of the mixture {self.label} does not identify its task: use"
            " component(seed).roles and component(seed).spell"
        )


def _marked(task: Task) -> float:
    """The mean number of marked answers in an example of a task; 1 if its examples have no
    marks."""
    marks = task.sample(MEASURED, seed=0).marks
    return 1.0 if marks is None else float((marks > 0).double().sum(1).mean())
