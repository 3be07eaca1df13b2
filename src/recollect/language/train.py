"""Training of a language model: a trial on a text that may take days, in a folder of its own.

The folder holds the trial's config, a log, a checkpoint while it is in work, and the model when it
is done (`model_folder`). Whoever was killed goes on at the last validation, with the same losses,
to the bit on the same CPU with the same number of threads.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from recollect.errors import UserError
from recollect.files import make_folder
from recollect.language.claim import CHECKPOINT_FILE, DIVERGED_FILE, LOG_FILE, check_claim, claim
from recollect.language.counts import NgramCounts, count_ngrams
from recollect.language.model_folder import check_weights, is_model_folder, save_model
from recollect.language.sources import check_outside
from recollect.language.text_task import OnProgress, Text
from recollect.language.train_log import TrainLog, Validated, read_log
from recollect.language.validation import ValidationText
from recollect.models.language_model import LanguageModel
from recollect.training.checkpoint import build_model
from recollect.training.config import TrialConfig
from recollect.training.data import TrainingData, held_out
from recollect.training.device import describe_device, resolve_device
from recollect.training.optimizer import end_training, evaluated_weights, make_optimizer
from recollect.training.ranks import Ranks, is_first, joined, own_device
from recollect.training.rehearsal import lost_by_checkpoints, refuse_hidden_weights
from recollect.training.run import Run
from recollect.training.slot import FileSlot
from recollect.training.step import training_step
from recollect.training.trial import go_on, save

TOKENS_AT_ONCE = 2**14
"""What memory should hold at a time in each process, if nothing else is known."""


@dataclass(frozen=True)
class Watch:
    """Who wants to know how training goes; told by the first of several processes alone.

    Attributes:
        on_progress: called while texts are prepared.
        on_start: called with the model before the first step, and the steps done before.
        on_step: called after each step with the steps done and the loss.
        on_validated: called at every validation.
    """

    on_progress: OnProgress = lambda *_: None
    on_start: Callable[[LanguageModel, int], None] = lambda *_: None
    on_step: Callable[[int, float], None] = lambda *_: None
    on_validated: Callable[[Validated], None] = lambda _: None


def train_language_model(
    config: TrialConfig,
    folder: Path,
    *,
    rows: int | None = None,
    device: str = "auto",
    watch: Watch | None = None,
) -> list[Validated]:
    """Train a model on a text, or go on; in all processes that `torchrun` has started.

    Args:
        config: the trial; its task is a `Text`.
        folder: what training leaves; another one for each trial.
        rows: examples that memory should hold at a time, in each process; None: all of a batch.
        device: "cpu", "cuda" or "auto".
        watch: who wants to know.

    Returns:
        The log, a line for each validation.

    Raises:
        UserError: where the folder holds another model, a damaged one or no log of it, is in use
            or a part of the text, or the loss becomes NaN or inf.
    """
    assert isinstance(config.task, Text)
    data = config.task.data
    watch = watch if watch is not None and is_first() else Watch()
    place = own_device(resolve_device(device))
    check_outside(config.task.text, folder)
    check_claim(config, folder)
    if not is_model_folder(folder):
        counts = _prepare(config.task, watch.on_progress)
        cuda = [place] if place.type == "cuda" else []
        with (
            _writing(folder) if is_first() else nullcontext(),
            torch.random.fork_rng(devices=cuda),
            joined(place) as ranks,
        ):
            model = _Training(config, folder, counts, ranks, place, rows, watch).run()
            if is_first():
                _warn_of_loss(config, model, folder)
                before = () if data.end is None else (data.end,)
                save_model(model, data.tokenizer, folder, begins_with=before)
    check_weights(folder)
    if is_first():
        for left in (CHECKPOINT_FILE, DIVERGED_FILE):
            (folder / left).unlink(missing_ok=True)
    log = read_log(folder / LOG_FILE)
    if not log:
        raise UserError(
            f"{folder} holds a trained model, but no line in its {LOG_FILE}: put the log back;"
            " `recollect slice` measures the model without it"
        )
    return log


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Nobody else writes to the folder meanwhile; what was left half written is removed."""
    make_folder(folder)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"another process is training in {folder}") from None
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error}") from error
    try:
        for left in folder.glob(f".{CHECKPOINT_FILE}.*"):
            left.unlink()
        yield
    finally:
        lock.release()


