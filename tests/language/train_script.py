"""Trains a tiny language model in a process of its own: train_script.py TEXT FOLDER [PAUSE].

After every step it waits PAUSE seconds, so that it can be killed in between, and is saved.
"""

import sys
import time
from pathlib import Path

from tiny_training import trial

import recollect.training.trial
from recollect.language.train import Watch, train_language_model


def main(text: str, folder: str, pause: str = "0") -> None:
    recollect.training.trial.CHECKPOINT_SECONDS = 0.0
    watch = Watch(on_step=lambda *_: time.sleep(float(pause)))
    train_language_model(trial(text), Path(folder), rows=3, device="cpu", watch=watch)


if __name__ == "__main__":
    main(*sys.argv[1:])
