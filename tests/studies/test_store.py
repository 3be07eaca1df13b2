import math
import os
import signal
import sqlite3
import subprocess
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from small import RACE, small_study

import forked
from recollect.errors import UserError
from recollect.studies.leases import EXPIRY_SECONDS, Leases
from recollect.studies.process import ProcessId, identify
from recollect.studies.replay import Request
from recollect.studies.results import cells_frame, trials_frame
from recollect.studies.search import BestRateSearch
from recollect.studies.store import Store
from recollect.training.result import Metrics, Record, TrialResult

CELL, OTHER = small_study().cells()
REQUEST = Request(1e-3, 1, None)
GOOD = Metrics(loss=0.1, accuracy=0.9, example_accuracy=0.8)


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "results.db") as opened:
        yield opened


def result(status="complete", step=4, loss=0.1) -> TrialResult:
    valid = Metrics(loss=loss, accuracy=0.75, example_accuracy=0.5)
    return TrialResult(
        key="",
        status=status,
        step=step,
        history=tuple(Record(at, 1e-3, loss, valid, 0.1) for at in range(2, step + 1, 2)),
        test={CELL.task: GOOD} if status == "complete" else {},
        parameters=10,
        device="cpu",
        seconds=1.5,
    )


def test_a_trial_is_read_as_it_was_saved(store: Store):
    store.save(CELL, 0.1 + 0.2, 1, result())
    (trial,) = store.trials(CELL).values()
    assert store.trials(CELL).keys() == {(0.1 + 0.2, 1)}
    assert store.trials(OTHER) == {}
    assert trial.key == CELL.key(0.1 + 0.2, 1)
    assert trial.accuracies == trial.scores == {2: 0.75, 4: 0.75}
    assert trial.test_metric(CELL.task, "example_accuracy") == 0.8
    assert store.config(trial.key) == CELL.trial(0.1 + 0.2, 1)
    assert [record["step"] for record in store.history(trial.key)] == [2, 4]


def test_what_a_search_goes_by_where_loss_counts(store: Store):
    """The share of the loss of guessing that is saved; accuracy stays what it is."""
    cell = CELL.replace(guess_loss=2.0)
    store.save(cell, 1e-3, 1, result(loss=0.5))
    store.save(cell, 1e-2, 1, result(loss=3.0))
    good, bad = store.trials(cell).values()
    assert good.scores == {2: 0.75, 4: 0.75}
    assert bad.scores == {2: 0.0, 4: 0.0}
    assert good.score(2) > bad.score(None)
    assert good.valid_accuracy == bad.valid_accuracy == 0.75
    assert (good.valid_loss, bad.valid_loss) == (0.5, 3.0)


@pytest.mark.parametrize(("marginal_loss", "learnt"), [(None, True), (1.5, False)])
def test_where_loss_counts_a_model_has_learnt_that_saves_loss(store: Store, marginal_loss, learnt):
    """The chance level, an accuracy of 0.5 here, says nothing about a loss."""
    cell = CELL.replace(guess_loss=2.0, marginal_loss=marginal_loss)
    for rate, seed in product(cell.search.rates, cell.seeds):
        store.save(cell, rate, seed, result(loss=1.4))
    store.record_study("small", "", [cell])
    assert cells_frame(store, "small")["learnt"].tolist() == [learnt]


def test_a_trial_that_another_study_trained_further_took_what_this_one_used(store: Store):
    """Steps, status and seconds of a rate that was stopped at a rung are those at the rung."""
    race = {name: getattr(RACE, name) for name in ("low", "high", "per_decade", "rungs", "refine")}
    cell = CELL.replace(search=BestRateSearch(**race, search_seeds=0))
    for rate, accuracy in ((1e-3, 0.5), (1e-2, 1.0), (1e-1, 0.5)):
        valid = Metrics(loss=0.1, accuracy=accuracy, example_accuracy=0.5)
        history = tuple(Record(at, rate, 0.1, valid, at / 10) for at in (2, 4, 6, 8))
        for seed in cell.seeds:
            store.save(cell, rate, seed, replace(result(step=8), history=history, seconds=0.9))
    store.record_study("small", "", [cell])
    (row,) = cells_frame(store, "small").to_dict("records")
    trials = trials_frame(store, "small")
    stopped = trials[trials["status"] == "stopped"]
    assert set(trials["step"]) == {4, 8}
    assert set(stopped["seconds"]) == {0.4}
    assert row["search_steps"] == trials["step"].sum()
    assert row["seconds"] == pytest.approx(trials["seconds"].sum())


