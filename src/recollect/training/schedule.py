"""The learning rate over the steps of a trial."""

from __future__ import annotations

import math

from recollect.training.config import TrainConfig

DECAY_SHARE = 0.2
"""Fraction of the steps of "wsd", at the end, during which the rate falls."""


def learning_rate_at(step: int, train: TrainConfig, steps_per_epoch: int) -> float:
    """The rate of optimiser step `step`, counted from 0.

    With S steps, of which the first W = `warmup` S are the warm-up, and p the peak:

    - step < W: p (step + 1) / W, for every schedule;
    - "constant": p;
    - "linear": p (1 - x), where x = (step - W) / (S - W);
    - "cosine": p (1 + cos(pi x)) / 2;
    - "wsd" (warm-up, stable, decay; arXiv 2404.06395, with the linear decay of arXiv 2405.18392):
      p, and over the last D steps p (S - step) / D, where D is the smaller of S / 5 and S - W.

    With `schedule_unit="epoch"`, all steps of an epoch have the rate of its first step.
    """
    if train.schedule_unit == "epoch":
        step -= step % steps_per_epoch
    warmup_steps = round(train.warmup * train.steps)
    if step < warmup_steps:
        return train.learning_rate * (step + 1) / warmup_steps
    if train.schedule == "constant":
        return train.learning_rate
    after_warmup = train.steps - warmup_steps
    if train.schedule == "wsd":
        decay_steps = max(1, min(round(DECAY_SHARE * train.steps), after_warmup))
        return train.learning_rate * min(1.0, (train.steps - step) / decay_steps)
    progress = (step - warmup_steps) / max(1, after_warmup)
    if train.schedule == "linear":
        return train.learning_rate * (1 - progress)
    return train.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
