"""Training of a language model: a trial on a text that may take days, in a folder of its own.

The folder holds a store with all that was measured, beside it a checkpoint while the training is in
work, and the model when it is done (`model_folder`). Whoever was killed goes on at the last
checkpoint, with the same losses, to the bit on the same CPU with the same number of threads.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recollect.language.model_folder import save_model
from recollect.language.pretrained import check_causal
from recollect.language.sources import check_outside
from recollect.language.text_task import OnProgress, Text
from recollect.language.training import Training, finished, opened
from recollect.language.validation import Validated, row_of
from recollect.models.language_model import LanguageModel
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
    """Train a model on a text, or go on; in all processes that `torchrun` has started, of which
    the first alone opens the store.

    Args:
        config: the trial; its task is a `Text`.
        folder: what training leaves; another one for each trial.
        rows: examples that memory should hold at a time, in each process; None: all of a batch.
        device: "cpu", "cuda" or "auto".
        watch: who wants to know.

    Returns:
        A moment for each validation, in the first process; nothing in the others.

    Raises:
        UserError: where the folder holds another model or a damaged one, is in use or a part of the
            text, or the loss becomes NaN or inf.
    """
    assert isinstance(config.task, Text)
    watch = watch if watch is not None and is_first() else Watch()
    place = own_device(resolve_device(device))
    check_outside(config.task.text, folder)
    log = finished(config, folder) if is_first() else None
    if log is None:
        _prepare(config.task, watch.on_progress)
        _refuse_look_ahead(config)
    with joined(place) as ranks:
        if ranks.told(log is None):
            run = partial(run_trial, config, device=str(place), rows=rows, ranks=ranks)
            if is_first():
                _lead(config, folder, watch, ranks, run)
            else:
                checkpoint: Slot | None = ranks.told(None)
                run(checkpoint=checkpoint)
    if log is None and is_first():
        log = finished(config, folder)
    return log or []


def _refuse_look_ahead(config: TrialConfig) -> None:
    """A mixer of the user's that reads later tokens would learn to copy them.

    Raises:
        UserError: where another last token changes what is said of those before.
    """
    if any(spec.is_foreign for spec in config.model.layer_mixers()):
        (tokens,) = config.task.split("train").sample(1, seed=0).inputs
        check_causal(config.model.label, build_model(config).eval(), tokens)


def _lead(
    config: TrialConfig,
    folder: Path,
    watch: Watch,
    ranks: Ranks,
    run: Callable[..., TrialResult],
) -> None:
    """What the first process does beside its share of the training: it alone writes and speaks."""
    assert isinstance(config.task, Text)
    with opened(config, folder) as training, training.claimed():
        told = _Told(config, training, watch)
        checkpoint: Slot | None = ranks.told(training.checkpoint)
        result = run(checkpoint=checkpoint, on_step=told.on_step, on_result=told.on_result)
        if result.status == "complete":
            assert result.model is not None
            _warn_of_loss(config, result.model, folder)
            data = config.task.data
            before = () if data.end is None else (data.end,)
            save_model(result.model, data.tokenizer, folder, begins_with=before)
        training.save(result)  # the end, which is none while the model is not there


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
    """What is stored, and told, while a model is trained.

    The folder is not taken before a step was possible, so that settings that fail leave it to
    others.
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
