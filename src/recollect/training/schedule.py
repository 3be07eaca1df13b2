"""The learning rate over the steps of a trial."""

from __future__ import annotations

import math

from recollect.training.config import TrainConfig


def learning_rate_at(step: int, train: TrainConfig, steps_per_epoch: int) -> float:
    """The rate of optimiser step `step`, counted from 0.

    Linear from zero over the first `warmup` share of the steps, then constant or a cosine to zero;
    in epochs, the rate of an epoch's first step holds for all of it.
    """
    if train.schedule_unit == "epoch":
        step -= step % steps_per_epoch
    warmup_steps = round(train.warmup * train.steps)
    if step < warmup_steps:
        return train.learning_rate * (step + 1) / warmup_steps
    if train.schedule == "constant":
        return train.learning_rate
    progress = (step - warmup_steps) / max(1, train.steps - warmup_steps)
    return train.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
