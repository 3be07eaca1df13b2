"""Kills a small study again and again, and sees that nothing is lost and nothing done twice.

Usage: python tests/soak/kill_study.py [--kills 200] [--seed 0] [--workers 2] [--on processes]

A study is started, its driver or one of its worker processes is killed (kill -9) at a random
moment, and it is started again, until it ends; then the next study, until so many kills are done.
With `--on ray` the study runs on two nodes that are simulated on this machine, and one of the nodes
is killed too, and joins again. The kinds of kills are as many as each other. After each kill no
trial that was stored as ended may be missing or have been stored again; a finished study has the
tables of one that nobody killed, and leaves no lease and no checkpoint. The seed and every kill are
printed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


@dataclass
class Place:
    """Where the study runs, and what can be killed there.

    Attributes:
        on: the executor.
        workers: how many processes train at most.
        nodes: of Ray; None: there are none.
        kills: how many there were of each kind.
    """

    on: str
    workers: int
    nodes: Any = None
    kills: Counter[str] = field(default_factory=Counter)

    @property
    def address(self) -> str:
        return "" if self.nodes is None else self.nodes.cluster.address

    def start(self, path: Path) -> subprocess.Popen[bytes]:
        """Begin or go on with the study in a process of its own."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        words = [sys.executable, __file__, "--run", str(path), "--workers", str(self.workers)]
        words += ["--on", self.on, "--address", self.address]
        return subprocess.Popen(words, env=environment)

    def choose(self, workers: list[int], chance: random.Random, *, spare_workers: bool) -> str:
        """What is killed next: of what there is, the kind that was killed least."""
        kinds = ["driver"]
        if workers and not spare_workers:
            kinds.append("worker")
        if self.nodes is not None:
            kinds.append("node")
        return min(kinds, key=lambda kind: (self.kills[kind], chance.random()))


@contextmanager
def place(on: str, workers: int) -> Iterator[Place]:
    """With a Ray cluster of two nodes, where the study runs on Ray."""
    if on != "ray":
        yield Place(on, workers)
        return
    sys.path.insert(0, str(Path(__file__).parents[1] / "execution"))
    from two_nodes import TwoNodes

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # no port beyond this machine
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # names of sockets must be short
    nodes = TwoNodes(folder)
    try:
        yield Place(on, workers, nodes)
    finally:
        nodes.cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def run(path: str, workers: int, on: str, address: str) -> None:
    """What a started process does."""
    options = {"address": address} if address else {}
    with Store(path) as store:
        run_study(soak_study(), store, workers=workers, device="cpu", on=on, options=options)


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
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"spawn_main" in command or command.startswith(b"ray::Seat")
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
    where: Place,
    longest: float,
    chance: random.Random,
    *,
    spare_workers: bool,
) -> str:
    """Kill the driver, a worker or a node, and see the study go on; what was killed, "" for
    nothing."""
    before, moment = ended(path), chance.uniform(0.5, longest)
    with suppress(subprocess.TimeoutExpired):
        process.wait(moment)
        return ""
    workers = [pid for pid in descendants(os.getpid()) if is_worker(pid)]
    kind = where.choose(workers, chance, spare_workers=spare_workers)
    if kind == "node":
        where.nodes.kill()
        where.nodes.add()
    else:
        with suppress(ProcessLookupError):
            os.kill(process.pid if kind == "driver" else chance.choice(workers), signal.SIGKILL)
    if kind == "driver":
        process.wait()
        wait_for_end(workers)
    where.kills[kind] += 1
    assert before.items() <= ended(path).items(), "an ended trial is lost or was run again"
    print(f"kill: {kind} after {moment:.1f} s, {len(ended(path))} trials ended", flush=True)
    return kind


def wait_for_end(workers: list[int]) -> None:
    """Workers end with their driver."""
    deadline = time.monotonic() + 30
    while workers and time.monotonic() < deadline:
        time.sleep(0.01)
        workers = [pid for pid in workers if is_worker(pid)]
    assert not workers, f"workers {workers} outlive their driver"


def soak(kills: int, seed: int, where: Place) -> None:
    chance = random.Random(seed)
    print(f"seed {seed}, {kills} kills, {where.workers} workers, on {where.on}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = Path(folder) / "undisturbed.db"
        began = time.monotonic()
        assert where.start(undisturbed).wait() == 0
        longest = time.monotonic() - began
        print(f"undisturbed: {longest:.1f} s, {len(ended(undisturbed))} trials", flush=True)
        studies = 0
        while where.kills.total() < kills:
            one = Path(folder) / str(studies)
            one.mkdir()
            one_study(one / "soak.db", where, longest, kills, chance)
            check_whole(one / "soak.db", undisturbed)
            studies += 1
        counts = ", ".join(f"{count} of a {kind}" for kind, count in sorted(where.kills.items()))
        print(f"kills: {counts}; {studies} studies: nothing lost, nothing twice, tables equal")


def one_study(path: Path, where: Place, longest: float, kills: int, chance: random.Random) -> None:
    """A study from its beginning to its end, until there were so many kills."""
    lost = False
    process = where.start(path)
    while process.poll() is None:
        finished = ended(path)
        if where.kills.total() == kills:
            process.wait()
        else:  # a trial that loses its worker twice in one run has failed
            kind = kill_once(process, path, where, longest, chance, spare_workers=lost)
            lost = lost or kind == "worker"
        assert finished.items() <= ended(path).items(), "an ended trial is lost or was run again"
        if process.poll() is not None and process.returncode != 0:
            process, lost = where.start(path), False
    assert process.returncode == 0


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--kills", type=int, default=200)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--on", default="processes")
    words.add_argument("--run", metavar="STORE", help=argparse.SUPPRESS)
    words.add_argument("--address", default="", help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.run is not None:
        run(given.run, given.workers, given.on, given.address)
        return
    with place(given.on, given.workers) as where:
        soak(given.kills, given.seed, where)


if __name__ == "__main__":
    main()
