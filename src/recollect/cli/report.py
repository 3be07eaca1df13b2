"""Print and write the results of a stored study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from recollect.cli.output import console, print_json, print_table
from recollect.errors import UserError
from recollect.reports import tables
from recollect.reports.notes import Remedies, changed_since, former_count, notes
from recollect.reports.recipe import common_settings
from recollect.studies.results import (
    cells_frame,
    observed_trials,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from recollect.studies.store import Store

COMMANDS = Remedies(
    trials="`show --trials`",
    failed="`show --failed` says why, `run --retry-failed` tries again",
    former="`show --former` lists them and how they differ",
)


def latest_study(store: Store) -> str:
    """The name of the study that was run last.

    Raises:
        UserError: if the store has no study.
    """
    studies = store.studies()
    if not studies:
        raise UserError(f"the store {store.path} has no study yet; `recollect run` adds one")
    return studies[0]


def print_study(store: Store, study: str, *, as_json: bool) -> None:
    """Print the table of a study and the settings that all its trials share."""
    cells = cells_frame(store, study)
    listed = store.cells(study)
    settings = common_settings(listed)
    if as_json:
        table = {"study": study, "settings": settings, "cells": tables.records(cells)}
        changed, former = changed_since(store, listed), former_count(store, study)
        print_json(table | {"out_of_date": changed, "former_cells": former})
        return
    out = console()
    print_table(*tables.readable(cells))
    out.print()
    for note in notes(store, study, listed, cells, COMMANDS):
        out.print(note, markup=False, soft_wrap=True)
    common = ", ".join(f"{name}={value}" for name, value in settings.items())
    out.print(Text(f"same for all: {common}", "dim"))


def print_left_out(cells: int) -> None:
    """Print on standard error how many cells --set has removed from the table."""
    if cells > 0:
        are = "cell with other settings is" if cells == 1 else "cells with other settings are"
        console(stderr=True).print(
            f"--set changed the study: {cells} {are} no longer listed; `recollect show --former`"
            " lists them",
            soft_wrap=True,
        )


def print_trials(trials: pd.DataFrame, *, as_json: bool) -> None:
    """Print the table of trials."""
    if as_json:
        print_json(tables.records(trials))
    else:
        print_table(*tables.readable_trials(trials))


def print_failed(failures: pd.DataFrame, study: str, *, as_json: bool) -> None:
    """Print the failed trials and their tracebacks."""
    if as_json:
        print_json(tables.records(failures))
        return
    out = console()
    if failures.empty:
        out.print(f"no trial of {study} has failed", markup=False)
        return
    print_table(*tables.readable_failures(failures))
    for trial in failures[failures["traceback"] != ""].itertuples():
        out.print(f"\n{trial.key}\n{trial.traceback}", markup=False, soft_wrap=True)


def print_former(former: pd.DataFrame, study: str, *, as_json: bool) -> None:
    """Print the cells that earlier versions of a study had."""
    if as_json:
        print_json(tables.records(former))
    elif former.empty:
        console().print(f"no cell of {study} has been removed", markup=False)
    else:
        print_table(*tables.readable_former(former))


def drawable(store: Store, study: str) -> tuple[str, ...]:
    """The kinds of figures that can be drawn from a study's results alone."""
    from recollect.reports.study_figures import KINDS, OBSERVED

    return KINDS if observed_trials(store, study).empty else (*KINDS, *OBSERVED)


def draw(
    store: Store,
    study: str,
    paths: Mapping[str, Path],
    bench: Path | None = None,
    metric: str | None = None,
) -> None:
    """Write figures of a study, and print which cells they leave out.

    Args:
        store: the store of results.
        study: the name of the study.
        paths: the file of each kind of figure.
        bench: the file of benchmarks, for the kind "tradeoff".
        metric: the metric of the kind "accuracy".

    Raises:
        UserError: as in `study_figure`.
    """
    from recollect.reports.figures import ACCURACY
    from recollect.reports.study_figures import StudyFrames, study_figure
    from recollect.reports.style import save

    frames, lines = StudyFrames(store, study), []
    for kind, path in paths.items():
        figure, unseen = study_figure(kind, frames, bench, metric or ACCURACY)
        save(figure, path)
        lines += unseen
    for line in dict.fromkeys(lines):
        console(stderr=True).print(line, markup=False, soft_wrap=True)


def write_all(store: Store, study: str, folder: Path) -> None:
    """Write the table as CSV and every figure as PDF and PNG."""
    csv = folder / "table.csv"
    tables.write_csv(cells_frame(store, study), csv)
    kinds = drawable(store, study)
    figures = {form: {k: folder / f"{k}.{form}" for k in kinds} for form in ("pdf", "png")}
    for paths in figures.values():
        draw(store, study, paths)
    written(csv, *(path for paths in figures.values() for path in paths.values()))


def written(*paths: Path | None) -> None:
    """Print which files were written, on standard error, so that JSON output stays intact."""
    for path in filter(None, paths):
        console(stderr=True).print(f"wrote {path}", markup=False, soft_wrap=True)
