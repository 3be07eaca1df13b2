"""The data of a study for the page.

Texts are rounded by the same functions as all other tables; the exact numbers beside them serve to
sort and draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recollect.plain import finite
from recollect.reports import tables, trial_tables
from recollect.reports.markup import Rows
from recollect.reports.notes import Remedies, notes
from recollect.reports.page.commands import run_command, show_command
from recollect.reports.page.look import page_look
from recollect.reports.page.summary import summary
from recollect.reports.panels import named
from recollect.reports.rates import over_seeds
from recollect.reports.recipe import common_settings, own_settings
from recollect.reports.study_figures import Drawable, StudyFrames
from recollect.reports.style import looks
from recollect.reports.titles import title
from recollect.reports.unlearnt import unlearnt
from recollect.studies.cell import CELL_NAMES
from recollect.studies.results import Listed, further_metrics
from recollect.studies.store import Store

BY_CELL = ["task", "mixer", "n_layers", "d_model"]
"""The columns that identify a cell, after `named`."""
CELL_VALUES = {
    "layers": "n_layers",
    "d_model": "d_model",
    "attention window": "attention_window",
    "learning rate": "learning_rate",
    "rates tried": "lowest_rate",
    "window (decades)": "window_decades",
    "test accuracy (range over seeds)": "test_accuracy",
    "seeds": "seeds",
    "failed trials": "failed",
    "parameters": "parameters",
    "steps": "steps",
}
"""The column of exact numbers for each heading of `tables.readable`."""
TRIAL_VALUES = {
    "layers": "n_layers",
    "d_model": "d_model",
    "learning rate": "learning_rate",
    "seed": "seed",
    "step": "step",
    "valid accuracy": "valid_accuracy",
    "valid loss": "valid_loss",
    "test accuracy": "test_accuracy",
    "seconds": "seconds",
}
"""The column of exact numbers for each heading of `trial_tables.readable_trials`."""
CURVES = ("train_loss", "valid_loss", "valid_accuracy")
OF_A_CELL = (
    *CELL_NAMES,
    "chance",
    "learning_rate",
    "at_edge",
    "learnt",
    "finished",
    "window",
    "window_low",
    "window_high",
    "seeds",
    "steps",
    "parameters",
)
"""Columns of cells that the page shows beside the metrics."""


def stored_study(
    store: Store, study: str | Listed, remedies: Remedies, *, command: str | None = None
) -> dict[str, Any]:
    """The data of a stored study for the page.

    Args:
        store: the store.
        study: its name, for the cells that the store lists under it; or its cells.
        remedies: the advice in the notes below its table.
        command: as in `study_data`.

    Raises:
        UserError: if the store has no such study.
    """
    found = StudyFrames(store, study)
    lines = notes(store, found.study, found.listed, found.cells, remedies)
    return study_data(found, lines, store.path, command=command)


def study_data(
    found: Drawable, lines: Sequence[str], store: Path, *, command: str | None = None
) -> dict[str, Any]:
    """The data of a study for the page, as plain JSON values.

    Args:
        found: the results of the study.
        lines: the notes below its table (`reports.notes`).
        store: the file of results, as named in commands.
        command: the command that trains the study, for cells that no shipped study has.
    """
    cells, trials = named(found.cells), named(found.trials, found.cells)
    place = {names: i for i, names in enumerate(cells[BY_CELL].itertuples(index=False, name=None))}
    common = common_settings(found.listed)
    rows = _cells(found, cells, common, store, command)
    return finite(
        {
            "name": found.study,
            "summary": summary(found.cells),
            "notes": list(lines),
            "settings": common,
            "show": show_command(found.study, store),
            "mixers": [
                {"label": label, "title": title(label), **page_look(look)}
                for label, look in looks(cells["mixer"]).items()
            ],
            "metrics": ["accuracy", "loss", *further_metrics(found.cells)],
            "cells": rows,
            "cellTable": _cell_table(found.cells),
            "trialTable": _trial_table(found.trials),
            "trialCells": _places(trials, place),
            "reported": (found.trials["chosen"] & ~found.trials["searching"]).astype(bool).tolist(),
            "rates": _rates(cells, trials, place),
            "curves": _curves(named(found.history, found.cells), place),
        }
    )


def _cells(
    found: Drawable,
    cells: pd.DataFrame,
    common: Mapping[str, Any],
    store: Path,
    of_study: str | None,
) -> list[dict[str, Any]]:
    """Each cell with its numbers, its own settings and the command that trains it."""
    metrics = [
        name for name in cells.columns if name.startswith("test_") and cells[name].notna().any()
    ]
    records = tables.records(cells[[*OF_A_CELL, *metrics]])
    stuck = unlearnt(found.cells)
    for record, cell, is_stuck in zip(records, found.listed, stuck, strict=True):
        command, complete = run_command(found.study, cell, store)
        if not complete and of_study is not None:
            command, complete = of_study, True
        record |= {"stuck": bool(is_stuck), "settings": own_settings(cell, common)}
        record |= {"command": command, "complete": complete}
    return records


def _cell_table(cells: pd.DataFrame) -> dict[str, Any]:
    headings, rows = tables.readable(cells.assign(mixer=cells["mixer"].map(title)))
    values = CELL_VALUES | {
        heading: heading.replace(" (range over seeds)", "").replace("test ", "test_", 1)
        for heading in headings
        if heading.startswith("test ") and heading not in CELL_VALUES
    }
    return _table(headings, rows, cells, values)


def _trial_table(trials: pd.DataFrame) -> dict[str, Any]:
    headings, rows = trial_tables.readable_trials(trials)
    return _table(headings, rows, trials, TRIAL_VALUES)


def _table(
    headings: Sequence[str], rows: Rows, frame: pd.DataFrame, values: Mapping[str, str]
) -> dict[str, Any]:
    """A table with the exact numbers of each column; None for columns of words."""
    return {
        "headings": list(headings),
        "rows": rows,
        "values": [
            _numbers(frame[values[heading]]) if heading in values else None for heading in headings
        ],
    }


def _numbers(column: pd.Series) -> list[Any]:
    numbers = column.astype(object)
    return list(numbers.where(column.notna(), None))


def _places(frame: pd.DataFrame, place: Mapping[Any, int]) -> list[int]:
    """The index of each row's cell."""
    return [place[names] for names in frame[BY_CELL].itertuples(index=False, name=None)]


