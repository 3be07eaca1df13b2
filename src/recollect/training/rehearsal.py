"""Whether a model's forward pass leaves the model as it was, which one program for many models
takes for granted."""

from __future__ import annotations

import torch

from recollect.models.language_model import LanguageModel
from recollect.tasks.batch import Batch
from recollect.training.checkpoint import build_model
from recollect.training.config import TrainConfig, TrialConfig
from recollect.training.module_state import first_change, module_state
from recollect.training.precision import mixed_precision

EXAMPLES = 2
"""As many as show it: what a batch consists of makes no difference."""


class ChangesItself(RuntimeError):
    """A model's forward pass changes the model."""


def rehearse(config: TrialConfig, device: torch.device) -> None:
    """Run a fresh model of a trial once at each length of its task, in training and in evaluation.

    Raises:
        ChangesItself: where a parameter, a buffer or another attribute is then not what it was.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        model = build_model(config).to(device)
        before = module_state(model)
        for training in (True, False):
            model.train(training)
            for task in config.task.components:
                _forward(model, task.sample(EXAMPLES, seed=0).to(device), config.train)
                change = first_change(before, module_state(model))
                if change is not None:
                    raise ChangesItself(f"its forward pass changes {change.strip('.')}")


def _forward(model: LanguageModel, batch: Batch, train: TrainConfig) -> None:
    """As in training or in evaluation, whichever the model is in."""
    if model.training:
        with mixed_precision(train, batch.inputs.device):
            model.loss(batch.inputs, batch.positions, batch.targets)
    else:
        with torch.no_grad():
            model(batch.inputs, batch.positions)
