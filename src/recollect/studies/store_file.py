"""The file of a store: connection, reading and writing.

Several processes may use it at once. A file that cannot be written can still be read. Reading
changes neither the file nor its folder.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from recollect.errors import UserError
from recollect.studies.access import Access
from recollect.studies.header import Place, hold, release
from recollect.studies.older import migrate
from recollect.studies.schema import check_path, create_store


def store_path(given: str | Path) -> Path:
    """The path of a store.

    Raises:
        UserError: for anything else.
    """
    if not isinstance(given, str | PathLike):
        raise UserError(f"store={given!r}: expected the path of a store, such as 'mine.db'")
    return Path(given)


class StoreFile:
    """The SQLite file of a store, created if it does not exist.

    Args:
        path: path of the file.
        must_exist: whether a missing file is an error.

    Attributes:
        connection: the connection for reading and writing.

    Raises:
        UserError: if the file is not a store, is of a later version, or cannot be created or read.
            Files that are not stores are never changed.
    """

    def __init__(self, path: Path, *, must_exist: bool) -> None:
        self.path = path
        check_path(path)
        if not path.exists():
            if must_exist:
                raise UserError(f"there is no store {path}; `recollect run` creates one")
            create_store(path)
        self._is_prepared = False
        self._open()

    def _open(self) -> None:
        try:
            place = hold(self.path)
        except OSError as error:
            raise UserError(f"cannot read the store {self.path}: {error.strerror}") from error
        try:
            self._access = Access.to(self.path)
            self.connection = self.connect()
        except BaseException:
            release(place)
            raise
        self._place: Place | None = place

    def close(self) -> None:
        """Close the file; separate connections must be closed before."""
        self.connection.close()
        self._access.close()
        if self._place is not None:
            release(self._place)
            self._place = None

    def connect(self) -> sqlite3.Connection:
        """Open a separate connection to the file, for another thread."""
        with self._explained():
            return self._access.connect()

    @property
    def uri(self) -> str:
        """SQLite URI of the file."""
        return self._access.uri

    def prepare_writing(self) -> None:
        """Prepare the file for writing; a store of an earlier version is migrated
        (`older.migrate`).

        Raises:
            UserError: if it cannot be written, or another process uses it in an earlier version.
        """
        if self._is_prepared:
            return
        self._access.check_writable()
        if self._access.copy is not None:
            migrate(self.path)
            self.close()
            self._open()
        with self._explained():
            self.connection.execute("PRAGMA journal_mode = WAL")
        self._is_prepared = True

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Context of a transaction: all changes in the block are made or none.

        Raises:
            UserError: if the store cannot be written.
        """
        self.prepare_writing()
        with self._explained():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
            except BaseException:
                if self.connection.in_transaction:  # a full disk has already ended it
                    self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Rows that a query finds."""
        with self._explained():
            found = self.connection.execute(query, values).fetchall()
        self._access.check_unchanged()
        return found

    @contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """Context in which all queries see the same state, even if other processes write."""
        if self.connection.in_transaction:
            yield
            return
        self.rows("BEGIN")
        try:
            yield
        finally:
            if self.connection.in_transaction:  # an error has already ended it
                self.rows("COMMIT")

    def version(self) -> int:
        """Number that changes when another connection has written."""
        return int(self.rows("PRAGMA data_version")[0][0])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise
        except sqlite3.DatabaseError as error:
            raise UserError(f"the store {self.path} cannot be used: {error}") from error
