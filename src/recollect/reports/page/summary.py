"""What a study shows, in a few sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from recollect.reports.tables import accuracy, plural, rate
from recollect.reports.titles import title
from recollect.reports.unlearnt import unlearnt
from recollect.studies.learnt import not_learnt

MOST = 6
"""So many cells that have not learnt are told one by one."""


def summary(cells: pd.DataFrame) -> list[str]:
    """Sentences about a study, the first about all of it, then some about each task.

    Args:
        cells: of `studies.results.cells_frame`.
    """
    return [_extent(cells), *(line for task in _tasks(cells) for line in _about(task))]


def _tasks(cells: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for task in cells["task"].unique():
        yield cells[cells["task"] == task]


def _extent(cells: pd.DataFrame) -> str:
    """How large the study is and how much of it is there."""
    mixers, tasks = cells["mixer"].nunique(), cells["task"].nunique()
    size = f"{plural(mixers, 'mixer')} on {plural(tasks, 'task')}: {plural(len(cells), 'cell')}"
    done = int(cells["done"].sum())
    state = "all finished" if done == len(cells) else f"{done:,} finished"
    lost = [f"{int(cells[name].sum()):,} {name}" for name in ("failed", "diverged")]
    lost = [text for text in lost if not text.startswith("0 ")]
    trials = plural(int(cells["trials"].sum()), "trial")
    return f"{size}, {state}, from {', '.join([trials, *lost])}."


def _about(cells: pd.DataFrame) -> Iterator[str]:
    """The best cell of a task, those that cannot be told from it, and those that did not learn."""
    task, stuck = str(cells["task"].iloc[0]), unlearnt(cells)
    learnt = cells[~stuck & cells["test_accuracy"].notna()]
    if learnt.empty:
        yield f"{task}: no cell has learnt the task." if stuck.any() else f"{task}: no result yet."
    else:
        best: Any = next(learnt.nlargest(1, "test_accuracy").itertuples())
        yield (
            f"{task}: the highest mean test accuracy is {accuracy(best.test_accuracy)}"
            f"{_range(best)}, of {_name(best)} at learning rate {rate(best.learning_rate)}"
            f" (chance level {accuracy(best.chance)})."
        )
        near = int((learnt["test_accuracy_max"] >= best.test_accuracy_min).sum()) - 1
        if near:
            reach = "overlaps" if near == 1 else "overlap"
            yield (
                f"{task}: the range over seeds of {near} of {plural(len(cells) - 1, 'other cell')}"
                f" {reach} with that of the best, so the order among them may be chance."
            )
    if stuck.any():
        yield f"{task}: {int(stuck.sum())} of {plural(len(cells), 'cell')} not learnt{_which(cells[stuck])}"


def _range(cell: Any) -> str:
    if cell.seeds < 2:
        return " (one seed)"
    low, high = accuracy(cell.test_accuracy_min), accuracy(cell.test_accuracy_max)
    return f" ({low} to {high} over {int(cell.seeds)} seeds)"


def _name(cell: Any) -> str:
    recipe = f" [{cell.recipe}]" if cell.recipe else ""
    return f"{title(cell.mixer)}{recipe} with d_model {cell.d_model}"


def _which(stuck: pd.DataFrame) -> str:
    """The cells with what was tried, where they are few."""
    if len(stuck) > MOST:
        return "; the table says which, and what was tried."
    told = (
        f"{_name(cell)} ({_tried(cell)})" for cell in stuck.itertuples()
    )
    return f": {'; '.join(told)}."


def _tried(cell: Any) -> str:
    seeds = cell.learnt_searching, cell.searching_seeds
    return not_learnt(cell.budget, cell.lowest_rate, cell.highest_rate, *seeds)
