"""Leases: each running trial is leased by one process, which renews the lease by a heartbeat.

The lease of a dead process is free at once on the same machine, and on other machines after a
minute without a heartbeat.
"""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import astuple
from types import TracebackType

from recollect.errors import UserError
from recollect.execution.artifacts import Artifacts
from recollect.studies.cell import Cell
from recollect.studies.fresh import own_trials
from recollect.studies.measures import forget_measures
from recollect.studies.process import ProcessId, identify
from recollect.studies.replay import Request
from recollect.studies.schema import EXPIRY_SECONDS
from recollect.studies.store import Store

HEARTBEAT_SECONDS = 10.0


class Leases:
    """The leases of one run; leaving the context releases all of them.

    Attributes:
        store: the shared store.
        artifacts: files of the trials while the study runs; by default the folder beside the store.
    """

    def __init__(self, store: Store, artifacts: Artifacts | None = None) -> None:
        self.store = store
        self.artifacts = artifacts or store.artifacts
        self._owner = uuid.uuid4().hex
        self._process = identify(os.getpid())
        self._forgotten: set[str] = set()
        self._swept: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Leases:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        with (
            suppress(UserError),  # a remaining lease expires; an earlier error is reported instead
            self.store.transaction() as connection,
        ):
            connection.execute("DELETE FROM leases WHERE owner = ?", (self._owner,))

    def claim(self, cell: Cell, request: Request, *, observe: bool = False) -> bool:
        """Lease a trial; False if another run holds it or has already trained it far enough.

        If the cell starts afresh, files of an unstored trial from an interrupted run are removed.

        Args:
            cell: cell of the trial.
            request: rate, seed and step.
            observe: whether its observations are needed too.
        """
        key = cell.key(request.learning_rate, request.seed)
        with self.store.transaction() as connection:
            held = connection.execute("SELECT * FROM leases WHERE key = ?", (key,)).fetchone()
            if held is not None and self._is_live(held):
                return False
            step = self.store.step(key, observed=observe)
            if step is not None and step >= (math.inf if request.until is None else request.until):
                return False
            connection.execute(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key, cell.id, self._owner, *astuple(self._process), time.time()),
            )
        if step is None and cell.id in self._forgotten and key not in self._swept:
            self._swept.add(key)  # a trial whose worker is lost goes on at its checkpoint
            self.artifacts.sweep(key)
        return True

    def holds(self, key: str) -> bool:
        """Whether this run still holds the lease of a trial. If heartbeats stop for too long,
        another run takes the trial and stores it."""
        query = "SELECT 1 FROM leases WHERE key = ? AND owner = ?"
        return bool(self.store.rows(query, key, self._owner))

    def give_up(self, key: str) -> None:
        """Release a trial if this run still holds it."""
        with self.store.transaction() as connection:
            connection.execute("DELETE FROM leases WHERE key = ? AND owner = ?", (key, self._owner))

    def elsewhere(self) -> set[str]:
        """Keys of the trials that other runs work on."""
        rows = self.store.rows("SELECT * FROM leases WHERE owner <> ?", self._owner)
        return {row["key"] for row in rows if self._is_live(row)}

    def forget(self, study: str, cells: Sequence[Cell], whole: Sequence[Cell]) -> None:
        """Delete the stored trials that a study uses in some of its cells (`own_trials`).

        Args:
            study: name of the study.
            cells: the cells that start afresh.
            whole: all cells of the study.

        Raises:
            UserError: if another run works on one of the cells or another study uses one of the
                trials; nothing is deleted then.
        """
        with self.store.transaction() as connection:
            self._check_idle(cells)
            keys = own_trials(self.store, study, cells, whole)
            forget_measures(connection, keys)
            for table in ("trials", "failures"):
                connection.executemany(f"DELETE FROM {table} WHERE key = ?", [(k,) for k in keys])
        for key in keys:
            for artifacts in (self.store.artifacts, self.artifacts):
                artifacts.sweep(key, ())
        self._forgotten |= {cell.id for cell in cells}

    def _check_idle(self, cells: Iterable[Cell]) -> None:
        for cell in cells:
            held = self.store.rows("SELECT * FROM leases WHERE cell = ?", cell.id)
            for row in filter(self._is_live, held):
                raise UserError(
                    f"cannot start {cell.label} afresh: process {row['pid']} works on it; end that"
                    " first"
                )

    def _is_live(self, lease: sqlite3.Row) -> bool:
        process = ProcessId(lease["host"], lease["pid"], lease["started"])
        silence = abs(time.time() - lease["heartbeat"])  # a clock may have been set back
        return silence < EXPIRY_SECONDS and not process.is_dead()

    def _beat(self) -> None:
        while not self._ended.is_set():
            # a full disk or another program's lock may be gone at the next heartbeat
            with suppress(Exception), closing(self.store.file.connect()) as connection:
                self._beat_with(connection)
            self._ended.wait(HEARTBEAT_SECONDS)

    def _beat_with(self, connection: sqlite3.Connection) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            connection.execute(
                "UPDATE leases SET heartbeat = ? WHERE owner = ?", (time.time(), self._owner)
            )
