"""One trial: a model trained on a task under one config, until its budget ends or the task is
solved."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from recollect.errors import UserError
from recollect.models.config import ModelConfig
from recollect.models.language_model import LanguageModel
from recollect.tasks.task import Task
from recollect.tensors import trained_numbers
from recollect.training.checkpoint import (
    build_model,
    load_checkpoint,
    save_checkpoint,
    save_weights,
    was_observed,
)
from recollect.training.config import Seeds, TrainConfig, TrialConfig
from recollect.training.data import TrainingData, held_out
from recollect.training.device import describe_device, resolve_device
from recollect.training.evaluate import evaluate
from recollect.training.observer import Observer
from recollect.training.optimizer import end_training, evaluated_weights, make_optimizer
from recollect.training.optimizer_state import lost_by_optimizer
from recollect.training.ranks import ALONE, Ranks
from recollect.training.rehearsal import lost_by_checkpoints, refuse_hidden_weights
from recollect.training.result import Metrics, Record, Status, TrialResult
from recollect.training.run import OnRecord, OnStep, Run
from recollect.training.slot import Slot, as_slot
from recollect.training.step import training_step

OnResult = Callable[[TrialResult], None]

CHECKPOINT_SECONDS = 60.0
"""A trial in work is saved this often, where it has a checkpoint."""
SAVING_SECONDS = 3.0
"""Where saving takes longer than this, it is done as much less often."""


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
        device: "cpu", "cuda", "cuda:1", or "auto": a GPU if there is one.
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
    checkpoint: Slot | Path | None = None,
    on_record: OnRecord | None = None,
    observer: Observer | None = None,
    on_step: OnStep | None = None,
    on_result: OnResult | None = None,
    rows: int | None = None,
    ranks: Ranks = ALONE,
) -> TrialResult:
    """Run a trial, or go on with one.

    Args:
        config: the trial.
        device: as in `train`.
        until: the step to stop at; None: the end of the budget, or the solution of the task.
        checkpoint: a file, or its place, to go on from where it exists, and to save to at `until`
            and every minute; who gave it removes it, once the outcome is safe. A trial that went on
            from it gives the same result to the bit on the same CPU with the same number of
            threads; a GPU adds up some gradients in any order, and gives it up to rounding. A model
            of which a checkpoint would lose something gets none (`rehearsal`).
        on_record: called at every validation.
        observer: who looks at the model before training and at every validation; a checkpoint of a
            trial that was not observed from its beginning is then left aside.
        on_step: called after each step whose loss is a number, before what is measured there.
        on_result: called at every validation whose loss is a number with what the trial would leave
            if it stopped there.
        rows: as in `training_step`.
        ranks: the processes that share the batch: each runs the trial, and the first saves it.

    Raises:
        UserError: where the model has weights that would not be trained.
    """
    place = resolve_device(device)
    saved_to = None if checkpoint is None else as_slot(checkpoint)
    cuda = [place] if place.type == "cuda" else []
    refuse_hidden_weights(config, place)
    with torch.random.fork_rng(devices=cuda):
        run = Run(config, TrainingData(config.task, config.train, config.seeds), observer)
        model = build_model(config).to(place)
        optimizer = make_optimizer(model, config.train)
        if saved_to is not None:
            go_on(run, model, optimizer, saved_to)
        saved_to = saved_to if ranks.rank == 0 else None
        step = partial(training_step, run, model, optimizer, rows=rows, ranks=ranks)

        def recorded(record: Record) -> None:
            if on_record is not None:
                on_record(record)
            if on_result is not None and not run.diverged:
                on_result(trial_result(run, "stopped", {}, model))

        status = _advance(run, model, optimizer, until, saved_to, recorded, on_step, step, ranks)
        if saved_to is not None and status == "stopped":
            save(run, model, optimizer, saved_to)
        end_training(optimizer)
        test = test_metrics(config, model, ranks) if status == "complete" else {}
    return trial_result(run, status, test, model)


def go_on(
    run: Run, model: LanguageModel, optimizer: torch.optim.Optimizer, checkpoint: Slot
) -> None:
    """Stand where a checkpoint was made, if there is one, and one that its observer can go on
    from."""
    if not checkpoint.exists():
        return
    with checkpoint.reading() as path:
        if run.observer is None or was_observed(path):
            run.go_on(*load_checkpoint(path, model, optimizer))


def save(
    run: Run, model: LanguageModel, optimizer: torch.optim.Optimizer, checkpoint: Slot
) -> None:
    """Write a checkpoint of a trial in work; from where it has diverged none can go on.

    A model that keeps more than a checkpoint holds has none, and a warning says so.
    """
    if run.diverged:
        return
    if run.lost is None:
        lost = lost_by_checkpoints(run.config, model)
        run.lost = lost or lost_by_optimizer(model, optimizer, run.config.train) or ""
    if run.lost:
        warnings.warn(
            f"{run.config.model.label} is not saved while it is trained, and begins anew when"
            f" interrupted: {run.lost}",
            stacklevel=2,
        )
    else:
        with checkpoint.writing() as path:
            save_checkpoint(path, model, optimizer, run.history, run.seen(), **run.counts())


def keep_weights(config: TrialConfig, model: LanguageModel, place: Slot) -> None:
    """Write a trained model's weights for `checkpoint.load_weights`.

    A model that keeps more than weights has none written, and a warning says so.
    """
    lost = lost_by_checkpoints(config, model)
    if lost is None:
        with place.writing() as path:
            save_weights(model, path)
    else:
        warnings.warn(f"the weights of {config.model.label} are not kept: {lost}", stacklevel=2)


def test_metrics(config: TrialConfig, model: LanguageModel, ranks: Ranks) -> dict[str, Metrics]:
    """What a trained model gets in the trial's own task and its test tasks, by their labels."""
    examples = config.train.test_examples
    return {
        task.label: evaluate(
            model, held_out(task, examples, config.seeds, "test"), config.metrics_on(task), ranks
        )
        for task in (config.task, *config.test_tasks)
    }


