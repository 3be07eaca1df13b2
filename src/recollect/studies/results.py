"""Tables of a study, from its store alone.

Every table tells what the study's own searches looked at, and leaves out what other studies may
have stored of the same cells. A mixer of which it has several versions is told apart by these.
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
from recollect.studies.store import Store
from recollect.studies.stored_trial import last_result
from recollect.studies.versions import tell_versions_apart
from recollect.studies.widths import plans
from recollect.tasks.metric import BUILT_IN

if TYPE_CHECKING:
    from recollect.studies.study import Study

FAILURE_COLUMNS = ("message", "traceback", "device")
"""What is known of a trial that failed."""

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
"""An open store, or the file of one."""


@contextmanager
def reading(store: AnyStore) -> Iterator[Store]:
    """An open store; that of a file is closed afterwards.

    Raises:
        UserError: for what is neither, and if there is no such file.
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
    """What a study consisted of at some moment, whatever the store lists later.

    Attributes:
        name: of the study.
        listed: its cells.
    """

    name: str
    listed: tuple[Cell, ...]

    def cells(self) -> tuple[Cell, ...]:
        """As `Study.cells`."""
        return self.listed


def cells_frame(store: AnyStore, study: str | Study | Listed) -> pd.DataFrame:
    """One row for each cell of a study.

        rc.cells_frame("recollect.db", "mine")

    After `CELL_COLUMNS`:

    - `done`: it needs no more trials; `finished`: and none has failed;
    - what is guessed: `chance`, its accuracy among what was read, and `marginal_loss`, that of the
      best answer that reads nothing, in nats;
    - the chosen `learning_rate`; `at_edge`: whether the lowest or the highest rate tried is as good
      as the best, and one beyond could be better;
    - `window`, the decades of working rates: of the run of rates around the chosen one that reach
      90 % of its mean on the study's seeds; as text, for instance `>=1.5`; its width and edges as
      numbers, and whether it may go on beyond them: `window_decades`, `window_low`, `window_high`,
      `window_low_open`, `window_high_open`;
    - how it was chosen: `choice_merit`, the mean merit that the choice went by; `choices`, how many
      rates competed on the seeds that are reported: 1 where the search chose on seeds of its own;
    - `learnt`: whether a trial of the study's seeds at the chosen rate has left the initial plateau
      by its end; on how many of the `searching_seeds`, which chose the rate, a trial at any rate
      has: `learnt_searching`; `lowest_rate` and `highest_rate` that were trained; `budget`, the
      steps of a trial;
    - at the chosen rate, over the study's seeds: `test_loss`, in nats; `test_accuracy` with
      `test_accuracy_min` and `_max`,
      `test_example_accuracy`, `valid_accuracy`, `test_NAME` of each further metric with
      `test_NAME_min` and `_max`,
      `test_accuracy[label]` of each further test task, the number of `seeds`, and the mean `steps`
      to the end;
    - `parameters` of the model;
    - of the whole search: `trials`, how many of these `failed` and how many `diverged`,
      `search_steps`, and `seconds` of training.

    What is not known yet or not defined is missing. A trial that diverged has accuracy 0; where
    every rate that was trained on every seed diverged, no rate is chosen. A rate some trial of
    which failed is unknown: it is not chosen, and does not bound the window.

    Args:
        store: an open store, or the path of its file.
        study: the name of a study, for the cells that the store lists under it; or a study, or a
            `Listed`, for its own cells, whatever the store lists under its name.

    Returns:
        The frame, in the order of the study.

    Raises:
        UserError: if the store has no such study.
    """
    with reading(store) as opened:
        rows = [cell.row() for cell in _cells(opened, study)]
    return pd.DataFrame(rows).astype(WHERE_KNOWN | {"marginal_loss": float})


def further_metrics(cells: pd.DataFrame) -> list[str]:
    """The names of the metrics besides those of every trial in `cells_frame`."""
    names = (name.removeprefix("test_") for name in map(str, cells.columns) if name[:5] == "test_")
    return [name for name in names if name not in BUILT_IN and f"test_{name}_min" in cells]


def trials_frame(store: AnyStore, study: str | Study | Listed) -> pd.DataFrame:
    """One row for each trial that a study has looked at: `TRIAL_COLUMNS`, `OUTCOME_COLUMNS`, and
    `test_NAME` of each further metric. Losses are in nats; `valid_loss` is missing where a trial
    diverged or failed. `failure` says why it failed.

    Args:
        store: as in `cells_frame`.
        study: as in `cells_frame`.

    Returns:
        The frame, in the order of the study.

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
    """One row for each of these trials that failed: `TRIAL_COLUMNS` and `FAILURE_COLUMNS`.

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
    """One row for each cell with results that a study had and has no longer: `CELL_COLUMNS`, how
    many `trials` are stored, when the `last_result` was, and the `difference` to what the study has
    now. Versions of a mixer are told apart, from what the study has now too.

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
    """One row for each validation of these trials: `TRIAL_COLUMNS`, `RECORD_COLUMNS`, and
    `valid_NAME` of each further metric.

    Losses are in nats; `train_loss` is the mean since the validation before.

    Args:
        store: as in `cells_frame`.
        study: as in `cells_frame`.

    Returns:
        The frame, in the order of the study, and by step within a trial.

    Raises:
        UserError: if the store has no such study.
    """
    with reading(store) as opened:
        rows = [
            record | cell.names(trial)  # whose learning rate is the peak
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
    """One row for each metric that was measured of these trials: `TRIAL_COLUMNS` and
    `MEASURE_COLUMNS`; `task` is the one whose examples were measured.

    The `split` is "train" (of the mean loss since the validation before, the learning rate and the
    seconds of training), "valid" or "test"; `error` is the standard error over examples.

    Args:
        store: as in `cells_frame`.
        study: as in `cells_frame`.

    Returns:
        The frame, in the order of the study, and by step within a trial.

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
    """Those trials of the study's seeds at the chosen rates that were observed in training:
    `TRIAL_COLUMNS`.

    Raises:
        UserError: if the store has no such study.
    """
    trials = trials_frame(store, study)
    there = trials["key"].map(lambda key: store.observations_path(key).exists())
    reported = trials["chosen"].astype(bool) & ~trials["searching"].astype(bool)
    return trials.loc[reported & there.astype(bool), list(TRIAL_COLUMNS)]


def _cells(store: Store, study: str | Study | Listed) -> list[CellRows]:
    """In the order of the study."""
    name, listed = (
        (study, store.cells(study)) if isinstance(study, str) else (study.name, study.cells())
    )
    cells = tell_versions_apart(listed)
    stored = {cell.label: store.trials(cell) for cell in cells}
    found = plans(cells, stored)
    return [CellRows(name, cell, found[cell.label], stored[cell.label]) for cell in cells]
