"""`data`: examples per second that each task generates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

from recollect.bench.child import MeasurementFailed, in_child
from recollect.bench.measurement import Measurement, Place, Result, seconds
from recollect.bench.settings import BenchSettings
from recollect.tasks.associative_recall import AssociativeRecall
from recollect.tasks.batch import Batch
from recollect.tasks.copying import Copy
from recollect.tasks.mqar import MQAR
from recollect.tasks.task import Task

BATCH = 100_000
SMALL = MQAR(seq_len=64, num_kv_pairs=4)
LARGE = MQAR(seq_len=512, num_kv_pairs=64)
TASKS: tuple[Task, ...] = (
    SMALL,
    SMALL.replace(slot_order="drawn"),
    SMALL.replace(filler="random"),
    LARGE,
    LARGE.replace(filler="random"),
    AssociativeRecall(),
    Copy(),
)


def bench_data(settings: BenchSettings) -> Iterator[Result]:
    """Examples per second of `task.sample(n)`, always on the CPU."""
    waiting = [Place("data", task.label, {"batch": settings.batch or BATCH}) for task in TASKS]
    try:
        for result in in_child(_sample, settings, threads=settings.threads):
            waiting.pop(0)
            yield result
    except MeasurementFailed as reason:
        yield from (place.left_out(str(reason)) for place in waiting)


def _sample(settings: BenchSettings) -> Iterator[Measurement]:
    n = settings.batch or BATCH
    for task in TASKS:
        times = seconds(_drawing(task, n, seeds=count()), settings.repeats, "cpu")
        place = Place("data", task.label, {"batch": n})
        yield place.measured("examples", "1/s", [n / time for time in times])


def _drawing(task: Task, n: int, seeds: Iterator[int]) -> Callable[[], Batch]:
    return lambda: task.sample(n, next(seeds))
