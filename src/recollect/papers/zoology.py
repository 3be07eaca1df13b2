"""Zoology (Arora, Eyuboglu et al., 2023, arXiv 2312.04927).

Where the paper's appendix and its public code differ, the code is followed: two layers of mixers
without MLP, batches of 512 to 128, no warm-up, a cosine that moves once an epoch.
"""

from __future__ import annotations

import math

from recollect.mixers.catalogue import mixer
from recollect.papers.scale import is_paper
from recollect.studies.search import FixedGrid, LearningRateSearch
from recollect.studies.study import Study, models_grid, register_study
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig

EPOCHS = 64
TRAIN_EXAMPLES = 100_000
BATCH_SIZES = {64: 512, 128: 512, 256: 256, 512: 128}
"""By sequence length."""


@register_study("zoology-figure2")
def zoology_figure2(scale: str) -> Study:
    """Accuracy over width at growing lengths: attention solves all, convolutions need width."""
    if is_paper("zoology-figure2", scale):
        return _figure2_paper()
    return Study(
        "zoology-figure2",
        title="Recall over width at growing lengths",
        tasks=[MQAR(seq_len=64, num_kv_pairs=4), MQAR(seq_len=128, num_kv_pairs=8)],
        models=(
            # rotated: with learned positions attention often spends this budget on its plateau
            *models_grid(["attention"], d_model=[64, 128], positions="rope"),
            *models_grid(["base-conv", "hyena", "mamba"], d_model=[64, 128]),
        ),
        # no warm-up, as published; at (64, 4) and d_model 64 one of 10 % kept rotated attention on
        # its plateau for all steps, at every rate of the coarse grid
        train=TrainConfig(steps=2000, batch_size=64, warmup=0.0, eval_every=100),
        search=LearningRateSearch(low=1e-3, high=1e-2),
        seeds=(42, 123, 777),
    )


def _figure2_paper() -> Study:
    """The published grid, but that rates are chosen on validation data of their own."""
    pairs = {64: 4, 128: 8, 256: 16, 512: 64}
    tasks = {
        length: MQAR(seq_len=length, num_kv_pairs=count, slot_order="drawn")
        for length, count in pairs.items()
    }
    return Study(
        "zoology-figure2-paper",
        title="Zoology, figure 2: recall over width at growing lengths",
        tasks=list(tasks.values()),
        models=models_grid(
            [
                mixer("attention", dropout=0.1),
                "based",
                "base-conv",
                mixer("h3", d_state=None, head_dim=2),
                "hyena",
                "mamba",
                "rwkv4",
            ],
            d_model=[64, 128, 256, 512],
            dropout=0.1,
        ),
        train=TrainConfig(
            warmup=0.0,
            schedule_unit="epoch",
            train_examples=TRAIN_EXAMPLES,
            test_examples=3000,
            valid_examples=3000,
            stop_accuracy=0.99,
        ),
        train_overrides={
            tasks[length].label: _epochs_of(batch_size)
            for length, batch_size in BATCH_SIZES.items()
        },
        search=FixedGrid(rates=(1e-4, 4.64e-4, 2.15e-3, 1e-2)),
        seeds=(42,),
    )


def _epochs_of(batch_size: int) -> dict[str, int]:
    """Settings that follow from the batch size: the budget, and a validation every epoch."""
    steps_per_epoch = math.ceil(TRAIN_EXAMPLES / batch_size)
    return {
        "batch_size": batch_size,
        "steps": EPOCHS * steps_per_epoch,
        "eval_every": steps_per_epoch,
    }
