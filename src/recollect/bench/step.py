"""`step`: one training step of a small language model, for each mixer."""

from __future__ import annotations

import re
import resource
import sys
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import torch

from recollect.bench.child import MeasurementFailed, in_child
from recollect.bench.measurement import Place, Result, seconds
from recollect.bench.settings import BenchSettings
from recollect.models.config import ModelConfig
from recollect.models.language_model import LanguageModel
from recollect.referee.counting import counted
from recollect.tasks.batch import Batch
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig
from recollect.training.optimizer import make_optimizer
from recollect.training.precision import mixed_precision

LENGTHS, BATCH = (64,), 64
TOKENS_PER_PAIR = 16
FULL, MIXED = TrainConfig(), TrainConfig(dtype="bfloat16")
TRAINING, OPERATIONS = 3, 2
"""A training step has three times the products of a forward pass; a multiply-add counts as two
operations."""


def bench_step(settings: BenchSettings, peak: float) -> Iterator[Result]:
    """Measure a forward and backward pass with AdamW, each model in its own process.

    Steps are measured in float32 and in mixed precision.

    Args:
        settings: models, lengths, batch, repeats.
        peak: the peak speed of the machine, in floating-point operations per second.
    """
    for model, task in product(settings.models, step_tasks(settings)):
        place = _place(model, task, settings)
        try:
            yield from in_child(measure_step, model, task, settings, peak, threads=settings.threads)
        except MeasurementFailed as failure:
            yield place.left_out(str(failure))


def step_tasks(settings: BenchSettings) -> list[MQAR]:
    """The training task of each length; a short one has a single pair.

    Raises:
        UserError: for a length that the task cannot have.
    """
    return [
        MQAR(seq_len=length, num_kv_pairs=max(1, length // TOKENS_PER_PAIR))
        for length in settings.lengths or LENGTHS
    ]


def measure_step(
    model: ModelConfig, task: MQAR, settings: BenchSettings, peak: float
) -> Iterator[Result]:
    """Measure one model on one task in this process.

    Args:
        model: the architecture.
        task: the training task.
        settings: batch, device, repeats.
        peak: the peak speed of the machine, in floating-point operations per second.
    """
    place, device = _place(model, task, settings), settings.device
    n = place.setting["batch"]
    _Training(model, task, 1, device).step()  # loading and compiling must not count as memory
    before = _begin_peak(device)
    training = _Training(model, task, n, device)
    times = seconds(training.step, settings.repeats, device)
    memory = _peak_memory(device) - before
    mixed = seconds(partial(training.step, MIXED), settings.repeats, device)
    operations = TRAINING * OPERATIONS * multiply_adds(training.model, training.batch)
    yield place.measured("step", "ms", [1e3 * time for time in times])
    yield place.measured("bfloat16 step", "ms", [1e3 * time for time in mixed])
    yield place.measured("throughput", "tokens/s", [n * task.seq_len / time for time in times])
    yield place.measured("of peak", "%", [100 * operations / time / peak for time in times])
    yield place.measured("multiply-adds", "M", [operations / OPERATIONS / 1e6])
    yield place.measured("peak memory", "MB", [memory / 1e6])


def multiply_adds(model: LanguageModel, batch: Batch) -> int:
    """Count the multiply-adds of the loss's forward pass on a batch."""
    found = counted(lambda: model.loss(batch.inputs, batch.positions, batch.targets))
    return found.products + found.declared


class _Training:
    """A model, its optimiser and its training batch."""

    def __init__(self, config: ModelConfig, task: MQAR, n: int, device: str) -> None:
        self.device = torch.device(device)
        self.batch = task.sample(n, seed=0).to(self.device)
        self.model = config.build(task).to(device).train()
        self.optimizer = make_optimizer(self.model, FULL)

    def step(self, train: TrainConfig = FULL) -> None:
        with mixed_precision(train, self.device):
            loss = self.model.loss(self.batch.inputs, self.batch.positions, self.batch.targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def _place(model: ModelConfig, task: MQAR, settings: BenchSettings) -> Place:
    setting = {
        "d_model": model.d_model,
        "layers": model.n_layers,
        "length": task.seq_len,
        "batch": settings.batch or BATCH,
    }
    return Place("step", model.label, setting)


def _begin_peak(device: str) -> int:
    """Reset the peak of memory where possible; returns `_peak_memory`."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    return _peak_memory(device)


def _peak_memory(device: str) -> int:
    """Peak memory of this process in bytes; on a GPU, that of its tensors."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, ru_maxrss includes the parent's peak
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        assert found is not None
        return 1024 * int(found[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
