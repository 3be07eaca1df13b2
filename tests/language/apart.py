"""Trains a tiny language model; called in a process of its own."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from tiny_training import trial

import recollect.training.trial
from recollect.language.train import Watch, train_language_model


def train(text: Path, folder: Path, pause: float, settings: Mapping[str, str]) -> None:
    """Train with these variables in the environment.

    After every step it waits for `pause` seconds, so that it can be killed in between, and is
    saved.
    """
    os.environ.update(settings)
    recollect.training.trial.CHECKPOINT_SECONDS = 0.0
    watch = Watch(on_step=lambda *_: time.sleep(pause))
    train_language_model(trial(text), folder, rows=3, device="cpu", watch=watch)
