"""What commands print and write about a stored study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from recollect.cli.output import console, print_json, print_table
from recollect.errors import UserError
from recollect.reports import tables
from recollect.reports.recipe import common_settings
from recollect.studies.results import (
    cells_frame,
    history_frame,
    observed_trials,
    trials_frame,
)
from recollect.studies.versions import out_of_date

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd
    from matplotlib.figure import Figure

    from recollect.studies.store import Store

KINDS = ("accuracy", "learning-rate", "training")
OBSERVED = ("dynamics", "attention-map", "gaps")
"""The kinds of figures that need a study to be observed in training."""
TRADEOFF = "tradeoff"
"""The kind of figure that needs a benchmark beside the study."""


def latest_study(store: Store) -> str:
    """The study that was run last.

    Raises:
        UserError: if the store has none.
    """
    studies = store.studies()
    if not studies:
        raise UserError(f"the store {store.path} has no study yet; `recollect run` adds one")
    return studies[0]


def print_study(store: Store, study: str, *, as_json: bool) -> None:
    """The table of a study and what all its trials have in common."""
    cells = cells_frame(store, study)
    settings = common_settings(store.cells(study))
    changed = out_of_date(store.cells(study), [Path().resolve(), store.path.parent.resolve()])
    former = former_count(store, study)
    if as_json:
        told = {"study": study, "settings": settings, "cells": tables.records(cells)}
        print_json(told | {"out_of_date": changed, "former_cells": former})
        return
    out = console()
    print_table(*tables.readable(cells))
    out.print()
    if cells["at_edge"].any():
        out.print(
            "* ties with the lowest or highest rate tried: the best may lie beyond", markup=False
        )
    notes = [*_about_unfinished(cells, has_older_search=store.has_older_search(study))]
    notes += [*_about_diverged(cells), _about_failed(cells), _about_former(former), *changed]
    for note in filter(None, notes):
        out.print(note, markup=False, soft_wrap=True)
    alike = ", ".join(f"{name}={value}" for name, value in settings.items())
    out.print(Text(f"alike for all: {alike}", "dim"))


def _about_unfinished(cells: pd.DataFrame, *, has_older_search: bool) -> Iterator[str]:
    """How many cells need more trials, or have lost some."""
    unfinished, failed = int((~cells["done"]).sum()), int((cells["failed"] > 0).sum())
    of_all = f"of {tables.plural(len(cells), 'cell')}"
    if unfinished:
        yield f"not finished: {unfinished} {of_all}"
    if unfinished and has_older_search:
        yield (
            "its search is of an older version, which asked for fewer trials than today's: running"
            " the study again adds those that are missing, and `show --trials` shows what is there"
        )
    if failed:
        yield f"{failed} {of_all} with failed trials"


def _about_diverged(cells: pd.DataFrame) -> list[str]:
    """The cells without a chosen rate, as every one diverged."""
    lost = cells[cells["learning_rate"].isna() & (cells["diverged"] > 0)]
    found = []
    for cell in lost.itertuples():
        if cell.diverged == cell.trials:
            what = "every learning rate diverged"
        elif cell.diverged + cell.failed == cell.trials:
            what = "every learning rate diverged or failed"
        elif cell.finished:
            what = "every learning rate that was trained to the end diverged"
        else:
            continue
        found.append(f"{cell.mixer} at d_model {cell.d_model} on {cell.task}: {what}")
    return found


def _about_failed(cells: pd.DataFrame) -> str:
    """What a reader of the table must know where trials have failed."""
    if not cells["failed"].any():
        return ""
    return (
        f"{cells['failed'].sum()} of {cells['trials'].sum()} trials failed: what their learning"
        " rates would give is unknown, and a better rate may be among them (`show --failed` says"
        " why, `run --retry-failed` tries again)"
    )


def _about_former(former: int) -> str:
    """That there are results of cells that the table leaves out."""
    if not former:
        return ""
    are = "cells with results are" if former > 1 else "cell with results is"
    return (
        f"{former} {are} not part of the study as it was last run (`show --former` lists them, and"
        " how they differ)"
    )


def former_count(store: Store, study: str) -> int:
    """How many cells with results a study had and has no longer."""
    return len(store.former_cells(study)) if study in store.studies() else 0


def print_left_out(cells: int) -> None:
    """Say, on standard error, how many cells a run with --set has taken out of the table."""
    if cells > 0:
        are = "cell of other settings is" if cells == 1 else "cells of other settings are"
        console(stderr=True).print(
            f"--set changed the study: {cells} {are} no longer listed; `recollect show --former`"
            " lists them",
            soft_wrap=True,
        )


def print_trials(trials: pd.DataFrame, *, as_json: bool) -> None:
    """The table of every trial."""
    if as_json:
        print_json(tables.records(trials))
    else:
        print_table(*tables.readable_trials(trials))


def print_failed(failures: pd.DataFrame, study: str, *, as_json: bool) -> None:
    """The trials that failed, and the traceback of each."""
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
    """The cells that a study had and has no longer."""
    if as_json:
        print_json(tables.records(former))
    elif former.empty:
        console().print(f"{study} has all the cells that it ever had", markup=False)
    else:
        print_table(*tables.readable_former(former))


def drawable(store: Store, study: str) -> tuple[str, ...]:
    """The kinds of figures that the results of a study allow, without a benchmark."""
    return KINDS if observed_trials(store, study).empty else (*KINDS, *OBSERVED)


def draw(store: Store, study: str, paths: Mapping[str, Path]) -> None:
    """Write figures of a study, each kind to its path; says which cells have nothing to be drawn,
    as their trials have failed.

    Raises:
        UserError: if the study has no result yet, or was not observed where a kind needs that.
    """
    from recollect.reports import figures
    from recollect.reports.style import save

    cells = _with_results(store, study)
    for kind, path in paths.items():
        if kind in OBSERVED:
            figure = _observed_figure(kind, store, study, cells)
        elif kind == "accuracy":
            figure = figures.accuracy_figure(cells)
        elif kind == "learning-rate":
            figure = figures.learning_rate_figure(cells, trials_frame(store, study))
        else:
            figure = figures.training_figure(cells, history_frame(store, study))
        save(figure, path)
    lost = (cells["failed"] > 0) | (cells["diverged"] > 0)
    for cell in cells[cells["test_accuracy"].isna() & lost].itertuples():
        counts = {"failed": cell.failed, "diverged": cell.diverged}
        became = " and ".join(f"{number} {what}" for what, number in counts.items() if number)
        console(stderr=True).print(
            f"without a result to draw: {cell.mixer} at d_model {cell.d_model} on {cell.task}, of"
            f" {tables.plural(cell.trials, 'trial')} {became}",
            markup=False,
            soft_wrap=True,
        )


def _observed_figure(kind: str, store: Store, study: str, cells: pd.DataFrame) -> Figure:
    from recollect.reports.attention_map import attention_map_figure
    from recollect.reports.dynamics import dynamics_figure
    from recollect.reports.gaps import gaps_figure
    from recollect.studies.observations import study_observations

    seen = study_observations(store, study)
    if kind == "dynamics":
        return dynamics_figure(cells, history_frame(store, study), seen.dynamics)
    if kind == "gaps":
        return gaps_figure(cells, seen.dynamics)
    return attention_map_figure(seen.trials, seen.maps)


def draw_tradeoff(store: Store, study: str, bench: Path, path: Path) -> None:
    """Write the figure of recall against what a benchmark has measured.

    Raises:
        UserError: if the benchmark has nothing of the study's mixers, or is none.
    """
    from recollect.reports.bench_file import read_bench
    from recollect.reports.style import save
    from recollect.reports.tradeoff import task_lengths, tradeoff_figure, with_costs

    cells = with_costs(
        _with_results(store, study), read_bench(bench), task_lengths(store.cells(study))
    )
    save(tradeoff_figure(cells), path)
    missing = cells[cells["state"].isna()]
    names = dict.fromkeys(
        f"{cell.mixer} at d_model {cell.d_model}" for cell in missing.itertuples()
    )
    if names:
        err = console(stderr=True)
        err.print(f"not in {bench}: {', '.join(names)}", markup=False, soft_wrap=True)


def _with_results(store: Store, study: str) -> pd.DataFrame:
    """The cells of a study, if one of them at least has a result."""
    cells = cells_frame(store, study)
    if cells["test_accuracy"].isna().all():
        raise UserError(
            f"no cell of {study} has a result to draw: `recollect show {study}` says why"
        )
    return cells


def write_all(store: Store, study: str, folder: Path) -> None:
    """The table as CSV, and every figure as PDF for papers and PNG to look at."""
    csv = folder / "table.csv"
    tables.write_csv(cells_frame(store, study), csv)
    kinds = drawable(store, study)
    figures = {form: {k: folder / f"{k}.{form}" for k in kinds} for form in ("pdf", "png")}
    for paths in figures.values():
        draw(store, study, paths)
    written(csv, *(path for paths in figures.values() for path in paths.values()))


def written(*paths: Path | None) -> None:
    """Say which files were written; on standard error, which JSON leaves alone."""
    for path in filter(None, paths):
        console(stderr=True).print(f"wrote {path}", markup=False, soft_wrap=True)
