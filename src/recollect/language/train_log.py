"""The log of a training: a line of JSON for each validation."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from recollect.errors import UserError
from recollect.files import replacing
from recollect.language.hit_metrics import HIT_LOSS, HIT_SHARE
from recollect.training.result import Record

LARGEST = 709.0
"""Loss whose exponential is a number still."""


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
        device: where it was trained since the moment before.
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

    @classmethod
    def of(cls, record: Record, before: Validated | None, tokens: int, device: str) -> Validated:
        """What a record of a trial says.

        Args:
            record: of a trial on a text.
            before: the moment before, if there is one.
            tokens: read in a step.
            device: where it was trained since then, in words.
        """
        step, seconds = (before.step, before.seconds) if before else (0, 0.0)
        valid = record.valid
        on_hits = valid.further[HIT_LOSS].value
        return cls(
            step=record.step,
            tokens=record.step * tokens,
            learning_rate=record.learning_rate,
            train_loss=record.train_loss,
            valid_loss=valid.loss,
            valid_accuracy=valid.accuracy,
            hit_loss=on_hits if math.isfinite(on_hits) else None,
            hit_share=valid.further[HIT_SHARE].value,
            tokens_per_second=(record.step - step) * tokens / (record.seconds - seconds),
            seconds=record.seconds,
            device=device,
        )

    @property
    def perplexity(self) -> float:
        """On the validation text."""
        return _exp(self.valid_loss)

    @property
    def hit_perplexity(self) -> float | None:
        """On the AR hits in it."""
        return None if self.hit_loss is None else _exp(self.hit_loss)


class TrainLog:
    """The log as a file.

    Args:
        path: the file; what it tells of later steps than `step` is removed: it has been done after
            the last checkpoint, and is done again.
        step: where training goes on.

    Attributes:
        last: the last line, if there is one.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        kept = [line for line in read_log(path) if line.step <= step]
        with replacing(path) as temporary:
            temporary.write_text("".join(map(_line, kept)), encoding="utf-8")
        self.last = kept[-1] if kept else None

    def add(self, moment: Validated) -> None:
        """Write a line.

        Raises:
            UserError: where that is not possible.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(moment))
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror or error}") from error
        self.last = moment


def read_log(path: Path) -> list[Validated]:
    """The lines of a log, none if there is no file; a last line that was not finished is left
    out.

    Raises:
        UserError: where it is damaged.
    """
    if not path.exists():
        return []
    try:
        whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
        return [Validated(**json.loads(line)) for line in whole.splitlines()]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path} is damaged: expected a line of JSON for each validation; put it back, or"
            " remove it"
        ) from error


def _exp(loss: float) -> float:
    return math.exp(loss) if loss < LARGEST else math.inf


def _line(moment: Validated) -> str:
    return json.dumps(asdict(moment), allow_nan=False) + "\n"
