"""Leases when something goes wrong: the store, the clock, the heartbeat."""

import sqlite3
import threading
import time
from pathlib import Path

import pytest
from small import GRID, small_study

from recollect.errors import UserError
from recollect.studies.events import TrialEnded, TrialStarted
from recollect.studies.leases import EXPIRY_SECONDS, Leases
from recollect.studies.replay import Request
from recollect.studies.runner import run_study
from recollect.studies.store import Store

STUDY = small_study(["attention"], search=GRID.replace(rates=[1e-3]), seeds=[1])
(CELL,) = STUDY.cells()
KEY = CELL.key(1e-3, 1)
REQUEST = Request(1e-3, 1, None)


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "results.db") as store:
        yield store


@pytest.fixture
def _quick(monkeypatch):
    monkeypatch.setattr("recollect.studies.leases.HEARTBEAT_SECONDS", 0.01)


def heartbeat(store: Store) -> float:
    return store.rows("SELECT heartbeat FROM leases")[0]["heartbeat"]


def beats_again(store: Store) -> bool:
    before = heartbeat(store)
    for _ in range(1000):  # ten seconds, for a beat that is due every hundredth
        if heartbeat(store) > before:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(
    "error",
    [
        UserError("the store cannot be used"),
        OSError("too many open files"),
        sqlite3.DatabaseError("malformed"),
        MemoryError(),
    ],
    ids=repr,
)
@pytest.mark.usefixtures("_quick")
def test_a_heart_beats_on_after_any_error(store: Store, monkeypatch, error):
    failures, connect = [error] * 3, store.file.connect

    def try_to_connect() -> sqlite3.Connection:
        if failures:
            raise failures.pop()
        return connect()

    monkeypatch.setattr(store.file, "connect", try_to_connect)
    with Leases(store) as leases:
        leases.claim(CELL, REQUEST)
        assert beats_again(store)
    assert not failures


@pytest.mark.usefixtures("_quick")
def test_a_heart_beats_on_after_its_connection_has_broken(store: Store, monkeypatch):
    opened, connect = [], store.file.connect

    def noted() -> sqlite3.Connection:
        connection = connect()
        opened.append(connection)
        if len(opened) <= 3:
            connection.close()
        return connection

    monkeypatch.setattr(store.file, "connect", noted)
    with Leases(store) as leases:
        leases.claim(CELL, REQUEST)
        assert beats_again(store)
    assert len(opened) == 4


@pytest.mark.parametrize("years", [-1, 1])
def test_a_lease_of_another_time_is_free(store: Store, years):
    """The clock was set since; of another machine it is not known whether the process lives."""
    row = (KEY, CELL.id, "x", "another machine", 1, "then", time.time() + years * 365 * 86400)
    with store.transaction() as connection:
        connection.execute("INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    with Leases(store) as leases:
        assert leases.claim(CELL, REQUEST)


@pytest.mark.parametrize("ends", [True, False])
def test_a_trial_that_another_run_has_taken_is_left_to_it(store: Store, monkeypatch, ends):
    """As it does when the heartbeats of this one have stopped for too long. Where the other ends
    without a result, this run trains it again."""
    saved: list[float] = []
    save = store.save

    def noted(*arguments) -> None:
        saved.append(time.time())
        save(*arguments)

    monkeypatch.setattr(store, "save", noted)
    gone: list[float] = []

    def let_go() -> None:
        with Store(store.path) as other, other.transaction() as connection:
            if ends:
                connection.execute("DELETE FROM leases")
            else:
                stale = time.time() - EXPIRY_SECONDS
                connection.execute("UPDATE leases SET heartbeat = ?", (stale,))
        gone.append(time.time())

    def on_event(event: object) -> None:
        if isinstance(event, TrialStarted) and not gone and not timer.is_alive():
            with Store(store.path) as other, other.transaction() as connection:
                connection.execute(
                    "UPDATE leases SET owner = 'x', host = 'another machine', heartbeat = ?",
                    (time.time(),),
                )
            timer.start()
        ended.append(isinstance(event, TrialEnded))

    ended: list[bool] = []
    timer = threading.Timer(1.0, let_go)
    run_study(STUDY, store, workers=0, device="cpu", on_event=on_event)
    assert len(saved) == sum(ended) == 1
    assert saved[0] > gone[0]
