"""The user's code in tasks, models and training settings, for the warning of edited files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import FunctionType

from recollect.edits import warn_of_edits
from recollect.identity import import_function, is_ours
from recollect.mixers.own_code import own_code
from recollect.models.config import ModelConfig
from recollect.own_functions import is_own
from recollect.tasks.task import Task
from recollect.training.config import TrainConfig


def warn_of_edited_code(
    tasks: Iterable[Task], models: Iterable[ModelConfig], trains: Iterable[TrainConfig]
) -> None:
    """Warn of files of the user's mixers, tasks, metrics and optimisers, see `warn_of_edits`."""
    warn_of_edits(
        [
            *_of_tasks(tasks),
            *(code for model in models for spec in model.mixer for code in own_code(spec)),
            *_of_training(trains),
        ]
    )


def _of_tasks(tasks: Iterable[Task]) -> Iterator[type]:
    for task in tasks:
        parts = (task, *getattr(task, "tasks", ()))  # those of a mixture
        yield from (type(part) for part in parts if not is_ours(type(part)))


def _of_training(trains: Iterable[TrainConfig]) -> Iterator[FunctionType]:
    for train in trains:
        yield from map(import_function, filter(is_own, (train.optimizer, *train.metrics)))
