"""Tables of a study, from its store alone.

Tables contain the trials that the study's own searches used, not those that only other studies
used. Several versions of a mixer get different labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from recollect.errors import UserError
from recollect.studies.cell import Cell
from recollect.studies.cell_rows import (
    CELL_COLUMNS,
    OUTCOME_COLUMNS,
    TRIAL_COLUMNS,
    WHERE_KNOWN,
    CellRows,
    names_of,
)
from recollect.studies.listing import difference
from recollect.studies.named import name_of
from recollect.studies.store import Store
from recollect.studies.stored_trial import as_used, last_result
from recollect.studies.versions import tell_versions_apart
from recollect.studies.widths import plans
from recollect.tasks.metric import BUILT_IN

if TYPE_CHECKING:
    from recollect.studies.study import Study

FAILURE_COLUMNS = ("message", "traceback", "device")
"""Columns of a failed trial."""

RECORD_COLUMNS = (
    "step",
    "train_loss",
    "valid_loss",
    "valid_accuracy",
    "valid_example_accuracy",
    "seconds",
)
MEASURE_COLUMNS = ("step", "split", "task", "metric", "value", "error")


AnyStore = Store | str | Path
"""An open store, or the path of one."""


@contextmanager
def reading(store: AnyStore) -> Iterator[Store]:
    """Open a store given by its path and close it afterwards; an open store is used as it is.

    Raises:
        UserError: for anything else, and if there is no such file.
    """
    if isinstance(store, Store):
        yield store
        return
    if not isinstance(store, str | Path):
        raise UserError(f"{store!r}: expected an rc.Store, or the path of one")
    with Store(store, must_exist=True) as opened:
        yield opened


@dataclass(frozen=True)
class Listed:
    """The cells of a study at some moment, whatever the store lists later.

    Attributes:
        name: name of the study.
        listed: its cells.
    """

    name: str
    listed: tuple[Cell, ...]

    def cells(self) -> tuple[Cell, ...]:
        """As `Study.cells`."""
        return self.listed


def cells_frame(store: AnyStore, study: str | Study | Listed) -> pd.DataFrame:
    """Table of a study with one row per cell.

        rc.cells_frame("recollect.db", "mine")

    Columns after `CELL_COLUMNS`:

    - `done`: it needs no more trials; `finished`: it is done and no trial has failed;
    - `chance`: chance level of the accuracy; `marginal_loss`: loss of the best prediction without
      reading the input, in nats;
    - `learning_rate`: the chosen rate; `at_edge`: the model has learnt, and the lowest or highest
      tried rate ties with the best, so a rate beyond may be better;
    - `window`: width of the window of working rates in decades, as text such as `>=1.5`. The window
      is the range of rates around the chosen one that reach 90 % of its mean on the study's seeds.
      `window_decades`, `window_low`, `window_high`: width and edges as numbers; `window_low_open`,
      `window_high_open`: whether the window may extend beyond an edge;
    - `choice_merit`: mean score by which the rate was chosen; `choices`: number of rates that
      competed on the reported seeds, 1 if the search had its own seeds;
    - `learnt`: a trial at the chosen rate on the study's seeds left the initial plateau;
      `learnt_searching`: number of search seeds, out of `searching_seeds`, on which a trial at any
      rate did; `lowest_rate`, `highest_rate`: range of the trained rates, for a model that
      has not learnt of those trained to their end; `budget`: steps of a
      trial;
    - at the chosen rate, over the study's seeds: `test_loss` in nats; `test_accuracy` with
      `test_accuracy_min` and `_max`; `test_example_accuracy`; `valid_accuracy`; `test_NAME` of each
      further metric with `_min` and `_max`; `test_accuracy[label]` of each further test task, with
      `test_accuracy_min[label]` and `test_accuracy_max[label]`; the number of `seeds`; the mean
      number of `steps`;
    - `parameters` of the model;
    - of the whole search: number of `trials`, of `failed` and of `diverged` ones, `search_steps`,
      and `seconds` of training.

    Values that are unknown or undefined are missing. A trial that diverged has accuracy 0. If all
    rates that were trained on every seed diverged, no rate is chosen. A rate with a failed trial is
    unknown: it is not chosen, and bounds the window only if its other seeds show that it fails.

    Args:
        store: an open store or the path of one.
        study: name of a study, for the cells that the store lists under it; or a study or a
            `Listed`, for its own cells, whatever the store lists under its name.

    Returns:
        The table, in the order of the study.

    Raises:
        UserError: if the store has no such study.
    """
    with reading(store) as opened:
        rows = [cell.row() for cell in _cells(opened, study)]
    return pd.DataFrame(rows).astype(WHERE_KNOWN | {"marginal_loss": float})


def further_metrics(cells: pd.DataFrame) -> list[str]:
    """Names of the metrics in `cells_frame` besides those that every trial has."""
    names = (name.removeprefix("test_") for name in map(str, cells.columns) if name[:5] == "test_")
    return [name for name in names if name not in BUILT_IN and f"test_{name}_min" in cells]


def trials_frame(store: AnyStore, study: str | Study | Listed) -> pd.DataFrame:
    """Table of a study with one row per trial that it used.

    Columns: `TRIAL_COLUMNS`, `OUTCOME_COLUMNS`, and `test_NAME` of each further metric. Losses are
    in nats; `valid_loss` is missing if a trial diverged or failed; `failure` is the reason of a
    failure.

    Args:
        store: an open store or the path of one.
        study: as in `cells_frame`.

    Returns:
        The table, in the order of the study.

    Raises:
        UserError: if the store has no such study.
    """
    with reading(store) as opened:
        cells = _cells(opened, study)
    further = dict.fromkeys(name for cell in cells for name in cell.further)
    rows = [
        cell.names(trial) | cell.outcome(trial) | cell.further_outcome(trial)
        for cell in cells
        for trial in cell.trials
    ]
    columns = [*TRIAL_COLUMNS, *OUTCOME_COLUMNS, *(f"test_{name}" for name in further)]
    return pd.DataFrame(rows, columns=columns).astype(WHERE_KNOWN)


def failures_frame(store: Store, study: str) -> pd.DataFrame:
    """Table with one row per failed trial: `TRIAL_COLUMNS` and `FAILURE_COLUMNS`.

    Raises:
        UserError: if the store has no such study.
    """
    rows = [
        cell.names(trial) | vars(trial.failure) | {"device": trial.device}
        for cell in _cells(store, study)
        for trial in cell.trials
        if trial.status == "failed" and trial.failure is not None
    ]
    return pd.DataFrame(rows, columns=[*TRIAL_COLUMNS, *FAILURE_COLUMNS]).astype(WHERE_KNOWN)


def former_frame(store: Store, study: str) -> pd.DataFrame:
    """Table with one row per cell with results that a study no longer has.

    Columns: `CELL_COLUMNS`, the number of stored `trials`, the time of the `last_result`, and the
    `difference` from the study's current cell. Different versions of a mixer have different labels.

    Raises:
        UserError: if the store has no such study.
    """
    former, listed = store.former_cells(study), store.cells(study)
    now = {cell.label: cell for cell in listed}
    rows = [
        names_of(study, marked)
        | {"trials": len(store.trials(cell)), "last_result": last_result(store.rows, cell)}
        | {"difference": difference(cell, now.get(cell.label))}
        for cell, marked in zip(former, tell_versions_apart((*former, *listed)), strict=False)
    ]
    columns = [*CELL_COLUMNS, "trials", "last_result", "difference"]
    return pd.DataFrame(rows, columns=columns).astype(WHERE_KNOWN)


def history_frame(store: AnyStore, study: str | Study | Listed) -> pd.DataFrame:
    """Table of a study with one row per validation of each trial.

    Columns: `TRIAL_COLUMNS`, `RECORD_COLUMNS`, and `valid_NAME` of each further metric. Losses are
    in nats; `train_loss` is the mean since the previous validation.

    Args:
        store: an open store or the path of one.
        study: as in `cells_frame`.

    Returns:
        The table, in the order of the study, and by step within a trial.

    Raises:
        UserError: if the store has no such study.
    """
    with reading(store) as opened:
        rows = [
            record | cell.names(trial)  # the trial's learning rate, the peak, replaces the record's
            for cell in _cells(opened, study)
            for trial in cell.trials
            for record in opened.history(trial.key)
            if record["step"] <= trial.step
        ]
    known = {*TRIAL_COLUMNS, *RECORD_COLUMNS}
    further = dict.fromkeys(name for row in rows for name in row if name not in known)
    columns = [*TRIAL_COLUMNS, *RECORD_COLUMNS, *further]
    return pd.DataFrame(rows, columns=columns).astype(WHERE_KNOWN)


def metrics_frame(store: AnyStore, study: str | Study | Listed) -> pd.DataFrame:
    """Table of a study with one row per measured value of a metric.

    Columns: `TRIAL_COLUMNS` and `MEASURE_COLUMNS`. `task` is the task of the examples. `split` is
    "valid", "test" or "train" (mean loss since the previous validation, learning rate and seconds
    of training), or one of "valid/1" to "valid/16" (losses at the last validation on sixteenths of
    the validation examples, by which ties of losses are judged). `error` is the standard error over
    examples.

    Args:
        store: an open store or the path of one.
        study: as in `cells_frame`.

    Returns:
        The table, in the order of the study, and by step within a trial.

    Raises:
        UserError: if the store has no such study.
    """
    with reading(store) as opened:
        rows = [
            cell.names(trial) | measure
            for cell in _cells(opened, study)
            for trial in cell.trials
            for measure in opened.measures(trial.key)
            if measure["step"] <= trial.step
        ]
    columns = list(dict.fromkeys((*TRIAL_COLUMNS, *MEASURE_COLUMNS)))
    numbers = {"value": float, "error": float}
    return pd.DataFrame(rows, columns=columns).astype(WHERE_KNOWN | numbers)


def observed_trials(store: Store, study: str | Study | Listed) -> pd.DataFrame:
    """Table of the reported trials that were observed in training: `TRIAL_COLUMNS`.

    Raises:
        UserError: if the store has no such study.
    """
    trials = trials_frame(store, study)
    there = trials["key"].map(lambda key: store.observations_path(key).exists())
    reported = trials["chosen"].astype(bool) & ~trials["searching"].astype(bool)
    return trials.loc[reported & there.astype(bool), list(TRIAL_COLUMNS)]


def _cells(store: Store, study: str | Study | Listed) -> list[CellRows]:
    """Rows of the study's cells, in its order."""
    name = name_of(study)
    cells = tell_versions_apart(store.cells(study) if isinstance(study, str) else study.cells())
    stored = {cell.label: store.trials(cell) for cell in cells}
    found = plans(cells, stored)
    used = {
        label: as_used(store.rows, trials, found[label].used) for label, trials in stored.items()
    }
    return [CellRows(name, cell, found[cell.label], used[cell.label]) for cell in cells]