def _rates(
    cells: pd.DataFrame, trials: pd.DataFrame, place: Mapping[Any, int]
) -> list[dict[str, Any]]:
    """Validation accuracy at each rate of each cell, with the kind of evidence."""
    if trials.empty:
        return []
    rates = over_seeds(trials)
    return [
        {
            "cell": cell,
            "rate": point.learning_rate,
            "mean": point.valid_accuracy,
            "low": point.valid_accuracy_min,
            "high": point.valid_accuracy_max,
            "kind": _kind(point),
            "chosen": bool(point.learning_rate == cells["learning_rate"].iloc[cell]),
        }
        for point, cell in zip(rates.itertuples(), _places(rates, place), strict=True)
    ]


def _kind(point: Any) -> str:
    """How complete the evidence behind a mean over seeds is."""
    if point.failed:
        return "trials failed"
    if not point.reported:
        return "search seeds only"
    return "all seeds ended" if point.complete else "not all seeds ended"


def _curves(history: pd.DataFrame, place: Mapping[Any, int]) -> list[dict[str, Any]]:
    """The training curves of each reported trial, to six significant digits."""
    history = history[history["chosen"].astype(bool) & ~history["searching"].astype(bool)]
    by_trial: Any = history.groupby("key", sort=False)
    return [
        {
            "cell": _places(records.head(1), place)[0],
            "seed": int(records["seed"].iloc[0]),
            "key": key,
            "step": records["step"].tolist(),
            **{name: [float(f"{value:.6g}") for value in records[name]] for name in CURVES},
        }
        for key, records in by_trial
    ]
