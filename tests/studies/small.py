"""A study whose trials take a blink, and mixers that misbehave."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.studies.grid import models_grid
from recollect.studies.runner import run_study
from recollect.studies.search import FixedGrid, LearningRateSearch
from recollect.studies.store import Store
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig

TASK = MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)
GRID = FixedGrid(rates=(1e-3, 1e-2))
RACE = LearningRateSearch(low=1e-3, high=1e-1, per_decade=1, rungs=(0.5,), refine=0, search_seeds=0)
TRAIN = TrainConfig(steps=8, batch_size=8, eval_every=2, valid_examples=16, test_examples=16)
TIMING = ["seconds", "device"]


def small_study(mixers=("attention", "base-conv"), **changes) -> Study:
    study = Study(
        "small",
        tasks=[TASK],
        models=models_grid(mixers, d_model=[8]),
        train=TRAIN,
        search=GRID,
        seeds=(1, 2),
    )
    return study.replace(**changes)


def run_here(study: Study, store: Store, **options) -> list:
    """Run a study in this process; returns its events."""
    events: list = []
    run_study(study, store, workers=0, device="cpu", on_event=events.append, **options)
    return events


def untimed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=TIMING, errors="ignore")


class Plain(nn.Module):
    """A user's mixer."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.cumsum(dim=1))


class Raising(Plain):
    """Fails at training, not when it is built."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: ARG002
        raise ZeroDivisionError("a bug of the mixer")


class Exiting(Plain):
    """Would end the program where it is trained."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: ARG002
        sys.exit("a library is missing")


class _Exit(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_ctx: Any, _gradient: Tensor) -> Tensor:
        sys.exit("a library is missing")


class ExitingBackwards(Plain):
    """Would end the program in its backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Exit.apply(super().forward(x))
        return y


class Killed(Plain):
    """Ends like a process that takes too much memory; with a path, only where there is no file."""

    def __init__(self, d_model: int, once: str = "") -> None:
        super().__init__(d_model)
        self.once = once

    def forward(self, x: Tensor) -> Tensor:
        if not self.once or not Path(self.once).exists():
            if self.once:
                Path(self.once).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


class Fragile(Plain):
    """Raises once its weights have grown, as they do at a high learning rate alone; while there is
    a file at the path, if one is given."""

    def __init__(self, d_model: int, path: str = "") -> None:
        super().__init__(d_model)
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        if self.linear.weight.detach().abs().max() > 0.5 and (
            not self.path or Path(self.path).exists()
        ):
            raise RuntimeError("the weights are too large")
        return super().forward(x)


class LosesGpu(Plain):
    """Raises what PyTorch does after an index out of range on a GPU."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: ARG002
        raise RuntimeError("CUDA error: device-side assert triggered")


class Refusing(Plain):
    """Its author's errors are `UserError`s."""

    def forward(self, x: Tensor) -> Tensor:
        raise UserError(f"length {x.shape[1]}: expected a multiple of 5")


class Diverging(Plain):
    """Gives no numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.nan
