"""Stores of version 1: a real one, with what this program's earlier version printed of it."""

import multiprocessing
import os
import signal
import sqlite3
import time
import warnings
from pathlib import Path

import pandas as pd
import pytest

from recollect.errors import UserError
from recollect.studies import older
from recollect.studies.results import cells_frame, history_frame, metrics_frame, trials_frame
from recollect.studies.schema import SCHEMA_VERSION, version_of
from recollect.studies.store import Store
from recollect.studies.transfer import export, merge

VERSION1 = Path(__file__).parent / "version1"
FRAMES = {"cells": cells_frame, "trials": trials_frame, "history": history_frame}
ADDED = ("failures", "history_errors", "former_cells")
"""Tables that the first stores of version 1 lack."""
LATER = ("test_accuracy_min[", "test_accuracy_max[", "valid_example_accuracy")
"""Columns that the earlier version did not print."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The store, in a folder of its own."""
    folder = tmp_path / "folder"
    folder.mkdir()
    connection = sqlite3.connect(folder / "results.db")
    connection.executescript((VERSION1 / "store.sql").read_text())
    connection.close()
    assert version_of(folder / "results.db") == 1
    return folder / "results.db"


def without(path: Path, *tables: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for table in tables:
        connection.execute(f"DROP TABLE {table}")
    connection.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def is_as_it_was(store: Store) -> None:
    """Every table of results says what it said."""
    for name, frame in FRAMES.items():
        found, expected = frame(store, "small"), pd.read_csv(VERSION1 / f"{name}.csv")
        added = {column for column in found if column.startswith(LATER)} - {*expected}
        found = found.drop(columns=[*added])
        empty = [column for column in expected if expected[column].isna().all()]
        assert list(found) == list(expected)
        assert found[empty].replace("", None).isna().all(axis=None)
        pd.testing.assert_frame_equal(
            found.drop(columns=empty), expected.drop(columns=empty), check_dtype=False, rtol=1e-12
        )


def opened(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Store(path) as store:
            store.file.prepare_writing()


def test_it_is_read_and_left_as_it_is(path: Path, tmp_path: Path):
    before = contents(path.parent)
    with Store(path, must_exist=True) as store:
        is_as_it_was(store)
        export(store, tmp_path / "export.db")
    with Store(tmp_path / "new.db") as new:
        assert merge(new, path).trials == 15
        is_as_it_was(new)
        (failure,) = new.rows("SELECT message FROM failures")
        assert failure["message"] == "RuntimeError: shapes do not match"
    assert contents(path.parent) == before
    assert version_of(tmp_path / "export.db") == SCHEMA_VERSION
    with Store(tmp_path / "export.db") as copy:
        is_as_it_was(copy)


def test_it_is_brought_to_this_version_to_be_written_and_a_copy_stays(path: Path):
    before = path.read_bytes()
    (path.parent / "results.v1.db").write_text("a file of the user's")
    with Store(path) as store:
        with pytest.warns(UserWarning, match=r"version 1 .* results\.v1-2\.db") as caught:
            store.file.prepare_writing()
        assert len(caught) == 1
        store.file.prepare_writing()
        is_as_it_was(store)
        assert len(store.former_cells("former")) == 1
        assert store.rows("SELECT * FROM leases") == []
    assert version_of(path) == SCHEMA_VERSION
    assert (path.parent / "results.v1.db").read_text() == "a file of the user's"
    with Store(path.parent / "results.v1-2.db") as copy:
        is_as_it_was(copy)
    assert version_of(path.parent / "results.v1-2.db") == 1
    assert {entry.name for entry in path.parent.iterdir()} == {
        *("results.db", "results.v1.db", "results.v1-2.db")
    }
    assert path.read_bytes() != before


def test_all_its_numbers_are_there_in_long_form(path: Path):
    with Store(path) as store:
        long, history = metrics_frame(store, "small"), history_frame(store, "small")
    tested = long[long["split"] == "test"]
    assert set(tested["task"]) == {"mqar-16x2-v64", "mqar-24x2-v64"}
    assert len(tested) == 7 * 2 * 3
    for split, metric, column in (
        ("train", "loss", "train_loss"),
        ("train", "seconds", "seconds"),
        ("valid", "example_accuracy", "valid_example_accuracy"),
    ):
        rows = long[(long["split"] == split) & (long["metric"] == metric)]
        assert (rows["value"].to_numpy() == history[column].to_numpy()).all()
    valid = long[(long["split"] == "valid") & long["metric"].isin(["loss", "accuracy"])]
    assert valid["error"].notna().all()


@pytest.mark.parametrize("tables", [ADDED[:1], ADDED[:2], ADDED])
def test_the_first_stores_lack_tables(path: Path, tables):
    without(path, *tables)
    with Store(path) as store:
        assert cells_frame(store, "small")["finished"].all()
    opened(path)
    with Store(path) as store:
        (cell,) = store.cells("small")
        errors = [trial.error() for trial in store.trials(cell).values()]
    assert all(error >= 0 for error in errors)


def test_a_run_of_the_earlier_version_is_not_disturbed(path: Path):
    connection = sqlite3.connect(path, isolation_level=None)
    lease = ("key", "cell", "owner", "host", 1, "start", time.time())
    connection.execute("INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?)", lease)
    before = contents(path.parent)
    with Store(path) as store, pytest.raises(UserError, match="process 1 is or was using it"):
        store.file.prepare_writing()
    assert contents(path.parent) == before
    connection.execute("UPDATE leases SET heartbeat = heartbeat - 61")
    connection.close()
    opened(path)
    assert version_of(path) == SCHEMA_VERSION


def killed_in_the_middle(path: Path) -> None:
    calls = []

    def write(*_):
        calls.append(0)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    older.write_measures = write
    opened(path)


def test_who_is_killed_leaves_it_as_it_was(path: Path):
    process = multiprocessing.get_context("fork").Process(target=killed_in_the_middle, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert version_of(path) == 1
    with Store(path) as store:
        is_as_it_was(store)
    opened(path)
    with Store(path) as store:
        is_as_it_was(store)


def test_of_several_that_open_it_one_brings_it_to_this_version(path: Path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=opened, args=(path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["results.db", "results.v1.db"]
    with Store(path) as store:
        is_as_it_was(store)


def test_it_is_written_while_another_program_reads_it(path: Path):
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("PRAGMA journal_mode = WAL")
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM trials").fetchone() == (15,)
    opened(path)
    assert version_of(path) == 1, "the log could be emptied, and this test says nothing"
    with Store(path) as store:
        is_as_it_was(store)
        store.file.prepare_writing()
    assert reader.execute("SELECT count(*) FROM history").fetchone()[0] > 0
    reader.close()
    assert sorted(entry.name for entry in path.parent.iterdir() if "-" not in entry.name) == [
        "results.db",
        "results.v1.db",
    ]
    opened(path)
    with Store(path) as store:
        is_as_it_was(store)
    assert version_of(path) == SCHEMA_VERSION
