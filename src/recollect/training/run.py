"""Progress of a trial in data, schedule and budget, however its model is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from torch import Tensor

from recollect.models.language_model import LanguageModel
from recollect.tasks.batch import Batch
from recollect.training.config import TrialConfig
from recollect.training.data import TrainingData
from recollect.training.observer import Observer
from recollect.training.result import Metrics, Record, Status
from recollect.training.schedule import learning_rate_at

OnRecord = Callable[[Record], None]
OnStep = Callable[[LanguageModel, int, float], None]
"""Called after each step with the model, the number of steps done and the loss."""


@dataclass
class Run:
    """Training state of a trial, except weights and optimiser.

    Attributes:
        config: the trial.
        data: its training batches.
        observer: observes the model; None: nothing does.
        step: optimiser steps done.
        seconds: training time so far.
        loss_sum: sum of the losses since the last record.
        history: a record of each validation.
        diverged: whether a loss was not finite.
        rows: examples per forward pass; fewer once memory did not suffice. None: the whole batch.
        lost: reason why a checkpoint cannot restore the trial; "": it can; None: not checked yet.
    """

    config: TrialConfig
    data: TrainingData
    observer: Observer | None = None
    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    history: list[Record] = field(default_factory=list)
    diverged: bool = False
    rows: int | None = None
    lost: str | None = None

    def counts(self) -> dict[str, float]:
        """Counters that a checkpoint holds."""
        return {"step": self.step, "seconds": self.seconds, "loss_sum": self.loss_sum}

    def seen(self) -> dict[str, Tensor]:
        """Observations that a checkpoint holds."""
        return {} if self.observer is None else self.observer.seen()

    def go_on(
        self, history: list[Record], seen: dict[str, Tensor], counts: dict[str, float]
    ) -> None:
        """Restore the progress stored in a checkpoint."""
        self.history, self.step = history, int(counts["step"])
        self.seconds, self.loss_sum = counts["seconds"], counts["loss_sum"]
        if self.observer is not None:
            self.observer.go_on(seen)

    def status(self, until: int | None) -> Status | None:
        """Status if the trial ends at this step, else None; it is stopped at the step `until`."""
        train = self.config.train
        if self.diverged:
            return "diverged"
        if self._is_solved() or self.step >= train.steps:
            return "complete"
        return "stopped" if until is not None and self.step >= until else None

    def batch(self) -> Batch:
        """Examples of the next step."""
        return self.data.batch(self.step)

    def learning_rate(self, step: int) -> float:
        """Learning rate of optimiser step `step`, counted from 0."""
        return learning_rate_at(step, self.config.train, self.data.steps_per_epoch)

    def took(self, losses: Iterable[float]) -> None:
        """Record the losses of the next steps, each measured before its update."""
        for loss in losses:
            self.step += 1
            if not math.isfinite(loss):
                self.diverged = True
                return
            self.loss_sum += loss

    def next_validation(self) -> int:
        """Step of the next validation."""
        train = self.config.train
        return min(self.step + train.eval_every - self.step % train.eval_every, train.steps)

    def validated(self, valid: Metrics, on_record: OnRecord | None) -> None:
        """Record the result of a validation at this step."""
        since = self.history[-1].step if self.history else 0
        record = Record(
            step=self.step,
            learning_rate=self.learning_rate(self.step - 1),
            train_loss=self.loss_sum / (self.step - since),
            valid=valid,
            seconds=self.seconds,
        )
        self.loss_sum = 0.0
        self.history.append(record)
        self.diverged = not math.isfinite(valid.loss)
        if on_record is not None:
            on_record(record)

    def observe(self, model: LanguageModel) -> None:
        """Call the observer, if there is one."""
        if self.observer is not None and not self.diverged:
            self.observer.observe(self.step, model)

    def _is_solved(self) -> bool:
        target = self.config.train.stop_accuracy
        if target is None or not self.history:
            return False
        return self.history[-1].valid.accuracy >= target
