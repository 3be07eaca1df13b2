"""A trial in training: its progress, and the model and optimiser that it trains."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from recollect.models.language_model import LanguageModel
from recollect.tasks.batch import Batch
from recollect.training.run import Run
from recollect.training.staging import Source


@dataclass(eq=False)
class Trained:
    """A trial in training, alone or with others.

    Attributes:
        run: its progress.
        model: its model, out of date while a program trains it.
        optimizer: its optimiser, likewise out of date.
        valid: its validation examples.
    """

    run: Run
    model: LanguageModel
    optimizer: torch.optim.Optimizer
    valid: list[Batch]

    @property
    def source(self) -> Source:
        """Seeds of its examples; trials with the same source see the same examples."""
        return self.run.config.seeds.data, self.run.config.seeds.order
