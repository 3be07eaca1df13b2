"""One trial: a model trained on a task under one config, until its budget ends or the task is
solved."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from recollect.errors import UserError
from recollect.mixers.marks import is_decayed
from recollect.models.config import ModelConfig
from recollect.models.language_model import LanguageModel
from recollect.seeding import derive_seed
from recollect.tasks.task import Task
from recollect.training.checkpoint import build_model, load_checkpoint, save_checkpoint
from recollect.training.config import Seeds, TrainConfig, TrialConfig
from recollect.training.data import TrainingData, held_out
from recollect.training.evaluate import evaluate
from recollect.training.result import Metrics, Record, Status, TrialResult
from recollect.training.schedule import learning_rate_at

CHECKPOINT_SECONDS = 60.0
"""A trial in work is saved this often, where it has a checkpoint."""

OnRecord = Callable[[Record], None]


def train(
    model: ModelConfig,
    task: Task,
    train: TrainConfig | None = None,
    *,
    seed: int = 42,
    test_tasks: Sequence[Task] = (),
    device: str = "auto",
    on_record: OnRecord | None = None,
) -> TrialResult:
    """Train one model on one task.

    Args:
        model: architecture and surroundings.
        task: what it learns and is validated and tested on.
        train: the optimisation; the defaults of `TrainConfig` if not given.
        seed: of examples, initial weights and order.
        test_tasks: further tasks to test on, of the same vocabulary.
        device: "cpu", "cuda", or "auto": a GPU if there is one.
        on_record: called at every validation.

    Returns:
        The outcome, with the trained model in `result.model`.
    """
    config = TrialConfig(
        task=task,
        test_tasks=tuple(test_tasks),
        model=model,
        train=train or TrainConfig(),
        seeds=Seeds.of(seed),
    )
    return run_trial(config, device=device, on_record=on_record)


def run_trial(
    config: TrialConfig,
    *,
    device: str = "cpu",
    until: int | None = None,
    checkpoint: Path | None = None,
    on_record: OnRecord | None = None,
) -> TrialResult:
    """Run a trial, or go on with one.

    Args:
        config: the trial.
        device: "cpu", "cuda" or "auto".
        until: the step to stop at; None: the end of the budget, or the solution of the task.
        checkpoint: a file to go on from where it exists, and to save to at `until` and every
            minute; it is removed when the trial has ended. A trial that went on from it gives the
            same result to the bit, on the same device with the same number of threads.
        on_record: called at every validation.
    """
    place = resolve_device(device)
    cuda = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        run = _start(config, place, checkpoint)
        status = _advance(run, until, checkpoint, on_record)
        test: dict[str, Metrics] = {}
        if status == "complete":
            test = {
                task.label: evaluate(
                    run.model, held_out(task, config.train.test_examples, config.seeds, "test")
                )
                for task in (config.task, *config.test_tasks)
            }
    if checkpoint is not None:
        if status == "stopped":
            _save(run, checkpoint)
        else:
            checkpoint.unlink(missing_ok=True)
    return TrialResult(
        key=config.key,
        status=status,
        step=run.step,
        history=tuple(run.history),
        test=test,
        parameters=sum(p.numel() for p in run.model.parameters()),
        device=describe_device(place),
        seconds=run.seconds,
        model=run.model,
    )


def resolve_device(device: str) -> torch.device:
    """The device that a user's word names."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device={device!r}: this machine has no CUDA device; use 'cpu' or 'auto'")
    try:
        return torch.device(device)
    except RuntimeError:
        raise UserError(f"device={device!r}: expected 'auto', 'cpu' or 'cuda'") from None


def describe_device(device: torch.device) -> str:
    """A device in words, as it is recorded with a result."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu {platform.machine()}, {torch.get_num_threads()} threads"


@dataclass
class _Run:
    """A trial in work."""

    config: TrialConfig
    model: LanguageModel
    optimizer: torch.optim.Optimizer
    data: TrainingData
    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    history: list[Record] = field(default_factory=list)


def _start(config: TrialConfig, device: torch.device, checkpoint: Path | None) -> _Run:
    model = build_model(config).to(device)
    data = TrainingData(config.task, config.train, config.seeds)
    run = _Run(config, model, make_optimizer(model, config.train), data)
    if checkpoint is not None and checkpoint.exists():
        run.history, counts = load_checkpoint(checkpoint, model, run.optimizer)
        run.step, run.seconds = int(counts["step"]), counts["seconds"]
        run.loss_sum = counts["loss_sum"]
    return run


def _save(run: _Run, checkpoint: Path) -> None:
    counts = {"step": run.step, "seconds": run.seconds, "loss_sum": run.loss_sum}
    save_checkpoint(checkpoint, run.model, run.optimizer, run.history, **counts)


def make_optimizer(model: nn.Module, train: TrainConfig) -> torch.optim.AdamW:
    """AdamW over all parameters; those that a mixer marks are not decayed."""
    decayed = [p for p in model.parameters() if is_decayed(p)]
    spared = [p for p in model.parameters() if not is_decayed(p)]
    groups = [
        {"params": decayed, "weight_decay": train.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=train.learning_rate, betas=train.betas, fused=True)


def _advance(
    run: _Run, until: int | None, checkpoint: Path | None, on_record: OnRecord | None
) -> Status:
    """Train to the step `until` or to the trial's end."""
    train = run.config.train
    valid = held_out(run.config.task, train.valid_examples, run.config.seeds, "valid")
    end = train.steps if until is None else min(until, train.steps)
    before, started = run.seconds, time.perf_counter()
    saved = started
    solved = _is_solved(run)
    while run.step < end and not solved:
        loss = _step(run)
        run.seconds = before + time.perf_counter() - started
        if not math.isfinite(loss):
            return "diverged"
        run.loss_sum += loss
        if run.step % train.eval_every == 0 or run.step == train.steps:
            _record(run, evaluate(run.model, valid), on_record)
            if not math.isfinite(run.history[-1].valid.loss):
                return "diverged"
            solved = _is_solved(run)
        if checkpoint is not None and time.perf_counter() - saved > CHECKPOINT_SECONDS:
            _save(run, checkpoint)
            saved = time.perf_counter()
    run.seconds = before + time.perf_counter() - started
    return "complete" if solved or run.step == train.steps else "stopped"


def _step(run: _Run) -> float:
    """One optimiser step; its loss before the update."""
    train, seeds = run.config.train, run.config.seeds
    rate = learning_rate_at(run.step, train, run.data.steps_per_epoch)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    torch.manual_seed(derive_seed(seeds.order, "dropout", run.step))
    batch = run.data.batch(run.step).to(run.model.head.weight.device)
    run.model.train()
    loss = run.model.loss(batch.inputs, batch.positions, batch.targets)
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if train.grad_clip is not None:
        nn.utils.clip_grad_norm_(run.model.parameters(), train.grad_clip)
    run.optimizer.step()
    run.step += 1
    return loss.item()


def _record(run: _Run, valid: Metrics, on_record: OnRecord | None) -> None:
    train = run.config.train
    since = run.history[-1].step if run.history else 0
    record = Record(
        step=run.step,
        learning_rate=learning_rate_at(run.step - 1, train, run.data.steps_per_epoch),
        train_loss=run.loss_sum / (run.step - since),
        valid=valid,
        seconds=run.seconds,
    )
    run.loss_sum = 0.0
    run.history.append(record)
    if on_record is not None:
        on_record(record)


def _is_solved(run: _Run) -> bool:
    target = run.config.train.stop_accuracy
    return bool(target is not None and run.history and run.history[-1].valid.accuracy >= target)
