"""The data of reproductions for the page: claims, verdicts, and the trials behind each number.

The words are those of the Markdown page (`reports.reproductions`).
"""

from __future__ import annotations

import base64
import io
import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from recollect.papers.cell_results import CellResults
from recollect.papers.claims import Claim, Finding
from recollect.papers.deciding import extensions
from recollect.papers.language_results import LanguageResults
from recollect.papers.reproduction import Outcome
from recollect.plain import finite
from recollect.reports.canvas import SHOWN_DPI, Figure
from recollect.reports.claims import found_record
from recollect.reports.markup import Table, unmarked
from recollect.reports.needed_widths import EXPLAINED as WIDTHS
from recollect.reports.needed_widths import needed_widths
from recollect.reports.notes import Remedies
from recollect.reports.page.study_data import stored_study
from recollect.reports.reproduction_figures import METRICS, reproduction_figures
from recollect.reports.reproductions import (
    CHOICES,
    INTRODUCTION,
    NUMBERS,
    RULES,
    VERDICTS,
    beside_published,
    command,
    deviation,
    extent,
    language_passages,
    published_table,
    training_time,
)
from recollect.studies.cell import Cell
from recollect.studies.listing import are_equal
from recollect.studies.results import Listed
from recollect.studies.store import Store

DPI = 200
OF_CELLS = "All trials on the reported seeds; a star marks the chosen rate."
OF_MODELS = "All trials of the compared models: short ones for the learning rate, and full ones."


Trials = dict[str, dict[str, Any]]
"""By the key of each trial: `chosen`, true at the chosen rate, and `value`, the metric that the
paper reports."""


def stored_studies(outcome: Outcome, store: Store) -> Iterator[Listed]:
    """The studies of a reproduction that were run, with the cells by which its claims are judged.

    Studies that were run to decide claims follow the study that they extend.
    """
    names = store.studies()
    for study in outcome.reproduction.studies(outcome.scale):
        if study.name in names:
            yield Listed(study.name, study.cells())
        for more in extensions(study):
            listed = store.cells(more.name) if more.name in names else ()
            stored = {cell.label: cell for cell in listed}
            if cells := tuple(
                cell
                for cell in more.cells()
                if cell.label in stored and are_equal(stored[cell.label], cell)
            ):
                yield Listed(more.name, cells)
    for models in outcome.results.language:
        keys = set(_language_keys([models]))
        for name in (models.plan.name, models.plan.trained):
            run = store.cells(name) if keys and name in names else ()
            if cells := tuple(cell for cell in run if keys & _keys(store, cell)):
                yield Listed(name, cells)


def reproductions_data(
    outcomes: Sequence[Outcome], store: Store, *, asked: Sequence[str], remedies: Remedies
) -> dict[str, Any]:
    """The data of all reproductions for the page, as plain JSON values.

    Args:
        outcomes: the reproductions with their results.
        store: the store of the results.
        asked: the names that the user has typed.
        remedies: the advice in notes below the tables of studies.
    """
    rules = f"{VERDICTS}; {RULES}."
    return {
        "about": [extent(outcomes), INTRODUCTION, unmarked(f"{rules} {CHOICES}"), NUMBERS],
        "command": _run(asked, outcomes, store.path),
        "entries": [_entry(each, store, remedies) for each in outcomes],
    }


def _entry(outcome: Outcome, store: Store, remedies: Remedies) -> dict[str, Any]:
    each = outcome.reproduction
    run = _run([each.name], [outcome], store.path)
    differs = deviation(outcome)
    of_models: Trials = {key: {} for key in _language_keys(outcome.results.language)}
    found: dict[str, Any] = {
        "name": each.name,
        "title": each.title,
        "paper": f"{each.paper}, {each.place}.",
        "command": run,
        "differs": differs and list(differs),
        "claims": [
            _claim(claim, finding, of_models, each.metric)
            for claim, finding in zip(each.claims, outcome.findings, strict=True)
        ],
        "spread": "range over seeds" if each.language is None else "nominal 95 % interval",
        "behind": OF_CELLS if each.language is None else OF_MODELS,
        "columns": ["valid accuracy" if each.language is None else "valid loss"],
        "metric": METRICS[each.metric] if each.language is None else None,
        "figures": [_image(figure) for figure in reproduction_figures(outcome).values()],
        "published": _published(outcome),
        "widths": _widths(outcome),
        "language": [
            passage if isinstance(passage, str) else _table(passage, [of_models] * len(passage[1]))
            for passage in language_passages(outcome)
        ],
        "time": training_time([outcome]),
        "studies": [
            stored_study(store, study, remedies, command=run)
            for study in stored_studies(outcome, store)
        ],
    }
    return finite(found)


def _claim(claim: Claim, finding: Finding, of_models: Trials, metric: str) -> dict[str, Any]:
    """A claim with its numbers in words and the trials behind each of them.

    Args:
        claim: the claim.
        finding: what was found of it.
        of_models: the trials of all compared language models, behind each of their numbers.
        metric: the column of `trials_frame` that the paper reports.
    """
    measured, cells = finding.measured, finding.cells
    numbers = [
        {
            "name": name,
            "text": str(measured[name]) if name in measured else "undefined on every seed",
            "trials": _of(cells[name], metric) if cells else of_models,
        }
        for name in (cells or measured)
    ]
    found = list(dict.fromkeys(text for part in finding.parts for text in part.sentences))
    return found_record(claim, finding) | {"found": found, "numbers": numbers}


def _published(outcome: Outcome) -> dict[str, Any] | None:
    if not outcome.reproduction.published:
        return None
    metric = outcome.reproduction.metric
    trials = [_of([] if cell is None else [cell], metric) for cell in beside_published(outcome)]
    return _table(published_table(outcome), trials)


def _widths(outcome: Outcome) -> dict[str, Any] | None:
    found = needed_widths(outcome.results.all)
    if found is None:
        return None
    trials = [_of(cells, outcome.reproduction.metric) for cells in found.cells]
    return _table(found.table, trials) | {"about": WIDTHS}


def _table(table: Table, trials: Sequence[Trials]) -> dict[str, Any]:
    """A table with the trials behind each row; it sorts by its texts."""
    headings, rows = table
    numbers = [None] * len(headings)
    return {"headings": headings, "rows": rows, "values": numbers, "trials": trials}


def _of(cells: Iterable[CellResults], metric: str) -> Trials:
    """The trials behind numbers of some cells."""
    return {
        key: {"chosen": bool(chosen), "value": value}
        for trials in (cell.behind for cell in cells)
        for key, chosen, value in zip(
            trials["key"], trials["chosen"], trials[metric].astype(float), strict=True
        )
    }


def _language_keys(language: Sequence[LanguageResults]) -> list[str]:
    frames = [models.tables["trials"] for models in language if models.tables]
    return list(dict.fromkeys(chain.from_iterable(frame["key"] for frame in frames)))


def _keys(store: Store, cell: Cell) -> set[str]:
    return {trial.key for trial in store.trials(cell).values()}


def _run(names: Sequence[str], outcomes: Sequence[Outcome], store: Path) -> str:
    """The command that runs the named reproductions into the store."""
    return f"{command(names, outcomes)} --store {shlex.quote(str(store))}"


def _image(figure: Figure) -> dict[str, Any]:
    """A figure as the address of an image that needs no file, and its width on the page."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=DPI)
    source = f"data:image/png;base64,{base64.b64encode(image.getvalue()).decode()}"
    return {"source": source, "width": round(SHOWN_DPI * figure.get_size_inches()[0])}
