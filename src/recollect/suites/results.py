"""What a suite found: a row for each mixer and task."""

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
    """What every mixer that the store has for a suite reached on each of its tasks.

    The columns: `mixer`, `recipe`, `d_model`; the heading of the `task`; over the reported seeds
    the mean test `accuracy` with its `accuracy_min` and `accuracy_max`, which are missing for a
    task that is tested at a longer length alone; `chance`; whether it was `learnt`; the `share` of
    the budget of steps that trials took until they had solved it or ended; `seeds`; the chosen
    `learning_rate`. The accuracy of MAD's in-context tasks is that on recalled tokens.

    Args:
        store: an open one.
        name: of the suite.
        budget: of the suite.
        settings: with which it was run, as in `suite_studies`.

    Raises:
        UserError: where the store has nothing of the suite at this budget.
    """
    known = set(store.studies())
    groups = {
        study: parts for study, parts in by_study(name, budget, settings).items() if study in known
    }
    if not groups:
        raise UserError(f"{store.path} has nothing of the suite {name} at the {budget} budget")
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
    """What a model that knows nothing gets by the part's metric."""
    by_name = {metric.name: metric.guess for metric in part.task.metrics}
    return part.task.chance if part.metric is None else by_name[part.metric]