def test_going_on_replaces_what_was_stored(store: Store):
    store.save(CELL, 1e-3, 1, result("stopped", step=2))
    (created,) = store.rows("SELECT created FROM trials")
    store.save(CELL, 1e-3, 1, result(step=8))
    (trial,) = store.trials(CELL).values()
    assert (trial.status, trial.step, len(trial.accuracies)) == ("complete", 8, 4)
    assert store.rows("SELECT created FROM trials") == [created]


def test_what_comes_late_does_not_undo_what_another_process_has_stored(store: Store):
    store.save(CELL, 1e-3, 1, result("stopped", step=4))
    store.save(CELL, 1e-3, 1, result("stopped", step=2))
    (trial,) = store.trials(CELL).values()
    assert (trial.step, len(store.history(trial.key))) == (4, 2)
    store.save(CELL, 1e-3, 1, result(step=8))
    store.save(CELL, 1e-3, 1, result("stopped", step=6))
    (trial,) = store.trials(CELL).values()
    assert (trial.status, trial.step, len(store.history(trial.key))) == ("complete", 8, 4)
    store.save(CELL, 1e-3, 1, replace(result(step=8), device="another"))
    (trial,) = store.trials(CELL).values()
    assert trial.device == "another", "beside it lie that one's weights and observations"


def test_trials_are_read_as_of_one_moment_while_others_store(store: Store, monkeypatch):
    """Whatever another process stores between two queries, a trial's step is in its history."""
    store.save(CELL, 1e-3, 1, result("stopped", step=2))
    queries = []
    ask = store.rows

    def rows(query: str, *values: object) -> list[sqlite3.Row]:
        found = ask(query, *values)
        if query.startswith("SELECT"):
            queries.append(query)
            with Store(store.path) as other:
                other.save(CELL, 1e-3, 1, result("stopped", step=2 + 2 * len(queries)))
        return found

    monkeypatch.setattr(store, "rows", rows)
    (trial,) = store.trials(CELL).values()
    assert len(queries) > 1
    assert trial.step in trial.scores
    assert trial.step == max(trial.scores) == 2
    monkeypatch.undo()
    (trial,) = store.trials(CELL).values()
    assert trial.step == max(trial.scores) > 2


def test_a_diverged_trial_keeps_losses_that_are_no_numbers(store: Store):
    store.save(CELL, 1e-3, 1, result("diverged", loss=math.nan))
    store.save(CELL, 1e-3, 2, result("diverged", loss=math.inf))
    first, second = store.trials(CELL).values()
    assert math.isnan(store.history(first.key)[0]["train_loss"])
    assert math.isinf(store.history(second.key)[0]["valid_loss"])
    assert first.score(None) == first.valid_accuracy == 0.0
    assert first.test_metric(CELL.task, "accuracy") == 0.0
    assert first.test_metric(CELL.task, "loss") == math.inf


def test_nothing_of_a_trial_is_stored_where_a_part_cannot_be(store: Store):
    record = replace(result().history[0], step=None)  # what the table refuses
    with pytest.raises(sqlite3.IntegrityError):
        store.save(CELL, 1e-3, 1, replace(result(), history=(record,)))
    assert store.trials(CELL) == {}


def test_a_store_lasts(tmp_path: Path):
    with Store(tmp_path / "results.db") as first:
        first.save(CELL, 1e-3, 1, result())
    with Store(tmp_path / "results.db", must_exist=True) as second:
        assert len(second.trials(CELL)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["results.db"]


# what is not there


def test_an_unknown_study_or_trial_is_a_user_error(store: Store):
    with pytest.raises(UserError, match="has no studies yet"):
        store.cells("small")
    store.record_study("small", "settings", [CELL])
    with pytest.raises(UserError, match="did you mean 'small'"):
        store.cells("smal")
    with pytest.raises(UserError, match="no trial 'abc'"):
        store.config("abc")


# files that are no stores


def foreign_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE trials (key TEXT)")
    connection.close()


def later_version(path: Path) -> None:
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("key,accuracy\n"), "not an SQLite database"),
        (lambda path: path.write_bytes(b""), "is empty, so it is not a store"),
        (foreign_database, "another program's database"),
        (later_version, "version 99, but this Recollect reads versions up to 2"),
        (lambda path: path.mkdir(), "is a folder: expected a file"),
        (os.mkfifo, "a pipe or a device"),
        (lambda path: path.symlink_to("/dev/null"), "a pipe or a device"),
        (lambda path: path.symlink_to(path), "cannot read the store"),
    ],
)
def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path: Path, make, message):
    path = tmp_path / "file"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(UserError, match=message):
        Store(path)
    assert before == (path.read_bytes() if path.is_file() else None)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("path", [":memory:", Path(":memory:"), "folder/:memory:"])
