"""Write files completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recollect.errors import FatalError, UserError


def check_folder(folder: Path) -> None:
    """Check that files can be written to a folder, which need not exist yet; change nothing.

    Raises:
        UserError: if they cannot.
    """
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise UserError(f"cannot write to {folder}: {nearest} is not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"cannot write to {folder}: no permission to write to {nearest}")


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents.

    Raises:
        FatalError: if that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FatalError(f"cannot create the folder {folder}: {error.strerror}") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` when the block succeeds.

    The folder is created if it is missing. If the block fails, the old file at `path` stays.

    Raises:
        FatalError: if the folder cannot be created or written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    make_folder(path.parent)
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise FatalError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
