"""Stores that are only read: nothing is left beside them, and they need not be writable.

Permissions bind no superuser, so that what they forbid is tried by a process of another user.
"""

import multiprocessing
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small import small_study
from test_store import result

from recollect.errors import UserError
from recollect.studies.access import Access
from recollect.studies.results import cells_frame, trials_frame
from recollect.studies.runner import run_study
from recollect.studies.store import Store
from recollect.studies.transfer import export, merge

STUDY = small_study(["attention"])
(CELL,) = STUDY.cells()
NOBODY = 65534
as_superuser = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only a superuser can become another user"
)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Unlike pytest's own a folder that others may enter as it is: the folders above those are
    shared by all processes that run tests, and one of them would close what another has opened."""
    with tempfile.TemporaryDirectory(prefix="recollect-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with a result, in a folder of its own."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with Store(folder / "results.db") as store:
        store.record_study("small", "settings", [CELL])
        store.save(CELL, 1e-3, 1, result())
    return folder / "results.db"


def read(path: Path, out: Path) -> None:
    """All that a store is read for."""
    with Store(path, must_exist=True) as store:
        assert len(trials_frame(store, "small")) == 1
        assert not cells_frame(store, "small").empty
        assert store.former_cells("small") == ()
        export(store, out / "export.db")
    with Store(out / "another.db") as another:
        assert merge(another, path).trials == 1
    with Store(out / "export.db") as copy:
        assert len(copy.trials(CELL)) == 1


def refuses_to_write(path: Path, what: str) -> None:
    with Store(path) as store:
        with pytest.raises(UserError, match=f"can only be read: {what} cannot be written"):
            run_study(STUDY, store, workers=0, device="cpu")
        with pytest.raises(UserError, match="can only be read"):
            store.save(CELL, 1e-2, 1, result())
        assert len(store.trials(CELL)) == 1


def as_nobody(act: Callable[[], None]) -> None:
    """Run something as a user who owns nothing, in a process of its own."""

    def child() -> None:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        act()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == 0


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


@pytest.fixture
def open_to_all(tmp_path: Path) -> Path:
    """A folder that anybody may write to."""
    closed = [folder for folder in tmp_path.parents if folder.stat().st_mode & 0o005 != 0o005]
    if closed:
        pytest.skip(f"others may not enter {closed[0]}, where temporary files lie")
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o777)
    return out


def test_reading_changes_nothing_and_leaves_nothing(path: Path, tmp_path: Path):
    before = contents(path.parent)
    read(path, tmp_path)
    assert contents(path.parent) == before


def test_reading_does_not_change_the_journal_of_an_older_export(path: Path, tmp_path: Path):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    before = contents(path.parent)
    read(path, tmp_path)
    assert contents(path.parent) == before


@as_superuser
@pytest.mark.parametrize(
    ("file", "folder", "what"),
    [(0o444, 0o555, "the file"), (0o666, 0o555, "its folder"), (0o444, 0o777, "the file")],
)
def test_what_cannot_be_written_can_be_read(path: Path, open_to_all: Path, file, folder, what):
    path.chmod(file)
    path.parent.chmod(folder)
    before = contents(path.parent)
    as_nobody(lambda: read(path, open_to_all))
    as_nobody(lambda: refuses_to_write(path, what))
    assert contents(path.parent) == before


@as_superuser
def test_another_user_reads_what_is_being_written(path: Path, open_to_all: Path):
    def see(count: int) -> None:
        with Store(path) as store:
            assert len(store.trials(CELL)) == count

    with Store(path) as writer:
        for seed in (2, 3):
            writer.save(CELL, 1e-3, seed, result())
            as_nobody(lambda n=seed: see(n))
        assert len(list(path.parent.iterdir())) == 3, "the file and its log"
    as_nobody(lambda: see(3))
    assert len(list(path.parent.iterdir())) == 1


@as_superuser
def test_results_in_a_log_that_cannot_be_read_are_reported(path: Path, open_to_all: Path):
    """As of a machine that lost its power, copied to where nothing can be written."""
    copy = open_to_all / "copy"
    copy.mkdir()
    with Store(path) as writer:
        writer.save(CELL, 1e-3, 2, result())
        for entry in path.parent.iterdir():
            if not entry.name.endswith("-shm"):
                shutil.copy(entry, copy)
    copy.chmod(0o555)

    def refused() -> None:
        with pytest.raises(UserError, match=r"results\.db-wal"):
            Store(copy / "results.db")

    as_nobody(refused)


def test_a_store_that_changes_while_it_is_taken_not_to_is_refused(path: Path, monkeypatch):
    monkeypatch.setattr("recollect.studies.access.os.access", lambda *_: False)
    with Store(path) as reader:
        assert len(reader.trials(CELL)) == 1
        monkeypatch.undo()
        with Store(path) as writer:
            writer.save(CELL, 1e-3, 2, result())
        with pytest.raises(UserError, match="was written while it was read"):
            reader.trials(CELL)


@pytest.mark.parametrize("name", ["a b?#%.db", "ünï;=&.db", "file:x.db", "x.db?mode=memory"])
def test_any_name_of_a_file(tmp_path: Path, name: str):
    with Store(tmp_path / name) as store:
        store.save(CELL, 1e-3, 1, result())
    with Store(tmp_path / name, must_exist=True) as store:
        assert len(store.trials(CELL)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_what_is_possible_is_seen_at_the_start(path: Path, monkeypatch):
    assert Access.to(path).uri.endswith("/results.db?mode=rw")
    monkeypatch.setattr("recollect.studies.access.os.access", lambda *_: False)
    assert Access.to(path).uri.endswith("?mode=ro&immutable=1")
    with Store(path) as _, sqlite3.connect(path) as writer:
        writer.execute("CREATE TABLE more (x)")
        assert Access.to(path).uri.endswith("?mode=ro")
    writer.close()
