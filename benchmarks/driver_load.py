"""How much work one driver of a study has with each outcome, and how many trials an hour come.

Usage: python benchmarks/driver_load.py [--cells 10,100,1000] [--outcomes 2000]
       python benchmarks/driver_load.py --trials [--trials-count 200] [--on processes,population]

The first prints what planning and storing take for each outcome of jobs that train nothing, by the
number of open cells: a driver that takes 10 ms keeps 1,000 workers busy with jobs of 10 s. It then
runs that: 1,000 workers on a clock that stands still while nothing is to be done.

The second runs a study of short trials with each executor, and prints trials per hour: the
overhead of the engine.
"""

from __future__ import annotations

import argparse
import heapq
import math
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import recollect as rc
from recollect.execution.executor import Placement, register_executor
from recollect.execution.job import Job, Outcome
from recollect.studies.cell import Cell
from recollect.studies.events import Event, TrialEnded
from recollect.studies.leases import Leases
from recollect.studies.runner import run_study
from recollect.studies.search import FixedGrid
from recollect.studies.store import Store
from recollect.training.result import Metrics, Record, TrialResult

WORKERS, SECONDS = 1000, 10.0
"""So many workers, and so long a job of theirs."""


class Enough(Exception):
    """So many outcomes as were asked for are there."""


class Sleeping:
    """An executor of many workers whose jobs sleep, on a clock of its own: the time of the driver
    counts as it is, that of the jobs is skipped."""

    clock = 0.0
    idle = 0.0
    """Seconds of workers without a job, summed."""

    def __init__(self, _placement: Placement, _on_record: object) -> None:
        self._busy: list[tuple[float, int, Job]] = []
        self._count = 0
        self._last = time.perf_counter()

    def __enter__(self) -> Sleeping:
        return self

    def __exit__(self, *error: object) -> None:
        self._busy = []

    @property
    def free(self) -> int:
        """As `Executor.free`."""
        return WORKERS - len(self._busy)

    def submit(self, job: Job) -> None:
        """As `Executor.submit`."""
        self._tick()
        self._count += 1
        spread = 0.5 + zlib.crc32(job.key.encode()) / 2**32
        heapq.heappush(self._busy, (Sleeping.clock + SECONDS * spread, self._count, job))

    def wait(self, _seconds: float) -> Iterator[Outcome]:
        """As `Executor.wait`."""
        self._tick()
        if self._busy and self._busy[0][0] > Sleeping.clock:
            Sleeping.idle += self.free * (self._busy[0][0] - Sleeping.clock)
            Sleeping.clock = self._busy[0][0]
        while self._busy and self._busy[0][0] <= Sleeping.clock:
            _, _, job = heapq.heappop(self._busy)
            yield job, made_up(job)
            self._tick()

    def _tick(self) -> None:
        """The driver's own time passes for the workers too."""
        now = time.perf_counter()
        Sleeping.idle += self.free * (now - self._last)
        Sleeping.clock += now - self._last
        self._last = now


register_executor("sleeping")(Sleeping)


def made_up(job: Job) -> TrialResult:
    """An outcome as training gives it: better near a rate of 3e-3, and never quite solved."""
    train = job.trial["train"]
    until = train["steps"] if job.until is None else job.until
    noise = zlib.crc32(job.key.encode()) / 2**32
    best = 0.95 * math.exp(-((math.log10(train["learning_rate"] / 3e-3)) ** 2)) - 0.02 * noise
    history = []
    for step in range(train["eval_every"], until + 1, train["eval_every"]):
        accuracy = max(0.01, best * min(1.0, 2 * step / train["steps"]))
        valid = Metrics(1 - accuracy, accuracy, accuracy / 2, loss_error=0.01, accuracy_error=0.01)
        history.append(Record(step, train["learning_rate"], 1 - accuracy, valid, float(step)))
    ended = job.until is None
    return TrialResult(
        key=job.key,
        status="complete" if ended else "stopped",
        step=until,
        history=tuple(history),
        test={label_of(job): history[-1].valid} if ended else {},
        parameters=1,
        device="none",
        seconds=1.0,
    )


def label_of(job: Job) -> str:
    """The label of a job's task."""
    return job.title.partition(" ")[0]


