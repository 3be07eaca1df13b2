"""Cells with made-up results, without a store: what parts of claims are judged on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from recollect.models.config import ModelConfig
from recollect.papers.cell_results import CellResults
from recollect.papers.parts import Part
from recollect.papers.results import PaperResults
from recollect.papers.selectors import MIXER
from recollect.studies.search import BestRateSearch, FixedGrid
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig

TASK = MQAR(seq_len=16, num_kv_pairs=4, vocab_size=64)
SEEDS = tuple(range(1, 11))
FULL_RANGE = (1e-4, 1e-1)
ALL_RATES = BestRateSearch().coarse


def made(
    mixer: Any = "mamba",
    accuracies: Sequence[float] = (1.0,) * 5,
    *,
    d_model: int = 16,
    n_layers: int = 1,
    task: MQAR = TASK,
    steps: int = 100,
    batch_size: int = 64,
    rates: Mapping[float, Sequence[float]] | None = None,
    tried: Mapping[float, Sequence[float]] | None = None,
    choices: int = 1,
    history: pd.DataFrame | None = None,
    **row: Any,
) -> CellResults:
    """A finished cell.

    Args:
        mixer: of its model.
        accuracies: of each seed at the chosen rate, 1e-2.
        d_model: of its model.
        n_layers: likewise.
        task: what it was trained on.
        steps: its budget.
        batch_size: with which it was trained.
        rates: the accuracies at other rates of its search.
        tried: the accuracies at rates that were added to decide a claim.
        choices: how many rates competed on the seeds that are reported.
        history: as `history_frame` has it.
        row: columns of `cells_frame` that matter.
    """
    seeds = SEEDS[: len(accuracies)]
    study = Study(
        "made",
        tasks=[task],
        models=[ModelConfig(mixer=mixer, d_model=d_model, n_layers=n_layers)],
        train=TrainConfig(steps=steps, batch_size=batch_size),
        search=FixedGrid(rates=[1e-2 * 2**i for i in range(choices)]),
        seeds=seeds,
    )
    (cell,) = study.cells()
    trials = _trials(seeds, {1e-2: accuracies, **(rates or {})})
    known = {
        "finished": True,
        "failed": 0,
        "learnt": True,
        "learnt_searching": 0,
        "searching_seeds": 2,
        "lowest_rate": FULL_RANGE[0],
        "highest_rate": FULL_RANGE[1],
        "budget": steps,
        "choice_merit": sum(accuracies) / len(accuracies),
        "parameters": 10_000 * n_layers,
    }
    course = pd.DataFrame() if history is None else history
    further = _trials(seeds, tried or {})
    return CellResults(cell, "made", known | row, trials, course, min(5, len(seeds)), further)


def failed(mixer: Any, accuracies: Sequence[float], **options: Any) -> CellResults:
    """A cell that does no better at any rate of the full range."""
    return made(mixer, accuracies, tried=dict.fromkeys(ALL_RATES, accuracies), **options)


def _trials(seeds: Sequence[int], by_rate: Mapping[float, Sequence[float]]) -> pd.DataFrame:
    columns = ["valid_accuracy", "test_accuracy", "test_example_accuracy"]
    rows = [
        {
            "learning_rate": rate,
            "seed": seed,
            "chosen": rate == 1e-2,
            "searching": False,
            "status": "complete",
            "seconds": 60.0,
            **dict.fromkeys(columns, accuracy),
        }
        for rate, of_rate in by_rate.items()
        for seed, accuracy in zip(seeds, of_rate, strict=False)
    ]
    of_none = ["learning_rate", "seed", "chosen", "searching", "status", "seconds", *columns]
    return pd.DataFrame(rows, columns=of_none)


def results(*cells: CellResults) -> PaperResults:
    """All of them."""
    return PaperResults(cells)


MAMBA, HYENA, ATTENTION = ({MIXER: name} for name in ("mamba", "hyena", "attention"))
SOLVER = made("attention", [0.99] * 5)
"""Another model that solves the task in the same budget."""


def judged(part: Part, *cells: CellResults, level: float = 0.05, converse: float = 0.05) -> Any:
    """What is found of a part."""
    return part.judge(results(*cells), level, converse)


def state(part: Part, *cells: CellResults, **levels: float) -> str:
    """What is established of it."""
    return judged(part, *cells, **levels).state
