"""Table and figure of a suite, from its frame (`suites.results`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from recollect.reports.canvas import Axes, Figure, Line2D, drawing
from recollect.reports.diverged import how_diverged
from recollect.reports.markup import Rows, in_markdown
from recollect.reports.panels import HANDLE_INCHES, LETTER_INCHES, accuracy_below, place_legend
from recollect.reports.style import CHANCE, Look, looks
from recollect.reports.tables import UNKNOWN, accuracy
from recollect.reports.unlearnt import HOLLOW, unlearnt, unlearnt_entry
from recollect.studies.learnt import has_not_learnt, not_learnt

LINE = 0.3
"""Height of a task's line, in inches."""
SPREAD = 0.6
"""The part of that height over which the mixers of a task are spread."""
PANEL = 3.2
SIZES = {"layers": "n_layers", "d_model": "d_model"}
"""Headings of a model's depth and width, with their columns."""
CHANCE_ROW = "chance level"


def suite_table(found: pd.DataFrame) -> tuple[list[str], Rows]:
    """Headings and rows: one row per model, one column per task; the last row has chance levels.

    Width and depth have columns if they differ. An entry is the mean test accuracy, its range over
    seeds, and the share of the step budget used: `0.99 (0.98–1.00), 40 %`. Words mark a task that
    was not learnt, unfinished cells, and failed trials.
    """
    tasks = list(dict.fromkeys(found["task"]))
    sizes = {name: column for name, column in SIZES.items() if found[column].nunique() > 1}
    rows = []
    for _, its in found.groupby(["mixer", "recipe", *SIZES.values()], sort=False, dropna=False):
        model: Any = its.iloc[0]
        name = f"{model['mixer']} [{model['recipe']}]" if model["recipe"] else str(model["mixer"])
        entries = {cell.task: _entry(cell) for cell in its.itertuples()}
        start = [name, *(str(model[column]) for column in sizes.values())]
        rows.append([*start, *(entries.get(task, UNKNOWN) for task in tasks)])
    levels = found.groupby("task")["chance"].first()
    rows.append([CHANCE_ROW, *("" for _ in sizes), *(accuracy(levels[task], 2) for task in tasks)])
    return ["mixer", *sizes, *tasks], rows


def suite_notes(found: pd.DataFrame) -> list[str]:
    """Lines below the table: what its numbers do not show."""
    most = found["choices"].max()
    chosen = (
        "learning rates were chosen on the reported seeds, each as the best of up to"
        f" {most:.0f}, so accuracies tend to be too high"
    )
    return [*([chosen] if most > 1 else []), *_tried(found)]  # the number may be unknown


def _tried(found: pd.DataFrame) -> Iterator[str]:
    """What was tried of the tasks that were not learnt, with equal budgets and rates together."""
    tasks: dict[str, dict[str, list[str]]] = {}
    for cell in found[found["accuracy"].notna()].itertuples():
        if has_not_learnt(cell):
            seeds = cell.learnt_searching, cell.searching_seeds
            said = not_learnt(cell.budget, cell.lowest_rate, cell.highest_rate, *seeds)
            of_mixer = tasks.setdefault(said, {})
            of_mixer.setdefault(f"{cell.mixer}", []).append(f"{cell.task}")
    for said, of_mixer in tasks.items():
        which = "; ".join(
            f"{mixer} ({', '.join(dict.fromkeys(its))})" for mixer, its in of_mixer.items()
        )
        yield f"{said}: {which}"


def suite_markdown(found: pd.DataFrame, caption: str) -> str:
    """The table in GitHub's Markdown, with its caption and notes below it."""
    lines = [caption, *suite_notes(found)]
    return in_markdown(*suite_table(found)) + "".join(f"\n{line}\n" for line in lines)


