"""Who looks at a model while it is trained."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from recollect.models.language_model import LanguageModel


class Observer(Protocol):
    """Looks at one trial's model, before training and at every validation.

    Training is the same with it as without. What it has seen is kept in checkpoints, so that a
    resumed trial has been seen as often as an uninterrupted one.
    """

    def observe(self, step: int, model: LanguageModel) -> None:
        """Look at the model after so many optimiser steps, and leave it and the random numbers of
        its training as they were."""

    def seen(self) -> dict[str, Tensor]:
        """All that has been seen so far, by name."""

    def go_on(self, seen: dict[str, Tensor]) -> None:
        """Restore what was seen when a checkpoint was made."""
