"""Full grids of rates, on which searches are replayed (`search_on_grids.py`).

    recollect run benchmarks/grids.py:zoo_grid --store out/grids.db
    recollect run benchmarks/grids.py:late_grid --store out/grids.db
    python benchmarks/search_on_grids.py out/grids.db zoo-grid
    python benchmarks/search_on_grids.py out/grids.db late-grid

Every rate runs on every seed to its end: on those that choose, and on those that report.
"""

from __future__ import annotations

import recollect as rc
from recollect.papers.zoo import zoo
from recollect.studies.rate_range import SEARCH_SEEDS

RATES = (1e-4, 3.16e-4, 1e-3, 3.16e-3, 1e-2, 3.16e-2, 1e-1)
REPORTING = (42, 123, 777, 2024, 31337)
LATE = ("base-conv", "h3", "hyena", "mamba", "rwkv4", "s6")
"""Mixers that leave their plateau late, or on some seeds alone."""


def zoo_grid() -> rc.Study:
    """All of the zoo at three eighths of its budget, with one seed that reports."""
    return _grid("zoo-grid", steps=1500, seeds=(*SEARCH_SEEDS[:2], *REPORTING[:1]))


def late_grid() -> rc.Study:
    """The late bloomers at three quarters of the zoo's budget."""
    study = _grid("late-grid", steps=3000, seeds=(*SEARCH_SEEDS[:2], *REPORTING))
    models = [model for model in study.models if model.label in LATE]
    late: rc.Study = study.replace(models=models)
    return late


def _grid(name: str, *, steps: int, seeds: tuple[int, ...]) -> rc.Study:
    study = zoo("laptop")
    train = study.train.replace(steps=steps, eval_every=50)
    found: rc.Study = study.replace(
        name=name, title="", train=train, search=rc.FixedGrid(rates=RATES), seeds=seeds
    )
    return found
