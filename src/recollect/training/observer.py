"""The interface of an observer of training."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from recollect.models.language_model import LanguageModel


class Observer(Protocol):
    """Observes one trial's model before training and at every validation.

    Observing does not change training. Observations are stored in checkpoints, so a resumed trial
    has as many as an uninterrupted one.
    """

    def observe(self, step: int, model: LanguageModel) -> None:
        """Observe the model after `step` optimiser steps. Must not change the model or the random
        state of training."""

    def seen(self) -> dict[str, Tensor]:
        """All observations so far, as tensors by name."""

    def go_on(self, seen: dict[str, Tensor]) -> None:
        """Restore the observations of a checkpoint."""
