"""A moment of a language model's training: what a validation gave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recollect.language.hit_metrics import HIT_LOSS, HIT_SHARE
from recollect.training.config import TrialConfig
from recollect.training.result import Record

LARGEST = 709.0
"""Loss whose exponential is a number still."""

Row = Mapping[str, Any]
"""A record of a trial, as `Store.history` has it."""


def row_of(record: Record) -> Row:
    """A record as a store would have it."""
    valid = {f"valid_{name}": measure.value for name, measure in record.valid.items()}
    return {
        "step": record.step,
        "learning_rate": record.learning_rate,
        "train_loss": record.train_loss,
        "seconds": record.seconds,
        **valid,
    }


@dataclass(frozen=True)
class Validated:
    """A moment of training. Losses are in nats a token.

    Attributes:
        step: optimiser steps done.
        tokens: read in them.
        learning_rate: of the last of them.
        train_loss: mean over the steps since the moment before.
        valid_loss: on the validation text; its exponential is the perplexity.
        valid_accuracy: share of its tokens that the model finds likeliest.
        hit_loss: on the AR hits in it; None where there are none.
        hit_share: share of the AR hits in it.
        tokens_per_second: read in training since the moment before.
        seconds: of training so far.
        device: where it was trained.
        test_loss: on the test text; None before the end of training.
    """

    step: int
    tokens: int
    learning_rate: float
    train_loss: float
    valid_loss: float
    valid_accuracy: float
    hit_loss: float | None
    hit_share: float
    tokens_per_second: float
    seconds: float
    device: str
    test_loss: float | None = None

    @classmethod
    def of(cls, row: Row, before: Row | None, config: TrialConfig, device: str) -> Validated:
        """What is known of a moment.

        Args:
            row: of a trial on a text.
            before: of the moment before, if there is one.
            config: of the trial.
            device: where it was trained, in words.
        """
        tokens = config.train.batch_size * config.task.max_len
        step, seconds = (before["step"], before["seconds"]) if before else (0, 0.0)
        on_hits = row[f"valid_{HIT_LOSS}"]
        return cls(
            step=row["step"],
            tokens=row["step"] * tokens,
            learning_rate=row["learning_rate"],
            train_loss=row["train_loss"],
            valid_loss=row["valid_loss"],
            valid_accuracy=row["valid_accuracy"],
            hit_loss=on_hits if math.isfinite(on_hits) else None,
            hit_share=row[f"valid_{HIT_SHARE}"],
            tokens_per_second=(row["step"] - step) * tokens / (row["seconds"] - seconds),
            seconds=row["seconds"],
            device=device,
        )


def perplexity(loss: float) -> float:
    """The exponential of a loss."""
    return math.exp(loss) if loss < LARGEST else math.inf
