"""The facts that a user's task states about itself: label, sizes, chance level and losses."""

from __future__ import annotations

import math
from operator import index
from typing import Any, SupportsIndex

from recollect.errors import UserError
from recollect.identity import class_name, is_ours
from recollect.tasks.task import REQUIRED, TASKS, Task, defines


def check_facts(task: Task) -> None:
    """Check the facts of a user's task, or of a user's parts of a mixture.

    A wrong chance level would not stop a study: with one above 1, every model has not learnt.

    Raises:
        UserError: if a fact cannot be true, or the chance level changes.
    """
    for each in {id(part): part for part in (task, *task.components)}.values():
        if not is_ours(type(each)):
            _check(each)


def check_registered(task: Task) -> None:
    """Check that a store can name a task's class: it is registered, and not only its base.

    Raises:
        UserError: if it is not.
    """
    cls = type(task)
    if is_ours(cls) or (task.name in TASKS and class_name(TASKS[task.name]) == class_name(cls)):
        return
    raise UserError(
        f"task {task.label}: {cls.__name__} is not registered under a name of its own, so a store"
        ' cannot name it: put @rc.register_task("name") above the class'
    )


def _check(task: Task) -> None:
    lacking = [name for name in REQUIRED if not defines(type(task), name)]
    if lacking:
        raise UserError(f"{type(task).__name__} does not define {', '.join(lacking)}")
    label: Any = task.label
    if not isinstance(label, str) or not label.isprintable() or label != label.strip() or not label:
        raise UserError(
            f"the label of {type(task).__name__} is {label!r}: expected one line of printable"
            " characters, without spaces at its ends"
        )
    for name in ("vocab_size", "max_len"):
        size: Any = getattr(task, name)
        if isinstance(size, bool) or not isinstance(size, SupportsIndex) or index(size) < 1:
            raise UserError(f"task {label}: {name} is {size!r}, expected a whole number from 1")
    chance = task.chance
    if not 0 <= _number(chance) < 1:
        raise UserError(
            f"task {label}: chance is {chance!r}, expected the accuracy of a guess, from 0 to below"
            " 1, not in percent"
        )
    if _number(task.chance) != _number(chance):
        raise UserError(
            f"task {label}: chance is {chance!r} and then {task.chance!r}: if it is estimated,"
            " use a fixed seed"
        )
    if task.guess_loss is not None and not 0 < _number(task.guess_loss) < math.inf:
        raise UserError(
            f"task {label}: guess_loss is {task.guess_loss!r}, expected a loss above 0, or None"
        )
    if task.marginal_loss is not None and not 0 <= _number(task.marginal_loss) < math.inf:
        raise UserError(
            f"task {label}: marginal_loss is {task.marginal_loss!r}, expected a loss, or None"
        )


def _number(value: Any) -> float:
    """A number, NaN for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
