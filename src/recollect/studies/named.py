"""The name of a study that a user gives by its name or as the study itself."""

from __future__ import annotations

from typing import Any

from recollect.errors import UserError


def name_of(study: Any) -> str:
    """The name of a study.

    Args:
        study: its name, or what has a name and cells, as an `rc.Study` does.

    Raises:
        UserError: for anything else.
    """
    if isinstance(study, str):
        return study
    name = getattr(study, "name", None)
    if not isinstance(name, str) or not callable(getattr(study, "cells", None)):
        raise UserError(f"{study!r} is not a study: expected its name, or the rc.Study itself")
    return name
