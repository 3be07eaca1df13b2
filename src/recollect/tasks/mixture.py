"""A task made of several, to train on several lengths and numbers of pairs at once."""

from __future__ import annotations

from functools import cached_property

from pydantic import model_validator
from torch import Tensor

from recollect.errors import UserError
from recollect.tasks.batch import Batch
from recollect.tasks.task import AnyTask, Task, common_filler, register_task


@register_task("mixture")
class Mixture(Task):
    """Every batch comes from one of the tasks' components, drawn uniformly from the seed.

    Attributes:
        tasks: of one vocabulary; a task of several components brings them all.

    Raises:
        UserError: if there is no task, or if the vocabularies differ.
    """

    tasks: tuple[AnyTask, ...]

    @model_validator(mode="after")
    def _has_one_vocabulary(self) -> Mixture:
        if not self.tasks:
            raise UserError("tasks=() has nothing to mix: give at least one task")
        if len({task.vocab_size for task in self.tasks}) > 1:
            given = ", ".join(f"{task.label} has {task.vocab_size}" for task in self.tasks)
            raise UserError(f"the tasks of a mixture need one vocab_size, but {given}")
        if len({task.vocabulary for task in self.tasks} - {None}) > 1:
            raise UserError(f"the texts of the mixture {self.label} need one tokenizer")
        return self

    @property
    def label(self) -> str:
        """The tasks' labels: `mqar-64x4+mqar-128x8`."""
        return "+".join(task.label for task in self.tasks)

    @property
    def vocab_size(self) -> int:
        """The one of every task."""
        return self.tasks[0].vocab_size

    @property
    def vocabulary(self) -> str | None:
        """The one of every task that has one."""
        return next(filter(None, (task.vocabulary for task in self.tasks)), None)

    @property
    def max_len(self) -> int:
        """The longest input of any task."""
        return max(task.max_len for task in self.tasks)

    @property
    def filler_token(self) -> int | None:
        """The one of every task.

        Raises:
            UserError: where they differ.
        """
        return common_filler(self.tasks)

    @property
    def chance(self) -> float:
        """The mean over the components."""
        return sum(component.chance for component in self.components) / len(self.components)

    @property
    def guess_loss(self) -> float | None:
        """That of the tasks, where they agree."""
        losses = {task.guess_loss for task in self.tasks}
        return losses.pop() if len(losses) == 1 else None

    @cached_property
    def components(self) -> tuple[Task, ...]:
        """The tasks of one length that the tasks consist of."""
        return tuple(component for task in self.tasks for component in task.components)

    def sample(self, n: int, seed: int) -> Batch:
        """`n` examples of `component(seed)`; the same seed gives the same bytes."""
        return self.component(seed).sample(n, seed)

    def roles(self, batch: Batch) -> Tensor:  # noqa: ARG002
        """Raises: a batch does not say which component it came from."""
        raise UserError(
            f"a batch of the mixture {self.label} does not say which of its tasks it came from:"
            " ask that task, component(seed), for roles and spelling"
        )
