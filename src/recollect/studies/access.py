"""Opening the file of a store for writing or for reading only.

SQLite's write-ahead log needs two files beside an open store. If they cannot be created, the store
is read as an immutable file, unless another process has it open for writing. A store of an earlier
version is read through a temporary copy and converted only when it is written.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from recollect.errors import UserError
from recollect.studies.older import is_older, write_current

BUSY_SECONDS = 30.0
"""Seconds that a process waits for another's transaction."""


@dataclass(frozen=True)
class Access:
    """How this process accesses a store, determined when it is opened.

    Attributes:
        path: the store.
        writable: whether the store and its folder can be written.
        frozen_at: modification time (ns) of a file that is read as immutable; None: it may change.
        copy: for a store of an earlier version, the folder with its converted copy.
    """

    path: Path
    writable: bool
    frozen_at: int | None
    copy: TemporaryDirectory[str] | None = None

    @classmethod
    def to(cls, path: Path) -> Access:
        """Determine the access to a store.

        Raises:
            UserError: if the file is no store, or of a later version, or cannot be read.
        """
        older = is_older(path)
        writable = os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)
        frozen = not writable and not _is_open_elsewhere(path)
        access = cls(path, writable, path.stat().st_mtime_ns if frozen else None)
        if not older:
            return access
        copy = TemporaryDirectory(prefix="recollect-")
        current = cls(path, writable, None, copy)
        write_current(path, access.uri, current.file)
        return replace(current, frozen_at=current.file.stat().st_mtime_ns)

    @property
    def file(self) -> Path:
        """The file that is opened."""
        return self.path if self.copy is None else Path(self.copy.name) / self.path.name

    @property
    def uri(self) -> str:
        """SQLite URI of the file."""
        mode = "rw" if self.writable and self.copy is None else "ro"
        frozen = "" if self.frozen_at is None else "&immutable=1"
        return f"{self.file.absolute().as_uri()}?mode={mode}{frozen}"

    def connect(self) -> sqlite3.Connection:
        """Open a connection."""
        connection = sqlite3.connect(self.uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        connection.row_factory = sqlite3.Row
        self._check_log(connection)
        # transactions survive the death of the process; a power failure may lose the last one,
        # which only means a trial to run again
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA temp_store = MEMORY")
        return connection

    def check_writable(self) -> None:
        """Check that the store can be written.

        Raises:
            UserError: if it cannot.
        """
        if not self.writable:
            what = "its folder" if os.access(self.path, os.W_OK) else "the file"
            raise UserError(
                f"the store {self.path} can only be read: {what} cannot be written; copy it"
                " elsewhere to add results"
            )

    def close(self) -> None:
        """Remove the copy, if there is one."""
        if self.copy is not None:
            self.copy.cleanup()

    def _check_log(self, connection: sqlite3.Connection) -> None:
        """Check that the write-ahead log, if there is one, can be read."""
        try:
            connection.execute("SELECT 1 FROM sqlite_master")
        except sqlite3.OperationalError as error:
            if self.writable or self.frozen_at is not None:
                raise
            raise UserError(
                f"the latest results of {self.path} are in {self.path.name}-wal beside it, which"
                f" cannot be read here ({error}): copy both files to a writable folder"
            ) from error

    def check_unchanged(self) -> None:
        """Check that a file read as immutable has not changed.

        Raises:
            UserError: if it has.
        """
        if self.frozen_at not in (None, self.file.stat().st_mtime_ns):
            raise UserError(f"the store {self.path} was written while it was read: read it again")


def _is_open_elsewhere(path: Path) -> bool:
    """Whether the write-ahead log has results or another process may write to it."""
    log, index = (path.with_name(f"{path.name}-{end}") for end in ("wal", "shm"))
    return log.exists() and (log.stat().st_size > 0 or index.exists())