def trial_result(
    run: Run, status: Status, test: dict[str, Metrics], model: LanguageModel
) -> TrialResult:
    """What a trial leaves."""
    return TrialResult(
        key=_key(run.config),
        status=status,
        step=run.step,
        history=tuple(run.history),
        test=test,
        parameters=trained_numbers(model),
        device=describe_device(model.head.weight.device),
        seconds=run.seconds,
        model=model,
    )


def _key(config: TrialConfig) -> str | None:
    """The trial's key, if the source of all that it trains can be read."""
    try:
        return config.key
    except UserError:
        return None


def _advance(
    run: Run,
    model: LanguageModel,
    optimizer: torch.optim.Optimizer,
    until: int | None,
    checkpoint: Slot | None,
    on_record: OnRecord | None,
    on_step: OnStep | None,
    step: Callable[[], float],
    ranks: Ranks,
) -> Status:
    """Train to the step `until` or to the trial's end."""
    train, seeds = run.config.train, run.config.seeds
    valid = held_out(run.config.task, train.valid_examples, seeds, "valid")
    further = run.config.metrics_on(run.config.task)
    if run.step == 0:
        run.observe(model)
    saved, pause = time.perf_counter(), CHECKPOINT_SECONDS
    while (status := run.status(until)) is None:
        due = run.next_validation()
        began = time.perf_counter()
        loss = step()
        run.seconds += time.perf_counter() - began
        run.took([loss])
        if on_step is not None and not run.diverged:
            on_step(model, run.step, loss)
        if run.step == due and not run.diverged:
            with evaluated_weights(model, optimizer):
                run.validated(evaluate(model, valid, further, ranks), on_record)
                run.observe(model)
        began = time.perf_counter()
        if checkpoint is not None and began - saved > pause:
            save(run, model, optimizer, checkpoint)
            saved = time.perf_counter()
            pause = CHECKPOINT_SECONDS * max(1.0, (saved - began) / SAVING_SECONDS)
    return status
