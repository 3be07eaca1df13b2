"""Stores of studies that nobody had to run: every trial ends as a made-up landscape says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recollect.papers.cell_results import CellResults
from recollect.papers.deciding import more_runs
from recollect.papers.reproduction import REPRODUCTIONS, Outcome, outcome
from recollect.studies.cell import Cell
from recollect.studies.replay import Request
from recollect.studies.store import Store
from recollect.studies.study import Study
from recollect.studies.widths import narrower, rate_from
from recollect.training.result import Metrics, Record, TrialResult

STUDIED = [name for name in REPRODUCTIONS if REPRODUCTIONS[name].language is None]
"""The reproductions whose results lie in a store."""

Accuracy = Callable[[Mapping[str, Any], float], float]
"""Accuracy at the end, given the settings of a cell (`papers.selectors.settings`) and a rate."""
Loss = Callable[[Mapping[str, Any], float], float]
"""Validation loss, given the settings of a cell and the share of the budget that is spent."""


def filled(name: str, *made: Any, decide: bool = False) -> Outcome:
    """A reproduction at laptop scale, with results as `fill` makes them up; with all that could
    decide what is undecided, if asked for."""
    with TemporaryDirectory() as folder, Store(Path(folder) / "made.db") as store:
        for study in REPRODUCTIONS[name].studies("laptop"):
            fill(store, study, *made)
        found = outcome(REPRODUCTIONS[name], "laptop", store)
        while decide and (asked := list(more_runs(_studies(found), found.findings))):
            for part, whole in asked:
                fill(store, part, *made, whole=whole)
            found = outcome(REPRODUCTIONS[name], "laptop", store)
        return found


def _studies(found: Outcome) -> tuple[Study, ...]:
    return found.reproduction.studies(found.scale)


def fill(
    store: Store,
    study: Study,
    accuracy: Accuracy,
    loss: Loss = lambda _, spent: 1.0 - spent,
    *,
    whole: Study | None = None,
) -> None:
    """Store all that a study, or a part of one, asks for."""
    cells = study.cells()
    store.record_study(study.name, "made", cells, None if whole is None else whole.cells())
    narrow, plans = narrower(cells), {}
    for cell in sorted(cells, key=lambda cell: cell.d_model):
        settings = CellResults(cell, study.name).settings
        before = plans.get(narrow[cell.label].label) if cell.label in narrow else None
        near = rate_from(before, cell.chance)
        while (plan := cell.plan(store.trials(cell), near)).requests:
            for request in plan.requests:
                end = accuracy(settings, request.learning_rate)
                made = _trial(cell, request, end, partial(loss, settings))
                store.save(cell, request.learning_rate, request.seed, made)
        plans[cell.label] = plan


def _trial(
    cell: Cell, request: Request, accuracy: float, loss: Callable[[float], float]
) -> TrialResult:
    """Seeds differ a little."""
    accuracy = max(0.0, min(1.0, accuracy + 0.004 * (request.seed % 3 - 1)))
    until, every = request.until or cell.steps, int(cell.template["train"]["eval_every"])
    records = [
        Record(
            step,
            request.learning_rate,
            loss(step / cell.steps),
            Metrics(loss(step / cell.steps), accuracy, accuracy**2),
            0.1,
        )
        for step in range(every, until + 1, every)
    ]
    ended = until == cell.steps
    embedding = cell.template["task"].get("vocab_size", 29) * cell.d_model
    return TrialResult(
        key="",
        status="complete" if ended else "stopped",
        step=until,
        history=tuple(records),
        test={cell.task: Metrics(0.1, accuracy, accuracy**2)} if ended else {},
        parameters=embedding + 12 * cell.d_model**2 * cell.n_layers,
        device="cpu",
        seconds=1.5,
    )
