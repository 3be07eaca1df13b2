"""The filler token that several tasks have in common."""

from __future__ import annotations

from collections.abc import Iterable

from recollect.errors import UserError
from recollect.tasks.task import Task


def common_filler(tasks: Iterable[Task]) -> int | None:
    """Return the common filler token of tasks.

    Raises:
        UserError: if the tasks have different ones.
    """
    fillers = {task.label: task.filler_token for task in tasks}
    if len(set(fillers.values())) > 1:
        listed = ", ".join(f"{label} has {token}" for label, token in fillers.items())
        raise UserError(
            f"the tasks have different filler tokens: {listed}; set the mixer's option `filler`,"
            ' for example mixer("input-dependent-conv", filler=None)'
        )
    return next(iter(fillers.values()))
