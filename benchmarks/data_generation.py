"""How many examples a second each task makes, on one core."""

from __future__ import annotations

import platform
from pathlib import Path
from statistics import median
from time import perf_counter

import torch

from recollect.tasks.associative_recall import AssociativeRecall
from recollect.tasks.copying import Copy
from recollect.tasks.mqar import MQAR
from recollect.tasks.task import Task

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


def seconds(task: Task, n: int, repeats: int) -> float:
    """The median time of `task.sample(n)`."""
    task.sample(n, seed=0)
    times = []
    for seed in range(repeats):
        start = perf_counter()
        task.sample(n, seed)
        times.append(perf_counter() - start)
    return median(times)


def processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    """Print a table."""
    torch.set_num_threads(1)
    print(f"{processor()}, one core; torch {torch.__version__}; {platform.system()}")
    print(f"{'task':32}{'examples/s of 100,000':>22}{'ms for 128':>12}")
    for task in TASKS:
        rate = 100_000 / seconds(task, 100_000, repeats=9)
        print(f"{task.label:32}{rate:>22,.0f}{1e3 * seconds(task, 128, repeats=201):>12.2f}")


if __name__ == "__main__":
    main()