def many_cells(count: int) -> rc.Study:
    """A study of so many cells, none of which waits for another."""
    depths = [n for n in range(1, 11) if count % n == 0][-1]
    return rc.Study(
        f"of {count} cells",
        tasks=[rc.MQAR(seq_len=16 + 2 * i, num_kv_pairs=2) for i in range(count // depths)],
        models=rc.models_grid(["attention"], d_model=[64], n_layers=list(range(1, depths + 1))),
        train=rc.TrainConfig(steps=2000, eval_every=100),
    )


@contextmanager
def timed(**calls: list[tuple[type, str]]) -> Iterator[dict[str, float]]:
    """The seconds spent in some methods while the block lasts, by the names of their groups; a
    method that another of these calls counts for the outer one."""
    spent: dict[str, float] = defaultdict(float)
    depth = 0

    def wrap(group: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal depth
            depth += 1
            began = time.perf_counter()
            try:
                return method(*args, **options)
            finally:
                depth -= 1
                if depth == 0:
                    spent[group] += time.perf_counter() - began

        return call

    saved = [(cls, name, getattr(cls, name)) for each in calls.values() for cls, name in each]
    for group, methods in calls.items():
        for cls, name in methods:
            setattr(cls, name, wrap(group, getattr(cls, name)))
    try:
        yield spent
    finally:
        for cls, name, method in saved:
            setattr(cls, name, method)


PLANNER = [(Cell, "plan")]
STORE = [
    *((Store, name) for name in ("trials", "save", "save_failure", "version")),
    *((Leases, name) for name in ("claim", "holds", "give_up", "elsewhere")),
]


def load(cells: int, outcomes: int) -> None:
    """Print what an outcome costs with so many open cells."""
    count, began = 0, 0.0
    Sleeping.clock = Sleeping.idle = 0.0

    def on_event(event: Event) -> None:
        nonlocal count, began
        began = began or time.perf_counter()
        count += isinstance(event, TrialEnded)
        if count >= outcomes:
            raise Enough

    study = many_cells(cells)
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "s.db") as store:
        with timed(planner=PLANNER, store=STORE) as spent, suppress(Enough):
            run_study(study, store, on="sleeping", device="cpu", on_event=on_event)
        seconds = time.perf_counter() - began
    busy = 1 - Sleeping.idle / (Sleeping.clock * WORKERS)
    print(
        f"{cells:5d} open cells, {count:6d} outcomes: {1e3 * seconds / count:6.2f} ms an outcome,"
        f" of them planner {1e3 * spent['planner'] / count:5.2f}, store"
        f" {1e3 * spent['store'] / count:5.2f}; {WORKERS} workers busy {busy:4.0%}"
    )


def trials(count: int, on: list[str]) -> None:
    """Print how many short trials an hour each executor gives."""
    rates = tuple(round(1e-3 * 1.05**i, 8) for i in range(count // 4))
    study = rc.Study(
        "short",
        tasks=[rc.MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)],
        models=rc.models_grid(["attention"], d_model=[16]),
        train=rc.TrainConfig(
            steps=20, batch_size=16, eval_every=20, valid_examples=64, test_examples=64
        ),
        search=FixedGrid(rates=rates),
        seeds=(1, 2, 3, 4),
    )
    for name in on:
        with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "s.db") as store:
            seconds: list[float] = []
            began = time.perf_counter()

            def note(event: Event, seconds: list[float] = seconds) -> None:
                if isinstance(event, TrialEnded):
                    seconds.append(event.result.seconds)

            run_study(study, store, on=name, device="cpu", on_event=note)
            took = time.perf_counter() - began
        print(
            f"{name}: {len(seconds)} trials in {took:.1f} s, {3600 * len(seconds) / took:,.0f} an"
            f" hour; {sum(seconds):.1f} s of them in training steps"
        )


def main() -> None:
    """What the words of the command ask for."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--cells", default="10,100,1000")
    words.add_argument("--outcomes", type=int, default=2000)
    words.add_argument("--trials", action="store_true")
    words.add_argument("--trials-count", type=int, default=200)
    words.add_argument("--on", default="processes,population")
    given = words.parse_args()
    if given.trials:
        trials(given.trials_count, given.on.split(","))
        return
    for cells in map(int, given.cells.split(",")):
        load(cells, given.outcomes)


if __name__ == "__main__":
    main()
