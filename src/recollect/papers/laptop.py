"""Shared settings of the laptop's scale: small tasks and short budgets.

One layer learns short examples with few token ids in some hundred steps. Two layers of attention
learn longer examples sooner with rotary positions and no warm-up. Layers have no MLP, since they
then learn in fewer steps. Reproductions with the same settings share trials.
"""

from __future__ import annotations

from recollect.models.config import ModelConfig
from recollect.studies.grid import models_grid
from recollect.studies.search import BestRateSearch, LearningRateSearch
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig

SEEDS = (42, 123, 777, 2024, 31337)
"""Five seeds: the fewest with which a sign test can reach a level of 5 %."""

SHORT = MQAR(seq_len=8, num_kv_pairs=2, vocab_size=32)
ONE_LAYER = MQAR(seq_len=16, num_kv_pairs=4, vocab_size=128)
ONE_LAYER_TRAIN = TrainConfig(
    steps=2500, batch_size=64, eval_every=25, valid_examples=500, stop_accuracy=0.995
)
"""Mamba with learned positions needs 2,000 steps."""
REPEATED_TRAIN = ONE_LAYER_TRAIN.replace(steps=6000, eval_every=100, train_examples=16_000)
"""With few repeated examples, one layer of Hyena, H3 or RWKV-4 leaves its plateau; with new ones in
every step it does not."""
WINDOW_TRAIN = ONE_LAYER_TRAIN.replace(steps=800)
"""Fewer steps, since many rates are tried; at the best rates only Hyena needs more."""

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
"""A search for the best rate, over the range that a failure to learn requires."""
WINDOWS = LearningRateSearch(low=1e-4, high=1e-1)
"""A search for the window of working rates too."""


def rotated_attention(*widths: int, n_layers: tuple[int, ...] = (2,)) -> tuple[ModelConfig, ...]:
    """Attention with RoPE: with learned positions, two layers often stay on the plateau."""
    return models_grid(["attention"], d_model=widths, n_layers=n_layers, positions="rope")
