"""Kills a small study again and again, and sees that nothing is lost and nothing done twice.

Usage: python tests/soak/kill_study.py [--kills 200] [--seed 0] [--workers 2] [--on processes]

A study is started, its driver or one of its worker processes is killed (kill -9) at a random
moment, and it is started again, until it ends; then the next study, until so many kills are done.
After each kill no trial that was stored as ended may be missing or have been stored again; a
finished study has the tables of one that nobody killed, and leaves no lease and no checkpoint. The
seed and every kill are printed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
from torch import Tensor, nn

import recollect as rc
import recollect.training.trial
from recollect.studies.results import cells_frame, history_frame, trials_frame
from recollect.studies.runner import run_study
from recollect.studies.search import LearningRateSearch
from recollect.studies.store import Store

recollect.training.trial.CHECKPOINT_SECONDS = 0.05  # in workers too, which import this file
NAME = "soak"


class Sum(nn.Module):
    """The mean of the past, trained in time for a kill."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.002)
        return self.linear(x.cumsum(dim=1))


def soak_study() -> rc.Study:
    return rc.Study(
        NAME,
        tasks=[rc.MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)],
        models=rc.models_grid([Sum, "attention"], d_model=[8, 16], n_layers=[1]),
        train=rc.TrainConfig(
            steps=60, batch_size=8, eval_every=5, valid_examples=16, test_examples=16
        ),
        search=LearningRateSearch(
            low=1e-3, high=1e-1, per_decade=1, rungs=(0.5,), refine=0, search_seeds=0
        ),
        seeds=(1, 2),
    )


def run(path: str, workers: int, on: str) -> None:
    """What a started process does."""
    with Store(path) as store:
        run_study(soak_study(), store, workers=workers, device="cpu", on=on)


def start(path: Path, workers: int, on: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, __file__, "--run", str(path), "--workers", str(workers), "--on", on]
    return subprocess.Popen(words, env=environment)


def descendants(pid: int) -> Iterator[int]:
    """The processes that a process has started, and those that these have."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(stat.parent.name))
    waiting = [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        yield from children
        waiting += children


def is_worker(pid: int) -> bool:
    """Whether a process trains, and does not only look after others."""
    with suppress(OSError):
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def ended(path: Path) -> dict[str, tuple[int, float]]:
    """The trials that need no more training: their steps, and when they were stored."""
    if not path.exists():
        return {}
    with Store(path) as store:
        rows = store.rows("SELECT key, step, updated FROM trials WHERE status <> 'stopped'")
        return {row["key"]: (row["step"], row["updated"]) for row in rows}


def check_whole(path: Path, undisturbed: Path) -> None:
    with Store(path) as store, Store(undisturbed) as whole:
        for frame in (cells_frame, trials_frame, history_frame):
            ours, theirs = (
                frame(each, NAME).drop(columns=["seconds", "device"], errors="ignore")
                for each in (store, whole)
            )
            pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
        assert store.rows("SELECT * FROM leases") == []
        assert store.rows("SELECT * FROM failures") == []
    left = [entry for entry in path.parent.rglob("*") if path.name not in entry.name]
    assert not left, f"{left} outlives the study"


def kill_once(
    process: subprocess.Popen[bytes],
    path: Path,
    longest: float,
    chance: random.Random,
    *,
    spare_workers: bool,
) -> str:
    """Kill the driver, or a worker and see the study go on; what was killed, "" for nothing."""
    before, moment = ended(path), chance.uniform(0.5, longest)
    with suppress(subprocess.TimeoutExpired):
        process.wait(moment)
        return ""
    workers = [pid for pid in descendants(process.pid) if is_worker(pid)]
    may_be_worker = workers and not spare_workers
    killed = "worker" if may_be_worker and chance.random() < 0.5 else "driver"
    victim = chance.choice(workers) if killed == "worker" else process.pid
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    if killed == "driver":
        process.wait()
        orphans = [pid for pid in workers if Path(f"/proc/{pid}").exists()]
        deadline = time.monotonic() + 30
        while orphans and time.monotonic() < deadline:
            time.sleep(0.01)
            orphans = [pid for pid in orphans if is_worker(pid)]
        assert not orphans, f"workers {orphans} outlive their driver"
    assert before.items() <= ended(path).items(), "an ended trial is lost or was run again"
    return f"{killed} after {moment:.1f} s, {len(ended(path))} trials ended"


def soak(kills: int, seed: int, workers: int, on: str) -> None:
    chance = random.Random(seed)
    print(f"seed {seed}, {kills} kills, {workers} workers, on {on}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = Path(folder) / "undisturbed.db"
        began = time.monotonic()
        assert start(undisturbed, workers, on).wait() == 0
        longest = time.monotonic() - began
        print(f"undisturbed: {longest:.1f} s, {len(ended(undisturbed))} trials", flush=True)
        done = studies = 0
        while done < kills:
            place = Path(folder) / str(studies)
            place.mkdir()
            done += one_study(place / "soak.db", longest, kills - done, chance, workers, on)
            check_whole(place / "soak.db", undisturbed)
            studies += 1
        print(f"{done} kills over {studies} studies: nothing lost, nothing twice, tables equal")


def one_study(
    path: Path, longest: float, kills: int, chance: random.Random, workers: int, on: str
) -> int:
    """A study from its beginning to its end, with so many kills at most; how many there were."""
    done, lost = 0, False
    process = start(path, workers, on)
    while process.poll() is None:
        finished = ended(path)
        if done == kills:
            process.wait()
        else:  # a trial that loses its worker twice in one run has failed
            told = kill_once(process, path, longest, chance, spare_workers=lost)
            done += bool(told)
            lost = lost or told.startswith("worker")
            if told:
                print(f"kill: {told}", flush=True)
        assert finished.items() <= ended(path).items(), "an ended trial is lost or was run again"
        if process.poll() is not None and process.returncode != 0:
            process, lost = start(path, workers, on), False
    assert process.returncode == 0
    return done


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--kills", type=int, default=200)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--on", default="processes")
    words.add_argument("--run", metavar="STORE", help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.run is not None:
        run(given.run, given.workers, given.on)
    else:
        soak(given.kills, given.seed, given.workers, given.on)


if __name__ == "__main__":
    main()
