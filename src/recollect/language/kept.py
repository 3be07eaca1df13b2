"""Cache folder for tokens, tokenizers, counts and losses."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from recollect.errors import UserError
from recollect.files import make_folder

VARIABLE = "RECOLLECT_TEXT"
"""Environment variable with the cache folder."""
FOLDER = "recollect-text"


def kept_folder() -> Path:
    """Cache folder; it is a setting of the machine and not part of a trial's key."""
    return Path(os.environ.get(VARIABLE, FOLDER))


def keep(path: Path, make: Callable[[], None]) -> None:
    """Create a file or folder with `make` if it is missing; other processes wait meanwhile.

    Raises:
        UserError: if it cannot be written.
    """
    if path.exists():
        return
    make_folder(path.parent)
    lock = path.with_name(f".{path.name}.lock")
    try:
        with FileLock(lock):
            if not path.exists():
                make()
        lock.unlink(missing_ok=True)  # a process still waiting for the lock finds the result
    except OSError as error:
        raise UserError(f"cannot make {path}: {error}") from error
