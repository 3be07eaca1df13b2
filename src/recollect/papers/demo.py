"""The first result: three architectures at two widths, tuned, in two minutes on two cores."""

from __future__ import annotations

from recollect.mixers.catalogue import mixer
from recollect.papers.scale import is_paper
from recollect.studies.grid import models_grid
from recollect.studies.search import LearningRateSearch
from recollect.studies.shipped import register_study
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig


@register_study("demo")
def demo(scale: str) -> Study:
    """One layer of attention, Hyena or Mamba on a small MQAR.

    Hyena and Mamba have a short convolution of their own, so attention is given one too.
    """
    is_paper("demo", scale, published=False)
    return Study(
        "demo",
        title="How much one layer of three architectures recalls",
        tasks=[MQAR(seq_len=12, num_kv_pairs=3, vocab_size=256)],
        models=models_grid(
            [mixer("attention", qkv_conv=3), "hyena", "mamba"], d_model=[16, 32], n_layers=[1]
        ),
        train=TrainConfig(steps=400, batch_size=64, eval_every=50, valid_examples=500),
        search=LearningRateSearch(low=3e-3, high=3e-2, refine=0),
        seeds=(42, 123),
    )
