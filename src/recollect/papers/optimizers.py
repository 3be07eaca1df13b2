"""Learning-rate windows of attention, Hyena, Mamba and DeltaNet under five optimisers."""

from __future__ import annotations

from recollect.mixers.catalogue import mixer
from recollect.papers.laptop import ONE_LAYER, SEEDS, WINDOW_TRAIN, WINDOWS
from recollect.papers.scale import is_paper
from recollect.studies.grid import models_grid
from recollect.studies.shipped import register_study
from recollect.studies.study import Study
from recollect.studies.variant import Variant

LION_RATES = WINDOWS.replace(low=1e-5, high=1e-2)
"""Ten times lower than AdamW's."""
SGD_RATES = WINDOWS.replace(low=1e-2, high=1e1)
"""A hundred times higher."""


@register_study("optimizers")
def optimizers(scale: str) -> Study:
    """One layer on 16 tokens with 4 pairs under five optimisers.

    The trials with AdamW are shared with the laptop's `revisiting-figure1` and
    `revisiting-figure7`. Each optimiser is searched around its own rates; a search continues beyond
    its range while rates work there. In the middle of each range, weight decay shrinks weights by
    the same 3e-4 per step. So the decay is ten times higher where rates are ten times lower, and a
    thousand times lower for SGD, whose momentum adds up ten steps. Schedule-free averages weights
    in place of the cosine schedule.
    """
    is_paper("optimizers", scale, published=False)
    return Study(
        "optimizers",
        title="Learning-rate windows under five optimisers",
        tasks=[ONE_LAYER],
        models=models_grid(
            [mixer("attention", qkv_conv=3), "hyena", "mamba", "delta-net"],
            d_model=[64],
            n_layers=[1],
        ),
        train=WINDOW_TRAIN,
        search=WINDOWS,
        variants=[
            Variant(train={"optimizer": "adamw"}),
            Variant(train={"optimizer": "muon"}),
            Variant(train={"optimizer": "schedule-free", "schedule": "constant"}),
            Variant(train={"optimizer": "lion", "weight_decay": 1.0}, search=LION_RATES),
            Variant(train={"optimizer": "sgd", "weight_decay": 1e-4}, search=SGD_RATES),
        ],
        seeds=SEEDS,
    )
