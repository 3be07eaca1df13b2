"""Studies in processes of their own, which are killed, interrupted, and set against each other."""

import os
import random
import signal
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pandas as pd
import pytest
import study_script
from small import untimed

import forked
from recollect.studies.observations import read_observations
from recollect.studies.process import identify
from recollect.studies.results import cells_frame, history_frame, trials_frame
from recollect.studies.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The study, run by one process without interruption."""
    path = tmp_path_factory.mktemp("whole") / "whole.db"
    assert ended_with(start(path, path.with_suffix(".log"), workers=0)) == 0
    with Store(path, must_exist=True) as store:
        yield store


def start(store: Path, log: Path, workers: int, *, observe: bool = False) -> ForkServerProcess:
    log.touch()
    return forked.start(study_script.main, store, log, workers, observe)


def ended_with(process: ForkServerProcess) -> int | None:
    """The exit code of a process, when it has ended."""
    process.join()
    return process.exitcode


def lines(log: Path, kind: str) -> list[str]:
    return [line for line in log.read_text().splitlines() if line.startswith(kind)]


def wait_until(condition) -> None:
    while not condition():
        time.sleep(0.005)


def ended(path: Path) -> dict[str, tuple]:
    """The trials that need no more training, with the moment at which they were stored."""
    if not path.exists():
        return {}
    with Store(path) as store:
        rows = store.rows("SELECT key, step, updated FROM trials WHERE status <> 'stopped'")
        return {row["key"]: (row["step"], row["updated"]) for row in rows}


def assert_equal_tables(store: Store, whole: Store) -> None:
    for frame in (cells_frame, trials_frame, history_frame):
        pd.testing.assert_frame_equal(
            untimed(frame(store, "small")), untimed(frame(whole, "small"))
        )


def test_a_killed_study_goes_on_and_ends_as_if_nothing_had_happened(whole: Store, tmp_path: Path):
    path, log, chance = tmp_path / "results.db", tmp_path / "log", random.Random(0)
    finished: dict[str, tuple] = {}
    for workers, end in ((2, signal.SIGKILL), (1, signal.SIGINT)):
        process = start(path, log, workers)
        goal = len(lines(log, "trial")) + chance.randint(2, 4)
        wait_until(lambda p=process, g=goal: len(lines(log, "trial")) >= g or not p.is_alive())
        time.sleep(chance.random() * 0.1)
        children = [identify(int(line.split()[1])) for line in lines(log, "worker")]
        os.kill(process.pid, end)
        assert ended_with(process) != 0
        assert finished.items() <= ended(path).items(), "no trial is lost or repeated"
        finished = ended(path)
        wait_until(lambda c=children: all(child.is_dead() for child in c))
    assert ended_with(start(path, log, workers=0)) == 0
    assert finished.items() <= ended(path).items()
    with Store(path) as store:
        assert_equal_tables(store, whole)
        assert store.rows("SELECT * FROM leases") == []
    assert {entry.name for entry in tmp_path.iterdir()} == {"results.db", "log"}


def test_what_a_killed_study_has_observed_is_whole(whole: Store, tmp_path: Path):
    """Killed when it goes on with the trials that were stopped half-way."""
    path, log = tmp_path / "results.db", tmp_path / "log"
    process = start(path, log, workers=0, observe=True)
    wait_until(lambda: "until=None" in log.read_text() or not process.is_alive())
    process.kill()
    assert ended_with(process) != 0
    stopped = list(tmp_path.rglob("checkpoint.safetensors"))
    assert stopped
    assert ended_with(start(path, log, workers=0, observe=True)) == 0
    with Store(path) as store:
        assert_equal_tables(store, whole)
        assert not list(tmp_path.rglob("checkpoint.safetensors"))
        complete = trials_frame(store, "small").query("status == 'complete'")["key"]
        assert {path.parent.name for path in stopped} & set(complete), "some went on"
        for key in complete:
            seen, _ = read_observations(store.observations_path(key))
            assert list(seen.scores["step"].unique()) == list(range(0, 21, 2))
            assert not seen.scores.duplicated(["step", "layer", "head"]).any()


def test_two_processes_on_one_store_run_each_trial_once(whole: Store, tmp_path: Path):
    path, log = tmp_path / "results.db", tmp_path / "log"
    processes = [start(path, log, workers=0) for _ in range(2)]
    assert [ended_with(process) for process in processes] == [0, 0]
    trials = lines(log, "trial")
    assert len(trials) == len(set(trials)) == len(lines(whole.path.with_suffix(".log"), "trial"))
    with Store(path) as store:
        assert_equal_tables(store, whole)
