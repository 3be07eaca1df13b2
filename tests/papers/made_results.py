"""Results of a reproduction that nobody had to run or to search for: every rate of the full range
on every seed ends as a made-up landscape says, on as many seeds as a verdict may take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any

import pandas as pd

from recollect.papers.cell_results import CellResults
from recollect.papers.claims import Finding
from recollect.papers.deciding import deciding, with_all_rates
from recollect.papers.reproduction import REPRODUCTIONS
from recollect.papers.results import PaperResults
from recollect.studies.cell import Cell
from recollect.studies.search import FixedGrid, LearningRateSearch
from recollect.studies.study import Study

Landscape = Callable[[Mapping[str, Any], float], float]
"""Of the settings of a cell (`papers.selectors.settings`), and a rate or a share of the budget."""
WINDOW_RATES = tuple(10 ** (i / 4) for i in range(-20, 1))
"""Wide and fine enough for every window to have its edges."""


def found(name: str, accuracy: Landscape, loss: Landscape) -> dict[str, Finding]:
    """What is found of each claim."""
    of_all = results(name, accuracy, loss)
    return {claim.name: claim.finding(of_all) for claim in REPRODUCTIONS[name].claims}


def results(name: str, accuracy: Landscape, loss: Landscape) -> PaperResults:
    """The results of a reproduction."""
    entry = REPRODUCTIONS[name]
    losses = loss if entry.figure == "dynamics" else None
    cells: list[CellResults] = []
    for study in entry.studies("laptop"):
        more = deciding(study)
        grid = with_all_rates(more).search.rates
        cells += [_results(study, cell, grid, accuracy, losses) for cell in more.cells()]
    return PaperResults(tuple(cells))


def _results(
    study: Study, cell: Cell, grid: Any, accuracy: Landscape, loss: Landscape | None
) -> CellResults:
    settings, search = CellResults(cell, study.name).settings, study.search
    tried = search.rates if isinstance(search, FixedGrid) else grid
    chosen = max(tried, key=lambda rate: (round(accuracy(settings, rate), 6), -abs(rate - 1e-2)))
    if isinstance(search, LearningRateSearch):
        tried = WINDOW_RATES
        chosen = 1e-2
    elif not isinstance(search, FixedGrid):
        tried = (chosen,)
    trials = _trials(settings, tried, cell.seeds, accuracy, chosen)
    row = {
        "finished": True,
        "failed": 0,
        "learnt": max(accuracy(settings, rate) for rate in (*grid, *tried)) > 0.3,
        "learnt_searching": 0,
        "searching_seeds": 2,
        "lowest_rate": grid[0],
        "highest_rate": grid[-1],
        "budget": cell.steps,
        "choice_merit": fmean(trials.loc[trials["chosen"], "test_accuracy"]),
        "parameters": cell.template["task"].get("vocab_size", 29) * cell.d_model
        + 12 * cell.d_model**2 * cell.n_layers,
    }
    history = pd.DataFrame() if loss is None else _history(settings, cell, loss)
    further = _trials(settings, grid, cell.seeds, accuracy, chosen)
    return CellResults(cell, study.name, row, trials, history, len(study.seeds), further)


def _trials(
    settings: Mapping[str, Any], rates: Any, seeds: Any, accuracy: Landscape, chosen: float
) -> pd.DataFrame:
    """Seeds differ a little."""
    rows = []
    for rate in rates:
        for seed in seeds:
            value = max(0.0, min(1.0, accuracy(settings, rate) + 0.004 * (seed % 3 - 1)))
            rows.append(
                {
                    "learning_rate": rate,
                    "seed": seed,
                    "chosen": rate == chosen,
                    "searching": False,
                    "status": "complete",
                    "seconds": 1.5,
                    "valid_accuracy": value,
                    "valid_example_accuracy": value**2,
                    "test_accuracy": value,
                    "test_example_accuracy": value**2,
                }
            )
    return pd.DataFrame(rows)


def _history(settings: Mapping[str, Any], cell: Cell, loss: Landscape) -> pd.DataFrame:
    every = int(cell.template["train"]["eval_every"])
    return pd.DataFrame(
        {
            "seed": seed,
            "step": step,
            "chosen": True,
            "valid_loss": loss(settings, step / cell.steps),
        }
        for seed in cell.seeds
        for step in range(every, cell.steps + 1, every)
    )
