"""Where tokens, tokenizers, counts and losses are kept, so that they are made once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from recollect.errors import UserError
from recollect.files import make_folder

VARIABLE = "RECOLLECT_TEXT"
"""Names the folder, in the environment, where nothing else does."""
FOLDER = "recollect-text"


def kept_folder() -> Path:
    """The folder: a setting of the machine, so that it is in no trial's key."""
    return Path(os.environ.get(VARIABLE, FOLDER))


def keep(path: Path, make: Callable[[], None]) -> None:
    """See that a file or folder is there: if it is not, `make` is called, by one process while
    others wait.

    Raises:
        UserError: where it cannot be written.
    """
    if path.exists():
        return
    make_folder(path.parent)
    lock = path.with_name(f".{path.name}.lock")
    try:
        with FileLock(lock):
            if not path.exists():
                make()
        lock.unlink(missing_ok=True)  # whoever still waits for it finds what was made
    except OSError as error:
        raise UserError(f"cannot make {path}: {error}") from error
