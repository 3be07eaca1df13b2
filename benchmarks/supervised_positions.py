"""Training steps at the supervised positions against steps at all positions.

    python benchmarks/supervised_positions.py [--cores N] [--repeats N]

The baseline is what research code does: logits at every position, a loss that ignores most of them,
and their argmax, in one process with a thread for each core. Ours is what a study runs: a process
of one thread for each core, all at a time. Both take turns, so that a drift of the machine's speed
meets both alike.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any

import torch
import torch.nn.functional as F

import recollect as rc
from recollect.tasks.batch import IGNORED, Batch
from recollect.training.optimizer import make_optimizer

Step = Callable[[torch.nn.Module, torch.optim.Optimizer, Batch], None]
STEPS = 5
"""Of ours that are timed together: they are short."""
READY: dict[str, Callable[[], Any]] = {}
"""What a process has prepared."""


def all_positions_step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: Batch
) -> None:
    """Logits for every token, most of them ignored."""
    logits = model(batch.inputs)
    loss = F.cross_entropy(logits.flatten(0, 1), batch.labels().flatten(), ignore_index=IGNORED)
    logits.argmax(dim=-1)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def supervised_step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    """Logits where the model must answer."""
    loss = model.loss(batch.inputs, batch.positions, batch.targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def seconds(step: Callable[[], None]) -> float:
    """The time of one call."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def prepare(step: Step, threads: int) -> None:
    """Make this process's model and batch, and take a step that does not count."""
    torch.set_num_threads(threads)
    task = rc.MQAR(seq_len=64, num_kv_pairs=4)
    batch = task.sample(512, seed=0)
    model = rc.ModelConfig(mixer="attention", d_model=64, n_layers=2).build(task)
    optimizer = make_optimizer(model, rc.TrainConfig())
    READY["step"] = lambda: step(model, optimizer, batch)
    READY["step"]()


def prepare_together(barrier: Barrier) -> None:
    """The same in one of the processes that step at a time."""
    prepare(supervised_step, threads=1)
    READY["meet"] = barrier.wait


def seconds_together(steps: int) -> float:
    """The time of one of so many steps, begun when all processes are there."""
    READY["meet"]()
    return seconds(lambda: [READY["step"]() for _ in range(steps)]) / steps


def main() -> None:
    """Print the medians of both rates and of their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=11)
    arguments = parser.parse_args()
    cores, spawn = arguments.cores, multiprocessing.get_context("spawn")
    prepare(all_positions_step, threads=cores)
    baseline, ours = [], []
    with spawn.Pool(cores, prepare_together, [spawn.Barrier(cores)]) as pool:
        pool.map(seconds_together, [1] * cores, chunksize=1)
        for _ in range(arguments.repeats):
            baseline.append(1 / seconds(READY["step"]))
            times = pool.map(seconds_together, [STEPS] * cores, chunksize=1)
            ours.append(sum(1 / time for time in times))
    ratios = sorted(one / other for one, other in zip(ours, baseline, strict=True))
    print(f"{platform.machine()}, torch {torch.__version__}, {cores} cores")
    print("mqar-64x4, batch 512, two layers of attention, d_model 64, vocabulary 8192")
    print(f"all positions        {statistics.median(baseline):8.2f} steps a second")
    print(f"supervised positions {statistics.median(ours):8.2f} steps a second")
    spread = f"({ratios[0]:.1f} to {ratios[-1]:.1f})"
    print(f"ratio                {statistics.median(ratios):8.1f} {spread}")


if __name__ == "__main__":
    main()
