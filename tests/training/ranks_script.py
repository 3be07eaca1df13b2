"""A step in each of the processes of `torchrun`: writes what dropout left of ones to FOLDER."""

import os
import sys
from pathlib import Path

import torch

from recollect.models.config import ModelConfig
from recollect.tasks.mqar import MQAR
from recollect.training.checkpoint import build_model
from recollect.training.config import TrainConfig, TrialConfig
from recollect.training.data import TrainingData
from recollect.training.ranks import joined
from recollect.training.run import Run
from recollect.training.step import training_step
from recollect.training.trial import make_optimizer

CONFIG = TrialConfig(
    task=MQAR(seq_len=16, num_kv_pairs=2, vocab_size=32),
    model=ModelConfig(mixer="attention", d_model=8, n_layers=1, dropout=0.5),
    train=TrainConfig(batch_size=4),
)


def mask() -> torch.Tensor:
    """Where dropout has left the embeddings of the first example, in a step of this process."""
    run = Run(CONFIG, TrainingData(CONFIG.task, CONFIG.train, CONFIG.seeds))
    model = build_model(CONFIG)
    seen = []
    model.dropout.register_forward_hook(lambda _m, _x, y: seen.append(y[0] != 0))
    with joined(torch.device("cpu")) as ranks:
        training_step(run, model, make_optimizer(model, CONFIG.train), ranks=ranks)
    return seen[0]


if __name__ == "__main__":
    rank = os.environ["RANK"]
    torch.save(mask(), Path(sys.argv[1]) / rank)