def test_a_store_in_memory_is_refused_in_words(tmp_path: Path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="results would be lost"):
        Store(path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_store_is_a_user_error(tmp_path: Path):
    path = tmp_path / "results.db"
    Store(path).close()
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    with pytest.raises(UserError, match="cannot be used"), Store(path) as store:
        store.trials(CELL)


@pytest.mark.parametrize("folder", ["absent", "file"])
def test_a_folder_that_cannot_be_written_is_a_user_error(tmp_path: Path, folder):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        Store(tmp_path / folder / "results.db")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_missing_store_is_made_only_to_be_written(tmp_path: Path):
    with pytest.raises(UserError, match="there is no store"):
        Store(tmp_path / "results.db", must_exist=True)
    assert list(tmp_path.iterdir()) == []


# leases


def test_a_trial_is_leased_once(store: Store):
    with Leases(store) as ours, Leases(store) as theirs:
        assert ours.claim(CELL, REQUEST)
        assert not theirs.claim(CELL, REQUEST)
        assert theirs.elsewhere() == {CELL.key(1e-3, 1)}
        assert ours.elsewhere() == set()
        assert theirs.claim(OTHER, REQUEST)
    assert store.rows("SELECT * FROM leases") == []


def test_what_is_stored_meanwhile_is_not_leased(store: Store):
    with Leases(store) as leases:
        store.save(CELL, 1e-3, 1, result("stopped", step=4))
        assert not leases.claim(CELL, Request(1e-3, 1, 4))
        assert leases.claim(CELL, Request(1e-3, 1, 6))
        store.save(CELL, 1e-3, 1, result("complete", step=5))
        assert not leases.claim(CELL, Request(1e-3, 1, 6))


def test_a_lease_is_given_up_by_who_holds_it(store: Store):
    with Leases(store) as ours, Leases(store) as theirs:
        ours.claim(CELL, REQUEST)
        theirs.give_up(CELL.key(1e-3, 1))
        assert theirs.elsewhere() == {CELL.key(1e-3, 1)}
        ours.give_up(CELL.key(1e-3, 1))
        assert store.rows("SELECT * FROM leases") == []


HERE = identify(os.getpid())


@pytest.mark.parametrize(
    ("process", "age", "is_free"),
    [
        (HERE, 0.0, False),
        (HERE, EXPIRY_SECONDS + 1, True),
        (replace(HERE, started="an earlier process of this number"), 0.0, True),
        (ProcessId("another machine", HERE.pid, "then"), 0.0, False),
        (ProcessId("another machine", HERE.pid, "then"), EXPIRY_SECONDS + 1, True),
    ],
)
def test_a_lease_ends_with_its_process_or_its_heartbeat(store: Store, process, age, is_free):
    row = (CELL.key(1e-3, 1), CELL.id, "x", process.host, process.pid, process.started)
    with store.transaction() as connection:
        connection.execute(
            "INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, time.time() - age)
        )
    with Leases(store) as leases:
        assert (leases.elsewhere() == set()) == is_free
        assert leases.claim(CELL, REQUEST) == is_free


def test_a_heartbeat_keeps_leases_alive(store: Store, monkeypatch):
    monkeypatch.setattr("recollect.studies.leases.HEARTBEAT_SECONDS", 0.01)
    with Leases(store) as leases:
        leases.claim(CELL, REQUEST)
        (claimed,) = store.rows("SELECT heartbeat FROM leases")
        for _ in range(1000):  # ten seconds, for a beat that is due every hundredth
            (now,) = store.rows("SELECT heartbeat FROM leases")
            if now["heartbeat"] > claimed["heartbeat"]:
                break
            time.sleep(0.01)
        assert now["heartbeat"] > claimed["heartbeat"]


def test_a_heart_goes_on_beating_after_the_store_was_busy(store: Store, monkeypatch):
    monkeypatch.setattr("recollect.studies.leases.HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr("recollect.studies.access.BUSY_SECONDS", 0.01)
    with Leases(store) as leases:
        leases.claim(CELL, REQUEST)
        with store.transaction():
            time.sleep(0.3)
        (before,) = store.rows("SELECT heartbeat FROM leases")
        for _ in range(1000):
            (now,) = store.rows("SELECT heartbeat FROM leases")
            if now["heartbeat"] > before["heartbeat"]:
                break
            time.sleep(0.01)
        assert now["heartbeat"] > before["heartbeat"]


def test_the_dead_are_known_from_the_living():
    assert not identify(os.getpid()).is_dead()
    with subprocess.Popen(["sleep", "1000"]) as child:
        living = identify(child.pid)
        assert not living.is_dead()
        child.kill()
    assert living.is_dead()
    assert identify(child.pid).is_dead()


def test_cells_are_forgotten_when_nobody_works_on_them(store: Store):
    for cell in (CELL, OTHER):
        store.save(cell, 1e-3, 1, result())
    checkpoint = store.checkpoint_path(CELL.key(1e-3, 1))
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"...")
    with Leases(store) as ours, Leases(store) as theirs:
        theirs.claim(CELL, Request(1e-2, 1, None))
        with pytest.raises(UserError, match="end that first"):
            ours.forget("study", [OTHER, CELL], [OTHER, CELL])
        assert (len(store.trials(CELL)), len(store.trials(OTHER))) == (1, 1)
    with Leases(store) as ours:
        ours.forget("study", [CELL], [CELL, OTHER])
    assert (len(store.trials(CELL)), len(store.trials(OTHER))) == (0, 1)
    assert not checkpoint.exists()
    assert store.rows("SELECT * FROM measured WHERE key = ?", CELL.key(1e-3, 1)) == []


def test_sweeping_leaves_weights_and_observations(store: Store):
    kept = [store.weights_path("k"), store.observations_path("k")]
    checkpoint = store.checkpoint_path("k")
    checkpoint.parent.mkdir(parents=True)
    for path in (*kept, checkpoint):
        path.write_bytes(b"...")
    store.artifacts.sweep("k")
    assert not checkpoint.exists()
    for path in kept:
        path.unlink()
        store.artifacts.sweep("k")
    assert not store.folder.exists()
    store.artifacts.sweep("k")


def _look(path: Path) -> None:
    """Open and close a store, as `recollect show` does."""
    with Store(path):
        pass


def _write_and_die(path: Path) -> None:
    """Open a store twice and close the second; end without closing the first."""
    store = Store(path)
    store.save(CELL, 1e-3, 1, result())
    _look(path)
    other = forked.start(_look, path)
    other.join()
    store.save(CELL, 1e-3, 2, result())
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_process_stores_lasts_if_it_opened_the_store_twice(tmp_path: Path):
    """Closing a descriptor of the file would release the locks of all its connections, and the next
    process that closes the store would delete the log under them."""
    path = tmp_path / "results.db"
    _look(path)
    writer = forked.start(_write_and_die, path)
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    with Store(path) as store:
        assert store.trials(CELL).keys() == {(1e-3, 1), (1e-3, 2)}


def test_descriptors_are_closed_with_the_store(tmp_path: Path):
    path = tmp_path / "results.db"
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    with Store(path):
        for _ in range(20):
            _look(path)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_trial_stopped_between_validations_has_the_result_of_the_last(store: Store):
    store.save(CELL, 1e-3, 1, replace(result("stopped"), step=5))
    (trial,) = store.trials(CELL).values()
    assert (trial.step, trial.valid_accuracy, trial.valid_loss) == (5, 0.75, 0.1)


def test_a_store_can_be_made_without_hard_links(tmp_path: Path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with Store(tmp_path / "results.db") as store:
        store.save(CELL, 1e-3, 1, result())
        assert len(store.trials(CELL)) == 1
