"""Short names of tasks."""

from __future__ import annotations

from collections.abc import Mapping

from recollect.tasks.task import Task


def short_label(task: Task, head: str, letters: Mapping[str, str]) -> str:
    """Return a label like `forgetting-64x8-u2`.

    Args:
        task: the task.
        head: the part after the task's name.
        letters: fields to append if they are not at their defaults, with the letters before each.
    """
    fields = type(task).model_fields
    changed = (
        f"-{letter}{getattr(task, field)}"
        for field, letter in letters.items()
        if getattr(task, field) != fields[field].default
    )
    return f"{task.name}-{head}" + "".join(changed)