def suite_figure(found: pd.DataFrame) -> Figure:
    """Draw test accuracy of each mixer, one line of points per task.

    Bars reach from the worst seed to the best; hollow points were not learnt; a grey tick is the
    chance level.
    """
    found = _with_unique_names(found)
    found = found[found["accuracy"].notna()]
    tasks, mixers = list(dict.fromkeys(found["task"])), list(dict.fromkeys(found["mixer"]))
    look = looks(mixers)
    with drawing():
        longest = HANDLE_INCHES + LETTER_INCHES * max(map(len, mixers))  # of the legend
        width = max(LETTER_INCHES * max(map(len, tasks)) + PANEL, longest)
        height = LINE * max(1, len(mixers) / 6) * len(tasks) + 1.1
        figure = Figure(figsize=(width, height), layout="constrained")
        ax = figure.subplots()
        for row, task in enumerate(reversed(tasks)):
            _draw(ax, row, found[found["task"] == task], mixers, look)
        ax.set_yticks(range(len(tasks)), reversed(tasks))
        ax.set_ylim(-0.6, len(tasks) - 0.4)
        ax.set_xlabel("test accuracy")
        accuracy_below(ax)
        drawn = [Line2D([], [], label=m, **(look[m].line() | {"linestyle": ""})) for m in mixers]
        chance = Line2D([], [], label="chance", **CHANCE)
        place_legend(
            figure, [*drawn, chance, *unlearnt_entry(found.assign(test_accuracy=found["accuracy"]))]
        )
    return figure


def _with_unique_names(found: pd.DataFrame) -> pd.DataFrame:
    """Add recipe, depth and width to the name of a mixer that has several, so that each has its
    place."""
    of_mixer = found.groupby("mixer")
    texts = [found["recipe"].fillna("")]
    texts += [f"{name}=" + found[name].astype(str) for name in SIZES.values()]
    several = [of_mixer[name].transform("nunique") > 1 for name in ("recipe", *SIZES.values())]
    shown = [text.where(each, "") for text, each in zip(texts, several, strict=True)]
    added = [", ".join(filter(None, each)) for each in zip(*shown, strict=True)]
    names = [f"{m} [{a}]" if a else str(m) for m, a in zip(found["mixer"], added, strict=True)]
    return found.assign(mixer=names)


def _draw(ax: Axes, row: int, its: pd.DataFrame, mixers: list[str], look: dict[str, Look]) -> None:
    top, bottom = row + SPREAD / 2, row - SPREAD / 2
    ax.vlines(its["chance"].iloc[0], bottom, top, **CHANCE)
    places = [_place(mixers.index(mixer), len(mixers), row) for mixer in its["mixer"]]
    ax.hlines(places, its["accuracy_min"], its["accuracy_max"], color="black", linewidth=0.8)
    drawn = zip(places, its["mixer"], its["accuracy"], unlearnt(its), strict=True)
    for place, mixer, mean, is_stuck in drawn:
        marks = look[mixer].line() | {"linestyle": ""} | (HOLLOW if is_stuck else {})
        ax.plot(mean, place, **marks)


def _place(index: int, count: int, row: int) -> float:
    """The height of a mixer's point in a task's line; the first mixer is on top."""
    return row + (SPREAD / 2 - SPREAD * index / (count - 1) if count > 1 else 0.0)


def _entry(cell: Any) -> str:
    if pd.isna(cell.accuracy):
        return "diverged" if how_diverged(cell) else "failed" if cell.failed else UNKNOWN
    remark = ", trials failed" if cell.failed else "" if cell.done else ", unfinished"
    if has_not_learnt(cell):
        return f"not learnt ({accuracy(cell.accuracy, 2)}){remark}"
    middle, low, high = (
        accuracy(value, 2) for value in (cell.accuracy, cell.accuracy_min, cell.accuracy_max)
    )
    share = f", {cell.share:.0%}".replace("%", " %")
    if pd.isna(cell.accuracy_min) or cell.seeds < 2:
        return f"{middle}{share}{remark}"
    return f"{middle} ({low}–{high}){share}{remark}"
