"""Warn of a user's files that were edited after this process loaded them: the old code runs.

A trial's key covers the source that runs. So the key is right, but the user believes to see the
results of the edit. If the source that runs is not known either, because the file was edited before
it was read for a key, no key can be made (`sources.EditedError`).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import FunctionType

from recollect.errors import UserError
from recollect.identity import class_sources
from recollect.sources import EditedError, was_edited

_TOLD: set[tuple[Path, float]] = set()
"""Files of which a warning was given, with the time of their edit."""


def warn_of_edits(code: Iterable[type | FunctionType]) -> None:
    """Warn of each edited file of a user's classes and functions, once for each edit.

    It may not be an error: a long script goes on with the version that it began with.

    Args:
        code: classes and functions; those whose source cannot be read are left out.
    """
    for file in dict.fromkeys(file for each in dict.fromkeys(code) for file in _edited(each)):
        edited = file.stat().st_mtime
        if (file, edited) not in _TOLD:
            _TOLD.add((file, edited))
            # with the time, or Python would not show the warning of a second edit
            at = time.strftime("%H:%M:%S", time.localtime(edited))
            warnings.warn(
                f"{file} was edited after this process loaded it, last at {at}: the old version"
                " runs; restart the process (in a notebook, the kernel)",
                stacklevel=3,
            )


def _edited(code: type | FunctionType) -> list[Path]:
    try:
        sources = class_sources(code)
    except EditedError as error:
        return [error.file]
    except UserError:
        return []
    return [file for file, source in sources.files.items() if was_edited(source)]
