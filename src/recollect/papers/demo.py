"""The first result: three architectures at two widths, tuned, in a few minutes on two cores."""

from __future__ import annotations

from recollect.papers.scale import is_paper
from recollect.studies.search import LearningRateSearch
from recollect.studies.study import Study, models_grid, register_study
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig


@register_study("demo")
def demo(scale: str) -> Study:
    """Attention, Hyena and Mamba on a small MQAR."""
    is_paper("demo", scale, published=False)
    return Study(
        "demo",
        title="How much three architectures recall at two widths",
        tasks=[MQAR(seq_len=32, num_kv_pairs=4, vocab_size=1024)],
        models=models_grid(["attention", "hyena", "mamba"], d_model=[32, 64]),
        train=TrainConfig(steps=600, batch_size=64, eval_every=50),
        search=LearningRateSearch(low=1e-3, high=3e-2),
        seeds=(42, 123),
    )
