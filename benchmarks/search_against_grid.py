"""The learning-rate search against the whole grid: the rate it finds, and the steps it takes.

    python benchmarks/search_against_grid.py [--store FILE]

Every rate that the search might ask for is trained on every seed to its end, and stored. The search
then asks for what it needs and finds it there, so that both are judged on the same trials.
"""

from __future__ import annotations

import argparse
import math
from itertools import pairwise

import pandas as pd

import recollect as rc
from recollect.reports.tables import in_markdown

SEARCH = rc.LearningRateSearch(low=3e-3, high=3e-2)
STUDY = rc.Study(
    "grid",
    tasks=[rc.MQAR(seq_len=16, num_kv_pairs=4, vocab_size=128)],
    models=rc.models_grid(
        [rc.mixer("attention", qkv_conv=3), "hyena", "mamba"], d_model=[32, 64], n_layers=[1]
    ),
    train=rc.TrainConfig(steps=800, batch_size=64, eval_every=50),
    search=SEARCH,
    seeds=(42, 123, 777),
)
CELL = ["mixer", "d_model"]


def whole_grid(search: rc.LearningRateSearch) -> rc.FixedGrid:
    """The coarse rates to a decade beyond both ends, and the middles between them."""
    coarse = search.replace(low=search.low / 10, high=search.high * 10).coarse
    middles = [float(f"{math.sqrt(low * high):.3g}") for low, high in pairwise(coarse)]
    return rc.FixedGrid(rates=(*coarse, *middles))


def main() -> None:
    """Print a row for each cell, and the ratio of all steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="out/search.db")
    store = parser.parse_args().store
    grid = rc.run(STUDY.replace(search=whole_grid(SEARCH)), store=store).set_index(CELL)
    for name, search in {
        "search with windows": SEARCH,
        "search for the best rate": SEARCH.replace(window=False),
    }.items():
        found = rc.run(STUDY.replace(name=name, search=search), store=store).set_index(CELL)
        print(f"\n{name}\n\n{in_markdown(*_table(grid, found))}")
        ratio = grid["search_steps"].sum() / found["search_steps"].sum()
        worst = (grid["test_accuracy"] - found["test_accuracy"]).max()
        print(f"{ratio:.1f} times fewer steps; accuracy lower by at most {worst:.4f}")


def _table(grid: pd.DataFrame, found: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    headings = ["mixer", "d_model", "rate, grid", "rate, search", "accuracy, grid"]
    headings += ["accuracy, search", "steps, grid", "steps, search"]
    rows = [
        [
            mixer,
            str(width),
            f"{whole['learning_rate']:.3g}",
            f"{part['learning_rate']:.3g}",
            f"{whole['test_accuracy']:.3f}",
            f"{part['test_accuracy']:.3f}",
            f"{whole['search_steps']:,.0f}",
            f"{part['search_steps']:,.0f}",
        ]
        for (mixer, width), whole in grid.iterrows()
        for part in [found.loc[(mixer, width)]]
    ]
    return headings, rows


if __name__ == "__main__":
    main()
