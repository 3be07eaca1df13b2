"""Where the papers' questions are asked on a laptop: small tasks, short budgets, what they have in
common.

One layer learns short examples of few tokens in some hundred steps. Two layers of attention find
the pairs sooner among many tokens, with queries and keys rotated and no warm-up. A layer is the
mixer alone, which learns in fewer steps than with an MLP. Entries that ask at the same place share
their trials.
"""

from __future__ import annotations

from recollect.models.config import ModelConfig
from recollect.studies.grid import models_grid
from recollect.studies.search import BestRateSearch, LearningRateSearch
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig

SEEDS = (42, 123, 777, 2024, 31337)
"""The fewest on which something can be established at 5 %."""

SHORT = MQAR(seq_len=8, num_kv_pairs=2, vocab_size=32)
ONE_LAYER = MQAR(seq_len=16, num_kv_pairs=4, vocab_size=128)
ONE_LAYER_TRAIN = TrainConfig(
    steps=2500, batch_size=64, eval_every=25, valid_examples=500, stop_accuracy=0.995
)
"""With learned positions Mamba needs 2,000 steps."""
REPEATED_TRAIN = ONE_LAYER_TRAIN.replace(steps=6000, eval_every=100, train_examples=16_000)
"""One layer of Hyena, H3 and RWKV-4 leaves its plateau on few examples that are repeated, and not
on as many new ones."""
WINDOW_TRAIN = ONE_LAYER_TRAIN.replace(steps=800)
"""Many rates are tried; at the best ones all but Hyena need no more."""

TWO_LAYERS = MQAR(seq_len=64, num_kv_pairs=4)
TWO_LAYERS_TRAIN = TrainConfig(
    steps=1000,
    batch_size=64,
    warmup=0.0,
    eval_every=50,
    valid_examples=500,
    stop_accuracy=0.995,
)

CHOOSING = BestRateSearch(low=1e-4, high=1e-1)
"""The best rate alone, from the range over which a failure counts."""
WINDOWS = LearningRateSearch(low=1e-4, high=1e-1)
"""The range of working rates too."""


def rotated_attention(*widths: int, n_layers: tuple[int, ...] = (2,)) -> tuple[ModelConfig, ...]:
    """With learned positions attention often spends the budget of two layers on its plateau."""
    return models_grid(["attention"], d_model=widths, n_layers=n_layers, positions="rope")
