"""A summary of a study in a few sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from recollect.reports.cell_names import size
from recollect.reports.tables import accuracy, plural, rate
from recollect.reports.titles import title
from recollect.reports.unlearnt import unlearnt
from recollect.studies.learnt import not_learnt

MOST = 3
"""Up to this many cells that have not learnt are named."""


def summary(cells: pd.DataFrame) -> list[str]:
    """Paragraphs about a study: one about the whole study, then one per task.

    Args:
        cells: the table from `studies.results.cells_frame`.
    """
    tasks = cells["task"].unique()
    return [_extent(cells), *(_about(task, cells[cells["task"] == task]) for task in tasks)]


def _extent(cells: pd.DataFrame) -> str:
    """A sentence on the size of the study and the finished part."""
    counts = [(cells["mixer"].nunique(), "mixer"), (cells["task"].nunique(), "task")]
    mixers, tasks, rows = (plural(*count) for count in (*counts, (len(cells), "cell")))
    done = int(cells["finished"].sum())
    state = "all finished" if done == len(cells) else f"{done:,} finished"
    lost = {name: int(cells[name].sum()) for name in ("failed", "diverged")}
    trials = plural(int(cells["trials"].sum()), "trial")
    counted = [trials, *(f"{number:,} {name}" for name, number in lost.items() if number)]
    return f"{mixers} on {tasks}: {rows}, {state}, from {', '.join(counted)}."


def _about(task: str, cells: pd.DataFrame) -> str:
    """Sentences on the best cell of a task, cells with overlapping ranges, and cells that did not
    learn."""
    tested = cells[cells["test_accuracy"].notna()]  # leaves out cells that diverged at every rate
    stuck = unlearnt(tested)
    sentences = [*_about_best(tested[~stuck], cells), *_about_stuck(tested[stuck], cells)]
    return f"{task}: {' '.join(sentences) or 'no result so far.'}"


def _about_best(learnt: pd.DataFrame, cells: pd.DataFrame) -> Iterator[str]:
    """Sentences on the best of the cells that have learnt, with those that may be as good."""
    if learnt.empty:
        return
    # chosen by test accuracy, the best would be too good
    best: Any = next(learnt.nlargest(1, "choice_merit").itertuples())
    yield (
        f"the best on validation data is {_name(best, cells)} at learning rate"
        f" {rate(best.learning_rate)}, with a mean test accuracy of"
        f" {accuracy(best.test_accuracy)}{_range(best)}; chance level is {accuracy(best.chance)}."
    )
    near = int((learnt["test_accuracy_max"] >= best.test_accuracy_min).sum()) - 1
    if near:
        others = plural(len(cells) - 1, "other cell")
        yield (
            f"Of the {others}, {near} {'has' if near == 1 else 'have'} a"
            " range over seeds that overlaps with this one, so their order may be due to chance."
        )


def _about_stuck(stuck: pd.DataFrame, cells: pd.DataFrame) -> Iterator[str]:
    """Sentences on the cells that have not learnt."""
    if len(stuck) > MOST:
        yield f"{len(stuck)} of {plural(len(cells), 'cell')} have not learnt; the table says which."
        return
    for cell in stuck.itertuples():
        yield f"{_name(cell, cells)} has {_tried(cell)}."


def _range(cell: Any) -> str:
    if cell.seeds < 2:
        return " (one seed)"
    low, high = accuracy(cell.test_accuracy_min), accuracy(cell.test_accuracy_max)
    return f" ({low} to {high} over {int(cell.seeds)} seeds)"


def _name(cell: Any, cells: pd.DataFrame) -> str:
    recipe = f" [{cell.recipe}]" if cell.recipe else ""
    return f"{title(cell.mixer)}{recipe} with {size(cell, cells)}"


def _tried(cell: Any) -> str:
    seeds = cell.learnt_searching, cell.searching_seeds
    return not_learnt(cell.budget, cell.lowest_rate, cell.highest_rate, *seeds)
