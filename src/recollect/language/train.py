"""Training of a language model: a trial on a text that may take days, in a folder of its own.

The folder holds the trial's config, a log, a checkpoint while it is in work, and the model when it
is done (`model_folder`). Whoever was killed goes on at the last checkpoint, with the same losses,
to the bit on the same CPU with the same number of threads.
"""

from __future__ import annotations

import math
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
from recollect.language.model_folder import check_weights, is_model_folder, save_model
from recollect.language.sources import check_outside
from recollect.language.text_task import OnProgress, Text
from recollect.language.train_log import TrainLog, Validated, read_log
from recollect.models.language_model import LanguageModel
from recollect.tasks.task import Split
from recollect.training.config import TrialConfig
from recollect.training.device import describe_device, resolve_device
from recollect.training.ranks import Ranks, is_first, joined, own_device
from recollect.training.rehearsal import lost_by_checkpoints
from recollect.training.result import Record
from recollect.training.trial import run_trial

PARTS: tuple[Split, ...] = ("train", "valid", "test")
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
        _prepare(config.task, watch.on_progress)
        with _writing(folder) if is_first() else nullcontext(), joined(place) as ranks:
            model = _trained(config, folder, place, rows, ranks, watch)
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


def _trained(
    config: TrialConfig,
    folder: Path,
    place: torch.device,
    rows: int | None,
    ranks: Ranks,
    watch: Watch,
) -> LanguageModel:
    """The model after training; only the first process writes and speaks.

    Raises:
        UserError: where the loss became NaN or inf.
    """
    told = _Told(config, folder, place, watch)
    result = run_trial(
        config,
        device=str(place),
        checkpoint=folder / CHECKPOINT_FILE,
        on_record=told.on_record if is_first() else None,
        on_step=told.on_step if is_first() else None,
        rows=rows,
        ranks=ranks,
    )
    if result.status == "diverged":
        raise told.diverged(result.step)
    assert result.model is not None
    return result.model


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


def _prepare(task: Text, on_progress: OnProgress) -> None:
    """Make what is read of a text, all parts of it: what cannot be tested is not trained."""
    task.data.bigrams(on_progress)
    for part in PARTS:
        task.data.shards(part, on_progress)
        task.split(part).sample(1, seed=0)


class _Told:
    """What is written to the folder, and told, while a model is trained.

    The folder is not taken before a step was possible, so that settings that fail leave it to
    others.
    """

    def __init__(self, config: TrialConfig, folder: Path, place: torch.device, watch: Watch):
        self._config, self._folder, self._watch = config, folder, watch
        self._device = describe_device(place)
        self._log: TrainLog | None = None

    def on_step(self, model: LanguageModel, step: int, loss: float) -> None:
        """As in `run_trial`."""
        if self._log is None:
            claim(self._config, self._folder)
            self._log = TrainLog(self._folder / LOG_FILE, step - 1)
            self._watch.on_start(model, step - 1)
        self._watch.on_step(step, loss)

    def on_record(self, record: Record) -> None:
        """As in `run_trial`; one with a loss that is no number is the end, and `diverged` tells."""
        assert self._log is not None
        if math.isfinite(record.valid.loss):
            tokens = self._config.train.batch_size * self._config.task.max_len
            moment = Validated.of(record, self._log.last, tokens, self._device)
            self._log.add(moment)
            self._watch.on_validated(moment)

    def diverged(self, step: int) -> UserError:
        """What to raise where training diverged at a step."""
        told = f"the loss became NaN or inf at step {step}; choose a smaller rate"
        if self._log is not None:  # the folder is this training's
            (self._folder / DIVERGED_FILE).write_text(told, encoding="utf-8")
        rate = self._config.train.learning_rate
        return UserError(f"learning_rate={rate:g}: {told}, and another folder")
