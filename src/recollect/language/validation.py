"""Validations of a language model in training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recollect.language.hit_metrics import HIT_LOSS, HIT_SHARE
from recollect.training.config import TrialConfig
from recollect.training.result import Record

LARGEST = 709.0
"""Largest loss whose exponential is finite."""

Row = Mapping[str, Any]
"""A record of a trial, as in `Store.history`."""


def row_of(record: Record) -> Row:
    """Convert a record to a row as in a store."""
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
    """The result of a validation. Losses are in nats per token.

    Attributes:
        step: optimiser steps done.
        tokens: training tokens read so far.
        learning_rate: of the last step.
        train_loss: mean over the steps since the previous validation.
        valid_loss: on the validation text; its exponential is the perplexity.
        valid_accuracy: accuracy on the validation text.
        hit_loss: loss on its AR hits; None if there are none.
        hit_share: share of AR hits among its tokens.
        tokens_per_second: training speed since the previous validation.
        seconds: training time so far.
        device: description of the device.
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
        """Result from rows of a store.

        Args:
            row: row of a trial on a text.
            before: the previous row; None: there is none.
            config: the trial.
            device: description of the device.
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
    """Perplexity of a loss; infinite if it overflows."""
    return math.exp(loss) if loss < LARGEST else math.inf
