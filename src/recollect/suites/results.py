"""The results of a suite: one row per mixer and task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from recollect.errors import UserError
from recollect.studies.results import cells_frame
from recollect.studies.store import Store
from recollect.suites.suite import Part, by_study, suite_parts

COLUMNS = (
    *("mixer", "recipe", "d_model", "task", "accuracy", "accuracy_min", "accuracy_max"),
    *("chance", "learnt", "share", "seeds", "learning_rate"),
)


def suite_frame(store: Store, name: str, budget: str, settings: Sequence[str] = ()) -> pd.DataFrame:
    """The results of a suite in a store: one row per mixer and task.

    The columns are `mixer`, `recipe`, `d_model`; `task`, the task's heading; `accuracy`, the mean
    test accuracy over the reported seeds, with `accuracy_min` and `accuracy_max` (missing in rows
    for a longer test length); `chance`, the chance level; `learnt`, a boolean; `share`, the part of
    the step budget used until the task was solved or training ended; `seeds`; and `learning_rate`,
    the chosen one. In MAD's in-context tasks, accuracy counts only tokens that can be recalled.

    Args:
        store: an open store.
        name: the suite.
        budget: the budget of the suite.
        settings: the settings it was run with, as in `suite_studies`.

    Raises:
        UserError: if the store has no results of the suite at this budget.
    """
    known = set(store.studies())
    groups = {
        study: parts for study, parts in by_study(name, budget, settings).items() if study in known
    }
    if not groups:
        raise UserError(f"{store.path} has no results of the suite {name} at the {budget} budget")
    rows = {
        part.name: list(_rows(part, cells))
        for study, parts in groups.items()
        for cells in [cells_frame(store, study)]
        for part in parts
    }
    ordered = [rows.get(part.name, []) for part in suite_parts(name, budget)]
    return pd.DataFrame([row for part in ordered for row in part], columns=COLUMNS)


def _rows(part: Part, cells: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for cell in cells[cells["task"] == part.task.label].to_dict("records"):
        common = {name: cell[name] for name in ("mixer", "recipe", "d_model", "learnt", "seeds")}
        common |= {"learning_rate": cell["learning_rate"], "share": cell["steps"] / cell["budget"]}
        yield common | {
            "task": part.name,
            **_measured(cell, part.metric or "accuracy"),
            "chance": _chance(part),
        }
        if part.longer is not None:
            yield common | {
                "task": f"{part.name}, length {part.longer.max_len}",
                "accuracy": cell[f"test_accuracy[{part.longer.label}]"],
                "chance": part.longer.chance,
            }


def _measured(cell: Mapping[str, Any], metric: str) -> dict[str, Any]:
    return {f"accuracy{end}": cell[f"test_{metric}{end}"] for end in ("", "_min", "_max")}


def _chance(part: Part) -> float | None:
    """The chance level of the part's metric."""
    by_name = {metric.name: metric.guess for metric in part.task.metrics}
    return part.task.chance if part.metric is None else by_name[part.metric]
