"""How the file of a store is opened: to be written, or only to be read.

SQLite's write-ahead log needs two files beside the store while it is open. Where they cannot be
made, a store is read as a file that does not change, unless somebody who can write it has it open.
A store of an earlier version is read by a temporary copy, and changed only to be written.
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
"""How long one process waits for another's transaction."""


@dataclass(frozen=True)
class Access:
    """What this process may do with a store, as it was when it was opened.

    Attributes:
        path: the store.
        writable: whether the store and its folder can be written.
        frozen_at: when the file had last changed (ns), if it is taken not to change; None: it may.
        copy: of a store of an earlier version, the folder in which it lies as one of this version.
    """

    path: Path
    writable: bool
    frozen_at: int | None
    copy: TemporaryDirectory[str] | None = None

    @classmethod
    def to(cls, path: Path) -> Access:
        """What is possible.

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
        """What is opened."""
        return self.path if self.copy is None else Path(self.copy.name) / self.path.name

    @property
    def uri(self) -> str:
        """The file as SQLite is to open it."""
        mode = "rw" if self.writable and self.copy is None else "ro"
        frozen = "" if self.frozen_at is None else "&immutable=1"
        return f"{self.file.absolute().as_uri()}?mode={mode}{frozen}"

    def connect(self) -> sqlite3.Connection:
        """A connection."""
        connection = sqlite3.connect(self.uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        connection.row_factory = sqlite3.Row
        self._check_log(connection)
        # a transaction survives the death of the process; one that the machine lost with its
        # power is a trial to run again, and not worth a wait for the disk at every result
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA temp_store = MEMORY")
        return connection

    def check_writable(self) -> None:
        """See that the store can be written.

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
        """See that the results beside the file can be read, where there are any."""
        try:
            connection.execute("SELECT 1 FROM sqlite_master")
        except sqlite3.OperationalError as error:
            if self.writable or self.frozen_at is not None:
                raise
            raise UserError(
                f"the latest results of {self.path} lie beside it in {self.path.name}-wal, and"
                f" cannot be read here ({error}): copy both to a folder that can be written"
            ) from error

    def check_unchanged(self) -> None:
        """See that what was taken not to change has not.

        Raises:
            UserError: if it has.
        """
        if self.frozen_at not in (None, self.file.stat().st_mtime_ns):
            raise UserError(f"the store {self.path} was written while it was read: read it again")


def _is_open_elsewhere(path: Path) -> bool:
    """Whether there are results beside the file, or somebody who may write them."""
    log, index = (path.with_name(f"{path.name}-{end}") for end in ("wal", "shm"))
    return log.exists() and (log.stat().st_size > 0 or index.exists())