def _warn_of_loss(config: TrialConfig, model: LanguageModel, folder: Path) -> None:
    """Say so where the model that is kept is not the one that was trained."""
    lost = lost_by_checkpoints(config, model)
    if lost is not None:
        warnings.warn(
            f"the weights of {config.model.label} in {folder} are not all of it: {lost}",
            stacklevel=2,
        )


def _prepare(task: Text, on_progress: OnProgress) -> NgramCounts:
    """Make the tokens of training and validation; how often each bigram is in the former."""
    trained = task.data.shards("train", on_progress)
    task.data.shards("valid", on_progress)

    def report(done: int, total: int) -> None:
        on_progress(f"bigrams of {task.text}", done, total)

    return count_ngrams(trained, 2, task.data.folder, report)


class _Training:
    """A training in work."""

    def __init__(
        self,
        config: TrialConfig,
        folder: Path,
        counts: NgramCounts,
        ranks: Ranks,
        place: torch.device,
        rows: int | None,
        watch: Watch,
    ) -> None:
        self._config, self._folder = config, folder
        self._ranks, self._rows, self._watch = ranks, rows, watch
        self._run = Run(config, TrainingData(config.task, config.train, config.seeds))
        refuse_hidden_weights(config, place)
        self._model = build_model(config).to(place)
        self._optimizer = make_optimizer(self._model, config.train)
        go_on(self._run, self._model, self._optimizer, FileSlot(folder / CHECKPOINT_FILE))
        (windows,) = held_out(config.task, config.train.valid_examples, config.seeds, "valid")
        assert isinstance(config.task, Text)
        self._valid = ValidationText(windows, counts, ranks, config.task.data.end)
        self._log: TrainLog | None = None

    def run(self) -> LanguageModel:
        """Train to the end."""
        self._watch.on_start(self._model, self._run.step)
        while self._run.status(None) is None:
            before = self._run.step, self._run.seconds
            self._to_validation()
            moment = self._validate(*before)
            if self._log is not None:
                self._log.add(moment)
                self._save()
            self._watch.on_validated(moment)
        end_training(self._optimizer)
        return self._model

    def _claim(self, step: int) -> None:
        """Take the folder, and open the log there, which tells of steps up to `step`: not before a
        step was possible, so that settings that fail leave the folder to others."""
        if self._log is None and is_first():
            claim(self._config, self._folder)
            self._log = TrainLog(self._folder / LOG_FILE, step)

    def _to_validation(self) -> None:
        """Steps up to the next validation."""
        run, due = self._run, self._run.next_validation()
        while run.step < due:
            began = time.perf_counter()
            loss = training_step(
                run, self._model, self._optimizer, rows=self._rows, ranks=self._ranks
            )
            run.seconds += time.perf_counter() - began
            run.took([loss])
            self._refuse_divergence()
            self._claim(run.step - 1)
            self._watch.on_step(run.step, loss)

    def _validate(self, step: int, seconds: float) -> Validated:
        """What there is to tell, and since which step and second."""
        run = self._run
        with evaluated_weights(self._model, self._optimizer):
            valid, on_hits = self._valid.evaluate(self._model)
        run.validated(valid, None)
        self._refuse_divergence()
        record, tokens = run.history[-1], run.config.train.batch_size * run.config.task.max_len
        return Validated(
            step=run.step,
            tokens=run.step * tokens,
            learning_rate=record.learning_rate,
            train_loss=record.train_loss,
            valid_loss=valid.loss,
            valid_accuracy=valid.accuracy,
            hit_loss=on_hits if math.isfinite(on_hits) else None,
            hit_share=self._valid.hit_share,
            tokens_per_second=(run.step - step) * tokens / (run.seconds - seconds),
            seconds=run.seconds,
            device=describe_device(self._model.head.weight.device),
        )

    def _save(self) -> None:
        checkpoint = FileSlot(self._folder / CHECKPOINT_FILE)
        save(self._run, self._model, self._optimizer, checkpoint)

    def _refuse_divergence(self) -> None:
        if not self._run.diverged:
            return
        told = f"the loss became NaN or inf at step {self._run.step}; choose a smaller rate"
        if self._log is not None:  # the folder is this training's
            (self._folder / DIVERGED_FILE).write_text(told, encoding="utf-8")
        rate = self._run.config.train.learning_rate
        raise UserError(f"learning_rate={rate:g}: {told}, and another folder")
