"""The results of a suite: one row per model and task."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pandas as pd

from recollect.errors import UserError
from recollect.studies.results import cells_frame
from recollect.studies.store import Store
from recollect.studies.versions import tell_versions_apart
from recollect.suites.suite import BUDGETS, Part, changed_parts, study_settings, suite_parts

COLUMNS = (
    *("mixer", "recipe", "d_model", "n_layers", "task"),
    *("accuracy", "accuracy_min", "accuracy_max"),
    *("chance", "learnt", "share", "seeds", "learning_rate", "choices"),
    *("budget", "lowest_rate", "highest_rate", "learnt_searching", "searching_seeds"),
    *("done", "finished", "trials", "failed", "diverged"),
)
SAME = (
    *("mixer", "recipe", "d_model", "n_layers", "learnt", "seeds", "learning_rate", "choices"),
    *("budget", "lowest_rate", "highest_rate", "learnt_searching", "searching_seeds"),
    *("done", "finished", "trials", "failed", "diverged"),
)
"""Columns that are those of `cells_frame`."""


def suite_frame(store: Store, name: str, budget: str, settings: Sequence[str] = ()) -> pd.DataFrame:
    """The results of a suite in a store: one row per model and task.

    The columns are `mixer`, `recipe`, `d_model`, `n_layers`; `task`, the task's heading;
    `accuracy`, the mean test accuracy over the reported seeds, with `accuracy_min` and
    `accuracy_max`; `chance`, the chance level; `learnt`, a boolean; `share`, the part of the step
    budget used until the task was solved or training ended; `seeds`; `learning_rate`, the chosen
    one; and `choices`, `budget`, `lowest_rate`, `highest_rate`, `learnt_searching`,
    `searching_seeds`, `done`, `finished`, `trials`, `failed` and `diverged` of the search, as in
    `cells_frame`. In MAD's in-context tasks, accuracy counts only tokens that can be recalled.
    Mixers with the same label in different versions, or of different files, get different labels.
    Results that are not known yet are missing.

    Args:
        store: an open store.
        name: the suite.
        budget: the budget of the suite.
        settings: the settings it was run with, as in `suite_studies`.

    Raises:
        UserError: if the store has no results of the suite at this budget.
    """
    groups = _stored(store, name, budget, settings)
    if not groups:
        raise UserError(_without_results(store, name, budget, settings))
    frames = [cells_frame(store, study) for study in groups]
    told_apart = tell_versions_apart([cell for study in groups for cell in store.cells(study)])
    labels = iter([cell.mixer for cell in told_apart])
    rows = {
        part.name: list(_rows(part, cells))
        for parts, frame in zip(groups.values(), frames, strict=True)
        for cells in [frame.assign(mixer=list(islice(labels, len(frame))))]
        for part in parts
    }
    ordered = [rows.get(part.name, []) for part in suite_parts(name, budget)]
    return pd.DataFrame([row for part in ordered for row in part], columns=COLUMNS)


def not_run(store: Store, name: str, budget: str, settings: Sequence[str] = ()) -> list[str]:
    """The tasks of a suite that the store does not have, by name."""
    stored = _stored(store, name, budget, settings)
    known = {part.name for parts in stored.values() for part in parts}
    return [part.name for part in suite_parts(name, budget) if part.name not in known]


def replaced(store: Store, name: str, budget: str, settings: Sequence[str] = ()) -> list[str]:
    """The labels of mixers whose results `suite_frame` leaves out.

    A later run of the suite has replaced them, because its mixer had the same label: the class was
    edited, or is another one of the same name. The width is part of the label if the mixer is shown
    at another one.
    """
    groups = _stored(store, name, budget, settings)
    former = [cell for study in groups for cell in store.former_cells(study)]
    listed = [cell for study in groups for cell in store.cells(study)]
    marked = tell_versions_apart((*former, *listed))
    widths: dict[str, set[int]] = {}
    for cell in marked[len(former) :]:
        widths.setdefault(cell.mixer, set()).add(cell.d_model)
    labels = [
        f"{cell.mixer} d_model={cell.d_model}" if widths.get(cell.mixer, own) - own else cell.mixer
        for cell in marked[: len(former)]
        for own in [{cell.d_model}]
    ]
    return list(dict.fromkeys(labels))


def _without_results(store: Store, name: str, budget: str, settings: Sequence[str]) -> str:
    """What the store has of the suite instead of the results that were asked for."""
    asked = f"{store.path} has no results of the suite {name} at {_in_words(budget, settings)}"
    form = re.compile(rf"suite-{re.escape(name)}-({'|'.join(BUDGETS)})[^(]*(?: \((.*)\))?")
    matches = (form.fullmatch(study) for study in store.studies())
    found = {_in_words(m[1], [m[2]] if m[2] else []) for m in matches if m}
    return f"{asked}; it has those of {' and '.join(sorted(found))}" if found else asked


def _in_words(budget: str, settings: Sequence[str]) -> str:
    changes = ", ".join(study_settings(settings))
    return f"the {budget} budget" + (f" with {changes}" if changes else "")


def _stored(store: Store, name: str, budget: str, settings: Sequence[str]) -> dict[str, list[Part]]:
    """The tasks by the name of their study, of the studies in the store."""
    known, studies = set(store.studies()), changed_parts(name, budget, settings)
    return {study: parts for study, parts in studies.items() if study in known}


def _rows(part: Part, cells: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for cell in cells[cells["task"] == part.task.label].to_dict("records"):
        common = {name: cell[name] for name in SAME}
        common["share"] = cell["steps"] / cell["budget"]
        yield common | {
            "task": part.name,
            **_measured(cell, part.metric or "accuracy"),
            "chance": _chance(part),
        }
        if part.longer is not None:
            yield common | {
                "task": f"{part.name}, length {part.longer.max_len}",
                **_measured(cell, "accuracy", f"[{part.longer.label}]"),
                "chance": part.longer.chance,
            }


def _measured(cell: Mapping[str, Any], metric: str, task: str = "") -> dict[str, Any]:
    """The mean of a metric and its ends; `task`: a further test task, in brackets."""
    ends = ("", "_min", "_max")
    return {f"accuracy{end}": cell.get(f"test_{metric}{end}{task}") for end in ends}


def _chance(part: Part) -> float | None:
    """The chance level of the part's metric."""
    by_name = {metric.name: metric.guess for metric in part.task.metrics}
    return part.task.chance if part.metric is None else by_name[part.metric]
