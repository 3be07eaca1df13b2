"""The readable tables of trials, of failed trials and of cells that a study no longer has."""

from __future__ import annotations

from typing import Any

import pandas as pd

from recollect.reports.markup import Rows
from recollect.reports.tables import UNKNOWN, accuracy, count, rate


def readable_trials(trials: pd.DataFrame) -> tuple[list[str], Rows]:
    """Headings and rows of the table of trials.

    A star marks the chosen rate, and *(search)* a seed that helped to choose it.
    """
    headings = ["task", "mixer", "layers", "d_model", "learning rate", "seed", "status", "step"]
    headings += ["valid accuracy", "valid loss", "test accuracy", "seconds", "key"]
    rows = [_trial_row(trial) for trial in trials.itertuples()]
    return headings, rows


def readable_failures(failures: pd.DataFrame) -> tuple[list[str], Rows]:
    """Headings and rows of the table of failed trials."""
    headings = ["task", "mixer", "layers", "d_model", "learning rate", "seed", "message", "key"]
    return headings, [_failure_row(trial) for trial in failures.itertuples()]


def readable_former(cells: pd.DataFrame) -> tuple[list[str], Rows]:
    """Headings and rows of the table of cells that a study no longer has."""
    headings = ["task", "mixer", "layers", "d_model", "trials", "last result", "difference (now)"]
    return headings, [_former_row(cell) for cell in cells.itertuples()]


def _failure_row(trial: Any) -> list[str]:
    return [
        *_names(trial),
        rate(trial.learning_rate),
        str(trial.seed),
        trial.message,
        trial.key,
    ]


def _former_row(cell: Any) -> list[str]:
    return [*_names(cell), count(cell.trials), cell.last_result, cell.difference]


def _names(row: Any) -> list[str]:
    """Task, mixer with its recipe, depth and width."""
    mixer = " ".join(filter(None, [row.mixer, row.recipe]))
    return [row.task, mixer, str(row.n_layers), str(row.d_model)]


def _trial_row(trial: Any) -> list[str]:
    return [
        *_names(trial),
        rate(trial.learning_rate) + ("*" if trial.chosen else ""),
        f"{trial.seed} (search)" if trial.searching else str(trial.seed),
        trial.status,
        count(trial.step),
        accuracy(trial.valid_accuracy),
        UNKNOWN if pd.isna(trial.valid_loss) else f"{trial.valid_loss:.3f}",
        accuracy(trial.test_accuracy),
        f"{trial.seconds:.1f}",
        trial.key,
    ]
