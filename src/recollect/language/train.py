"""Training of a language model: a long trial on a text, in its own folder.

The folder holds a store with all measurements, a checkpoint during training, and the model at the
end (`model_folder`). A killed training resumes from the last checkpoint with the same losses, to
the bit on the same CPU with the same number of threads.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recollect.language.model_folder import save_model
from recollect.language.pretrained import refuse_look_ahead
from recollect.language.progress import OnProgress
from recollect.language.sources import check_outside
from recollect.language.text_task import Text
from recollect.language.training import Training, finished, opened
from recollect.language.validation import Validated, row_of
from recollect.mixers.process_settings import refuse_default_dtype
from recollect.models.language_model import LanguageModel
from recollect.models.look_ahead import look_ahead_untrained
from recollect.tasks.task import Split
from recollect.training.checkpoint import build_model
from recollect.training.config import TrialConfig
from recollect.training.device import resolve_device
from recollect.training.ranks import Ranks, is_first, joined, own_device
from recollect.training.rehearsal import lost_by_checkpoints
from recollect.training.result import TrialResult
from recollect.training.slot import Slot
from recollect.training.trial import run_trial

PARTS: tuple[Split, ...] = ("train", "valid", "test")
TOKENS_AT_ONCE = 2**14
"""Default number of tokens that a process trains on at a time."""


@dataclass(frozen=True)
class Watch:
    """Callbacks during training; only the first of several processes calls them.

    Attributes:
        on_progress: called while texts are prepared.
        on_start: called before the first step with the model and the number of steps done.
        on_step: called after each step with the number of steps done and the loss.
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
    """Train a model on a text, or resume, in all processes that `torchrun` has started.

    Only the first process opens the store.

    Args:
        config: the trial; its task is a `Text`.
        folder: folder of this trial.
        rows: examples per forward pass in each process; None: the whole batch.
        device: "cpu", "cuda" or "auto".
        watch: callbacks.

    Returns:
        The validations; empty in all processes but the first.

    Raises:
        UserError: if the folder holds another or a damaged model, is in use or part of the text, or
            the loss becomes NaN or inf.
        FatalError: as in `refuse_default_dtype`.
    """
    refuse_default_dtype()
    assert isinstance(config.task, Text)
    watch = watch if watch is not None and is_first() else Watch()
    place = own_device(resolve_device(device))
    check_outside(config.task.text, folder)
    log = finished(config, folder) if is_first() else None
    if log is None:
        _prepare(config.task, watch.on_progress)
        _refuse_look_ahead(config)
    with joined(place) as ranks:
        if ranks.broadcast(log is None):
            run = partial(run_trial, config, device=str(place), rows=rows, ranks=ranks)
            if is_first():
                _lead(config, folder, watch, ranks, run)
            else:
                checkpoint: Slot | None = ranks.broadcast(None)
                run(checkpoint=checkpoint)
    if log is None and is_first():
        log = finished(config, folder)
    return log or []


def _refuse_look_ahead(config: TrialConfig) -> None:
    """Refuse a user's mixer that reads later tokens, because it would learn to copy them.

    Raises:
        UserError: if the last token changes earlier logits.
    """
    if any(spec.is_foreign for spec in config.model.layer_mixers()):
        tokens = config.task.split("train").sample(1, seed=0).inputs
        change = look_ahead_untrained(build_model(config), tokens, config.task.vocab_size)
        refuse_look_ahead(config.model.label, change)


def _lead(
    config: TrialConfig,
    folder: Path,
    watch: Watch,
    ranks: Ranks,
    run: Callable[..., TrialResult],
) -> None:
    """Train in the first process, which also writes files and calls the callbacks."""
    assert isinstance(config.task, Text)
    with opened(config, folder) as training, training.reserved():
        watched = _Watched(config, training, watch)
        checkpoint: Slot | None = ranks.broadcast(training.checkpoint)
        result = run(checkpoint=checkpoint, on_step=watched.on_step, on_result=watched.on_result)
        if result.status == "complete":
            assert result.model is not None
            _warn_of_loss(config, result.model, folder)
            data = config.task.data
            save_model(result.model, data.tokenizer, folder, begins_with=data.begins_with)
        # last: the training only counts as finished once the model is written
        training.save(result)


def _warn_of_loss(config: TrialConfig, model: LanguageModel, folder: Path) -> None:
    """Warn if the written weights do not restore the trained model."""
    lost = lost_by_checkpoints(config, model)
    if lost is not None:
        warnings.warn(
            f"the weights of {config.model.label} in {folder} do not restore the model: {lost}",
            stacklevel=2,
        )


def _prepare(task: Text, on_progress: OnProgress) -> None:
    """Tokenize all parts of a text before training, so that a text without test windows is
    refused."""
    task.data.bigrams(on_progress)
    for part in PARTS:
        task.data.shards(part, on_progress)
        task.split(part).sample(1, seed=0)


class _Watched:
    """Stores results and calls the callbacks during training.

    The training is recorded in the folder after the first step, so that settings that fail do not
    occupy it.
    """

    def __init__(self, config: TrialConfig, training: Training, watch: Watch) -> None:
        self._config, self._training, self._watch = config, training, watch
        self._began = False

    def on_step(self, model: LanguageModel, step: int, loss: float) -> None:
        """As in `run_trial`."""
        if not self._began:
            self._began = True
            self._training.begin()
            self._watch.on_start(model, step - 1)
        self._watch.on_step(step, loss)

    def on_result(self, result: TrialResult) -> None:
        """As in `run_trial`."""
        self._training.save(result)
        *before, row = map(row_of, result.history[-2:])
        moment = Validated.of(row, before[0] if before else None, self._config, result.device)
        self._watch.on_validated(moment)
