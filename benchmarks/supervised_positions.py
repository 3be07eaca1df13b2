"""A training step at the supervised positions against one at all positions.

    python benchmarks/supervised_positions.py [--threads N] [--repeats N]

The baseline is what research code does: logits at every position, a loss that ignores most of them,
and their argmax. Both steps take turns, so that a drift of the machine's speed meets both alike.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

import recollect as rc
from recollect.tasks.batch import IGNORED, Batch
from recollect.training.trial import make_optimizer


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


def main() -> None:
    """Print the median step times and their ratio, pair by pair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=11)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    task = rc.MQAR(seq_len=64, num_kv_pairs=4)
    batch = task.sample(512, seed=0)
    steps = []
    for step in (all_positions_step, supervised_step):
        model = rc.ModelConfig(mixer="attention", d_model=64, n_layers=2).build(task)
        optimizer = make_optimizer(model, rc.TrainConfig())
        steps.append(lambda s=step, m=model, o=optimizer: s(m, o, batch))
    for step in steps:
        step()
    times = [[seconds(step) for step in steps] for _ in range(arguments.repeats)]
    baseline, ours = (statistics.median(column) for column in zip(*times, strict=True))
    ratios = sorted(a / b for a, b in times)
    print(f"{platform.machine()}, torch {torch.__version__}, {arguments.threads} threads")
    print(f"{task.label}, batch 512, two layers of attention, d_model 64, vocabulary 8192")
    print(f"all positions        {baseline * 1e3:8.1f} ms a step")
    print(f"supervised positions {ours * 1e3:8.1f} ms a step")
    spread = f"({ratios[0]:.1f} to {ratios[-1]:.1f})"
    print(f"ratio                {statistics.median(ratios):8.1f} {spread}")


if __name__ == "__main__":
    main()
