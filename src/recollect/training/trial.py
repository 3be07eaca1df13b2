"""One trial: a model is trained on a task until its steps are done or the task is solved."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from recollect.errors import UserError
from recollect.mixers.process_settings import refuse_default_dtype
from recollect.models.config import ModelConfig
from recollect.models.language_model import LanguageModel
from recollect.tasks.facts import check_facts
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
from recollect.training.data import TrainingData, check_examples, held_out
from recollect.training.device import describe_device, resolve_device
from recollect.training.edits import warn_of_edited_code
from recollect.training.evaluate import evaluate
from recollect.training.observer import Observer
from recollect.training.optimizer import end_training, evaluated_weights, make_optimizer
from recollect.training.optimizer_state import lost_by_optimizer
from recollect.training.ranks import ALONE, Ranks
from recollect.training.rehearsal import (
    lost_by_checkpoints,
    refuse_misplaced_weights,
    warn_of_leaks,
)
from recollect.training.result import Metrics, Record, Status, TrialResult
from recollect.training.run import OnRecord, OnStep, Run
from recollect.training.shortcuts import warn_of_shortcuts
from recollect.training.slot import Slot, as_slot
from recollect.training.step import training_step
from recollect.training.trained import Trained
from recollect.training.untrained import about_untrained

OnResult = Callable[[TrialResult], None]

CHECKPOINT_SECONDS = 60.0
"""Seconds between checkpoints of a running trial."""
SAVING_SECONDS = 3.0
"""If saving takes longer than this, checkpoints become proportionally rarer."""


def train(
    model: ModelConfig,
    task: Task,
    train: TrainConfig | None = None,
    *,
    seed: int = 42,
    test_tasks: Task | Sequence[Task] = (),
    device: str | torch.device = "auto",
    on_record: OnRecord | None = None,
) -> TrialResult:
    """Train one model on one task.

    Args:
        model: the architecture.
        task: the task to train, validate and test on.
        train: how to train; None: the defaults of `TrainConfig`.
        seed: of examples, initial weights and order of examples.
        test_tasks: further tasks to test on, one or several, with the same vocabulary.
        device: "cpu", "cuda", "cuda:1", or "auto": a GPU if there is one.
        on_record: called at every validation.

    Returns:
        The result, with the trained model in `result.model`.

    Raises:
        UserError: for settings that do not fit together, an unknown device, or a model with weights
            that would not be trained.
    """
    config = TrialConfig(
        task=task,
        test_tasks=test_tasks,
        model=model,
        train=train or TrainConfig(),
        seeds=Seeds.of(seed),
    )
    refuse_default_dtype()
    for each in (config.task, *config.test_tasks):
        check_facts(each)
    warn_of_edited_code((config.task, *config.test_tasks), [config.model], [config.train])
    check_examples([config.task], config.test_tasks)
    warn_of_shortcuts(config.task, config.train)
    result = run_trial(config, device=device, on_record=on_record)
    if result.status == "diverged":
        warnings.warn(
            f"{config.model.label} diverged at step {result.step}, so it was not tested:"
            " `result.test` is empty",
            stacklevel=2,
        )
    else:
        for line in about_untrained(config):
            warnings.warn(line, stacklevel=2)
    return result


def run_trial(
    config: TrialConfig,
    *,
    device: str | torch.device = "cpu",
    until: int | None = None,
    checkpoint: Slot | Path | None = None,
    on_record: OnRecord | None = None,
    observer: Observer | None = None,
    on_step: OnStep | None = None,
    on_result: OnResult | None = None,
    rows: int | None = None,
    ranks: Ranks = ALONE,
) -> TrialResult:
    """Run or resume a trial.

    Args:
        config: the trial.
        device: as in `train`.
        until: the step to stop at; None: train until all steps are done or the task is solved.
        checkpoint: a file to resume from, if it exists, and to save to every minute and at `until`.
            The caller removes it once the result is stored. A resumed trial gives the same result
            to the bit on the same CPU with the same number of threads, and up to rounding on a GPU.
            Models that a checkpoint cannot restore are not saved (`rehearsal`).
        on_record: called at every validation.
        observer: observes the model before training and at every validation. A checkpoint without
            observations is then ignored.
        on_step: called after each step with a finite loss, before any validation at that step.
        on_result: called at every validation with a finite loss, with the result that the trial
            would have if it stopped there.
        rows: examples per forward pass (`Run.rows`).
        ranks: the processes that share the batch. Each runs the trial; process 0 saves it.

    Raises:
        UserError: if the model has weights that would not be trained.
    """
    place = resolve_device(device)
    saved_to = None if checkpoint is None else as_slot(checkpoint)
    cuda = [place] if place.type == "cuda" else []
    refuse_misplaced_weights(config, place)
    warn_of_leaks(config, place)
    with torch.random.fork_rng(devices=cuda):
        data = TrainingData(config.task, config.train, config.seeds)
        run = Run(config, data, observer, rows=rows)
        model = build_model(config).to(place)
        optimizer = make_optimizer(model, config.train)
        valid = held_out(config.task, config.train.valid_examples, config.seeds, "valid")
        trained = Trained(run, model, optimizer, valid)
        if saved_to is not None:
            go_on(trained, saved_to)
        saved_to = saved_to if ranks.rank == 0 else None

        def recorded(record: Record) -> None:
            if on_record is not None:
                on_record(record)
            if on_result is not None and not run.diverged:
                on_result(trial_result(run, "stopped", {}, model))

        status = _advance(trained, until, saved_to, recorded, on_step, ranks)
        if saved_to is not None and status == "stopped":
            save(trained, saved_to)
        end_training(optimizer)
        test = test_metrics(config, model, ranks) if status == "complete" else {}
    return trial_result(run, status, test, model)


def go_on(trained: Trained, checkpoint: Slot) -> None:
    """Resume from a checkpoint, if it exists and holds the observations that the observer needs."""
    if not checkpoint.exists():
        return
    with checkpoint.reading() as path:
        if trained.run.observer is None or was_observed(path):
            trained.run.go_on(*load_checkpoint(path, trained.model, trained.optimizer))


def save(trained: Trained, checkpoint: Slot) -> None:
    """Write a checkpoint of a running trial, unless it has diverged.

    If a checkpoint cannot restore the model, none is written and a warning says so.
    """
    run, model, optimizer = trained.run, trained.model, trained.optimizer
    if run.diverged:
        return
    if run.lost is None:
        lost = lost_by_checkpoints(run.config, model)
        run.lost = lost or lost_by_optimizer(model, optimizer, run.config.train) or ""
    if run.lost:
        warnings.warn(
            f"{run.config.model.label} cannot be checkpointed, so an interrupted trial starts again"
            f" from the beginning: {run.lost}",
            stacklevel=2,
        )
    else:
        with checkpoint.writing() as path:
            save_checkpoint(path, model, optimizer, run.history, run.seen(), **run.counts())


def keep_weights(config: TrialConfig, model: LanguageModel, place: Slot) -> None:
    """Write a trained model's weights for `checkpoint.load_weights`.

    If weights alone cannot restore the model, none are written and a warning says so.
    """
    lost = lost_by_checkpoints(config, model)
    if lost is None:
        with place.writing() as path:
            save_weights(model, path)
    else:
        warnings.warn(f"the weights of {config.model.label} are not stored: {lost}", stacklevel=2)


def test_metrics(config: TrialConfig, model: LanguageModel, ranks: Ranks) -> dict[str, Metrics]:
    """Metrics of a trained model on the trial's task and test tasks, by task label."""
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
    """Result of a trial at its current step."""
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
    """The trial's key; None if the source of a class cannot be read."""
    try:
        return config.key
    except UserError:
        return None


def _advance(
    trained: Trained,
    until: int | None,
    checkpoint: Slot | None,
    on_record: OnRecord,
    on_step: OnStep | None,
    ranks: Ranks,
) -> Status:
    """Train to the step `until` or the trial's end."""
    run, model = trained.run, trained.model
    further = run.config.metrics_on(run.config.task)
    if run.step == 0:
        run.observe(model)
    saved, pause = time.perf_counter(), CHECKPOINT_SECONDS
    while (status := run.status(until)) is None:
        due = run.next_validation()
        began = time.perf_counter()
        loss = training_step(trained, ranks=ranks)
        run.seconds += time.perf_counter() - began
        run.took([loss])
        if on_step is not None and not run.diverged:
            on_step(model, run.step, loss)
        if run.step == due and not run.diverged:
            with evaluated_weights(model, trained.optimizer):
                run.validated(evaluate(model, trained.valid, further, ranks), on_record)
                run.observe(model)
        began = time.perf_counter()
        if checkpoint is not None and began - saved > pause:
            save(trained, checkpoint)
            saved = time.perf_counter()
            pause = CHECKPOINT_SECONDS * max(1.0, (saved - began) / SAVING_SECONDS)
    return status
