"""The file of a store: who is connected to it, and how it is read and written.

Several processes may work on it at once. Where it cannot be written it can be read nevertheless,
and a file that was only read is left as it was, with nothing beside it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recollect.errors import UserError
from recollect.studies.access import Access
from recollect.studies.older import migrate
from recollect.studies.schema import check_path, create_store


class StoreFile:
    """The SQLite file of a store, made where there is none.

    Args:
        path: of the file.
        must_exist: whether a missing file is an error.

    Attributes:
        connection: what all of this is read and written through.

    Raises:
        UserError: if the file is no store, or one of another version, or cannot be made or read. A
            file that is no store is left as it is.
    """

    def __init__(self, path: Path, *, must_exist: bool) -> None:
        self.path = path
        check_path(path)
        if not path.exists():
            if must_exist:
                raise UserError(f"there is no store {path}; `recollect run` makes one")
            create_store(path)
        self._access = Access.to(path)
        self.connection = self.connect()
        self._is_prepared = False

    def close(self) -> None:
        """Close the file."""
        self.connection.close()
        self._access.close()

    def connect(self) -> sqlite3.Connection:
        """A connection of its own to the file, for another thread."""
        with self._explained():
            return self._access.connect()

    @property
    def uri(self) -> str:
        """The file as SQLite is to open it."""
        return self._access.uri

    def prepare_writing(self) -> None:
        """Bring the file to what a writer needs, before anything is written: a store of an earlier
        version becomes one of this (`older.migrate`).

        Raises:
            UserError: if it can only be read, or another process works on it as one of an earlier
                version.
        """
        if self._is_prepared:
            return
        self._access.check_writable()
        if self._access.copy is not None:
            migrate(self.path)
            self.close()
            self._access = Access.to(self.path)
            self.connection = self.connect()
        with self._explained():
            self.connection.execute("PRAGMA journal_mode = WAL")
        self._is_prepared = True

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block's changes or none, with nobody else's in between.

        Raises:
            UserError: if the store can only be read.
        """
        self.prepare_writing()
        with self._explained():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
            except BaseException:
                if self.connection.in_transaction:  # a full disk has ended it already
                    self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """What a query finds."""
        with self._explained():
            found = self.connection.execute(query, values).fetchall()
        self._access.check_unchanged()
        return found

    @contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """All queries in the block see the same state, whoever writes meanwhile."""
        if self.connection.in_transaction:
            yield
            return
        self.rows("BEGIN")
        try:
            yield
        finally:
            self.rows("COMMIT")

    def version(self) -> int:
        """A number that changes when another connection has written."""
        return int(self.rows("PRAGMA data_version")[0][0])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise
        except sqlite3.DatabaseError as error:
            raise UserError(f"the store {self.path} cannot be used: {error}") from error
