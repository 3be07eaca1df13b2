"""Short names of tasks."""

from __future__ import annotations

from collections.abc import Mapping

from recollect.tasks.task import Task


def short_label(task: Task, head: str, letters: Mapping[str, str]) -> str:
    """`name-head`, and the settings that are not the defaults, each behind its letters:
    `forgetting-64x8-u2`."""
    fields = type(task).model_fields
    changed = (
        f"-{letter}{getattr(task, field)}"
        for field, letter in letters.items()
        if getattr(task, field) != fields[field].default
    )
    return f"{task.name}-{head}" + "".join(changed)
