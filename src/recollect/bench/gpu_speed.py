"""Training speed and memory on a GPU: single models and populations, with and without CUDA
graphs."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import product

import torch

from recollect.bench.gpu_place import GpuPlace, Line
from recollect.bench.step import OPERATIONS, TRAINING, multiply_adds
from recollect.models.config import ModelConfig
from recollect.tasks.mqar import MQAR
from recollect.training.checkpoint import build_model
from recollect.training.config import Seeds, TrainConfig, TrialConfig
from recollect.training.data import TrainingData
from recollect.training.device import describe_device
from recollect.training.optimizer import make_optimizer
from recollect.training.program import Program
from recollect.training.run import Run
from recollect.training.step import training_step
from recollect.training.trained import Trained

MIXERS = ("attention", "mamba", "hyena", "delta-net")
STEPS = 10
"""Steps of a population between two time measurements."""


def device(place: GpuPlace) -> Iterator[Line]:
    """The machine, and its speed in matrix products, memory access and kernel launches."""
    packages = {name: _version(name) for name in ("recollect", "torch", "triton", "fla-core")}
    yield {
        "device": describe_device(place.device),
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        **packages,
        "ok": True,
    }
    size = 256 if place.quick else 8192
    tiny = torch.zeros(1, device=place.device)
    large = torch.zeros(2**16 if place.quick else 2**28, device=place.device)

    def measure(rate: str) -> Line:
        if rate == "launches":
            return {"per_second": place.per_second(lambda: _repeat(tiny, 100), 0.3), "ok": True}
        if rate == "memory":  # read and written
            per_second = place.per_second(lambda: _repeat(large, 5), 0.3)
            return {"gb_per_second": per_second * 2 * 4 * large.numel() / 1e9, "ok": True}
        return {"tflop_per_second": _matmul(place, rate, size) / 1e12, "ok": True}

    rates = ("launches", "memory", "float32", "tf32", "bfloat16")
    yield from place.each(({"rate": rate} for rate in rates), measure)


def speed(place: GpuPlace) -> Iterator[Line]:
    """Training steps per second with data generation, and the share of peak matrix throughput."""
    peak = _matmul(place, "float32", 256 if place.quick else 8192)
    batches, counts = ((4,), (1, 2)) if place.quick else ((64, 512), (64, 1, 8, 16))
    mixers = MIXERS[:1] if place.quick else MIXERS
    seconds = 0.2 if place.quick else 0.4

    def measure(mixer: str, batch: int, models: int, captured: bool) -> Line:
        config = trial_of(mixer, 64, batch)
        if models:
            work: Alone | Together = Together(config, models, place.device, captured=captured)

        else:
            work = Alone(config, place.device)
        rate = place.per_second(work, seconds)
        operations = TRAINING * OPERATIONS * _multiply_adds(mixer) * batch * max(1, models)
        return {
            "steps_per_second": rate,
            "model_steps_per_second": rate * max(1, models),
            "share_of_peak": operations * rate / peak,
            "peak_mb": place.peak_mb(),
            "ok": True,
        }

    items = [
        {"mixer": mixer, "batch": batch, "models": models, "captured": captured}
        for models, batch, mixer in product((0, *counts), batches, mixers)
        for captured in ((False, True) if models else (False,))
    ]
    yield from place.each(items, measure)


def memory(place: GpuPlace) -> Iterator[Line]:
    """Peak memory of a training step of one model and of eight, on 512 tokens with 64 pairs in
    batches of 128."""
    task = MQAR(seq_len=32, num_kv_pairs=4) if place.quick else MQAR(seq_len=512, num_kv_pairs=64)
    batch, widths = (2, (16,)) if place.quick else (128, (64, 512))

    def measure(mixer: str, d_model: int, models: int) -> Line:
        config = trial_of(mixer, d_model, batch, task)
        step = (
            Alone(config, place.device) if models == 1 else Together(config, models, place.device)
        )
        rate = place.per_second(step, 0.1)
        return {"peak_mb": place.peak_mb(), "steps_per_second": rate, "ok": True}

    items = (
        {"mixer": mixer, "d_model": width, "models": models}
        for models, width, mixer in product((1, 8), widths, MIXERS)
    )
    yield from place.each(items, measure)


class Alone:
    """The steps of a single trial."""

    def __init__(self, config: TrialConfig, device: torch.device) -> None:
        run = Run(config, TrainingData(config.task, config.train, config.seeds))
        model = build_model(config).to(device)
        self._trained = Trained(run, model, make_optimizer(model, config.train), [])

    def __call__(self) -> int:
        """Take a step; returns 1."""
        self._trained.run.took([training_step(self._trained)])
        return 1


class Together:
    """The steps of several trials trained together."""

    def __init__(
        self, config: TrialConfig, models: int, device: torch.device, *, captured: bool = True
    ) -> None:
        data = TrainingData(config.task, config.train, config.seeds)
        self._trials = []
        for _ in range(models):
            model = build_model(config)
            optimizer = make_optimizer(model, config.train)
            self._trials.append(Trained(Run(config, data), model, optimizer, []))
        self._program = Program(self._trials, device, captured=captured)

    def __call__(self) -> int:
        """Take `STEPS` steps, and return their number.

        Raises:
            torch.OutOfMemoryError: if memory ran out.
        """
        losses = self._program.steps(self._trials[0].run.step + STEPS).tolist()
        if len(losses[0]) < STEPS:
            raise torch.OutOfMemoryError
        for trial, own in zip(self._trials, losses, strict=True):
            trial.run.took(own)
        return STEPS


def trial_of(mixer: str, d_model: int, batch: int, task: MQAR | None = None) -> TrialConfig:
    """A trial of two layers on a task, by default MQAR with 64 tokens and 4 pairs."""
    return TrialConfig(
        task=task or MQAR(seq_len=64, num_kv_pairs=4),
        model=ModelConfig(mixer=mixer, d_model=d_model),
        train=TrainConfig(steps=10**6, batch_size=batch),
        seeds=Seeds.of(1),
    )


@cache
def _multiply_adds(mixer: str) -> float:
    """Multiply-adds of a forward pass at width 64, per example."""
    config = trial_of(mixer, 64, 2)
    return multiply_adds(build_model(config), config.task.sample(2, 0)) / 2


def _repeat(x: torch.Tensor, times: int) -> int:
    for _ in range(times):
        x.add_(1)
    return times


def _matmul(place: GpuPlace, kind: str, size: int) -> float:
    """Operations per second of a matrix product."""
    dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
    one, other = (torch.randn(size, size, device=place.device, dtype=dtype) for _ in range(2))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"

    def work() -> int:
        _ = one @ other
        return 1

    try:
        return 2 * size**3 * place.per_second(work, 0.3)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
