"""Reading the header of a store that this process may have open in SQLite too.

When a process closes any descriptor of a file, POSIX releases all locks that it holds on the file.
SQLite's connections would lose theirs, and another process that closes the store would delete the
write-ahead log under them, with the latest results. So a descriptor stays open for as long as this
process has the store open.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from threading import Lock

Place = tuple[int, int]
"""The device and the number of a file, whatever its name."""

_lock = Lock()
_holds: Counter[Place] = Counter()
_kept: dict[Place, int] = {}
"""The descriptor of each open store whose header was read."""


def hold(path: Path) -> Place:
    """Note that this process opens a file in SQLite; call it before.

    Returns:
        What `release` takes.
    """
    status = path.stat()
    place = status.st_dev, status.st_ino
    with _lock:
        _holds[place] += 1
    return place


def release(place: Place) -> None:
    """Note that this process has closed its connections to a file."""
    with _lock:
        _holds[place] -= 1
        if _holds[place] > 0:
            return
        del _holds[place]
        if place in _kept:
            os.close(_kept.pop(place))


def read_header(path: Path, size: int) -> bytes:
    """Read the first bytes of a file.

    Raises:
        OSError: if it cannot be read.
    """
    with _lock:
        status = path.stat()
        place = status.st_dev, status.st_ino
        if place in _holds and hasattr(os, "pread"):  # on Windows, closing releases no other locks
            if place not in _kept:
                _kept[place] = os.open(path, os.O_RDONLY)
            return os.pread(_kept[place], size, 0)
        with path.open("rb") as file:
            return file.read(size)
