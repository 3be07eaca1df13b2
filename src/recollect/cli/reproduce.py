"""`recollect reproduce`: figures and tables of papers, run again and held against their claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.cli.output import Json, console, print_json, print_table
from recollect.cli.run import exit_if_failed, run_shown
from recollect.cli.where import (
    STORE,
    Address,
    Device,
    GpusPerJob,
    On,
    RetryFailed,
    StoreOption,
    Workers,
    cluster_options,
)
from recollect.errors import UserError

if TYPE_CHECKING:
    from recollect.papers.reproduction import Outcome, Reproduction
    from recollect.studies.store import Store

ALL = "all"
"""All but those that train language models, which are asked for by name."""


def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|all]...",
            help="Figures and tables, see --list; all: all but those that train language models.",
        ),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List what there is; run nothing.")
    ] = False,
    scale: Annotated[
        str,
        typer.Option(
            metavar="quick|laptop|workstation|paper|paper-text",
            help="The question shrunk to a laptop, or the paper's protocol; between them, of"
            " language models, what a GPU allows in hours. quick: what of the laptop's can be had"
            " in an hour on two cores. paper-text: the protocol of the paper's"
            " text, where its code differs (zoology-figure2).",
        ),
    ] = "laptop",
    text: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="What language models are trained on: JSON lines, Parquet, a folder of many"
            " files or datasets:NAME; python-stdlib if left out on a laptop.",
        ),
    ] = None,
    store: StoreOption = STORE,
    workers: Workers = None,
    device: Device = "auto",
    on: On = None,
    address: Address = None,
    gpus_per_job: GpusPerJob = None,
    retry_failed: RetryFailed = False,
    claims: Annotated[
        bool,
        typer.Option(
            "--claims", help="Print what is tested, by which margins; run and judge nothing."
        ),
    ] = False,
    decide: Annotated[
        bool,
        typer.Option(
            "--decide",
            help="Run more of what is undecided: seeds up to 10, in an order that is fixed, and all"
            " rates from 1e-4 to 1e-1 on every seed where a model may have failed.",
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the figures to a folder.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Run nothing: write a Markdown page of what is stored, its figures beside it.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Repeat figures and tables of papers, and judge the papers' claims.

    What is in the store already is not run again: after an interruption the same command goes on.
    Where trials have failed the exit code is 1, and no claim about them is judged.
    """
    from recollect.execution.places import place
    from recollect.files import check_folder, make_folder
    from recollect.papers.reproduction import outcome
    from recollect.studies.store import Store
    from recollect.training.device import resolve_device

    if listed:
        _print_list(as_json)
        return
    if decide and page is not None:
        raise UserError("--page runs nothing, and --decide runs more seeds: give one of them")
    if claims and page is not None:
        raise UserError(
            "--page writes what was found, and --claims prints what is tested: give one of them"
        )
    chosen = _chosen(names or [], scale)
    if claims:
        _print_claims(chosen, scale, as_json)
        return
    for each in chosen:
        each.check(scale, text)
    resolve_device(device)
    options = cluster_options(on, address=address, gpus_per_job=gpus_per_job)
    place(on, device, workers, None, options)
    for folder in (out, page.parent if page else None):
        if folder is not None:
            check_folder(folder)
    if page is None:
        make_folder(store.parent)
    failed = 0
    how = {
        "workers": workers,
        "device": device,
        "on": on,
        "options": options,
        "retry_failed": retry_failed,
    }
    with Store(store, must_exist=page is not None) as opened:
        if page is None:
            failed = _run(chosen, scale, text, opened, how)
        outcomes = [outcome(each, scale, opened, text) for each in chosen]
        if decide:
            decided = [_decide(each, opened, how) for each in outcomes]
            outcomes = [each for each, _ in decided]
            failed += sum(count for _, count in decided)
    _print(outcomes, as_json)
    if out is not None:
        _draw(outcomes, out, ("pdf", "png"))
    if page is not None:
        _write_page(outcomes, page, names or [])
    exit_if_failed(failed)


def _chosen(names: Sequence[str], scale: str) -> list[Reproduction]:
    """Those that are meant, each once; of all, those that have the scale "quick" where that is
    asked for.

    Raises:
        UserError: if none is named, or an unknown one.
    """
    from recollect.papers.reproduction import REPRODUCTIONS
    from recollect.papers.scale import QUICK

    if not names:
        raise UserError(f"which? {ALL}, or one of {', '.join(REPRODUCTIONS)}")
    every = [
        name
        for name in REPRODUCTIONS
        if REPRODUCTIONS[name].language is None and (scale != QUICK or REPRODUCTIONS[name].is_quick)
    ]
    meant = [each for name in names for each in (every if name == ALL else [name])]
    return [REPRODUCTIONS[each] for each in dict.fromkeys(meant)]


def _run(
    chosen: list[Reproduction], scale: str, text: str | None, store: Store, how: dict[str, Any]
) -> int:
    """Run what is missing, study by study, with progress on standard error; returns how many trials
    have failed."""
    from recollect.cli.language_models import train_shown

    err, failed = console(stderr=True), 0
    for i, each in enumerate(chosen):
        place = f" ({i + 1} of {len(chosen)})" if len(chosen) > 1 else ""
        for study in each.studies(scale):
            err.print(f"{each.name}{place}: {study.title}", markup=False, soft_wrap=True)
            failed += run_shown(study, store, **how)
        for plan in each.plans(scale, text):
            err.print(f"{each.name}{place}: {plan.title}", markup=False, soft_wrap=True)
            train_shown(plan, store, **how)
    return failed


def _decide(found: Outcome, store: Store, how: dict[str, Any]) -> tuple[Outcome, int]:
    """Run more of what is undecided, until nothing is that more runs could decide; returns what is
    found then, and how many trials have failed."""
    from recollect.papers.deciding import more_runs
    from recollect.papers.reproduction import outcome

    err, failed, before = console(stderr=True), 0, set[str]()
    while True:
        studies = found.reproduction.studies(found.scale)
        asked = list(more_runs(studies, found.findings))
        cells = {f"{part.name} {cell.label}" for part, _ in asked for cell in part.cells()}
        if cells <= before:
            return found, failed
        before |= cells
        for part, whole in asked:
            err.print(f"{part.name}: {part.title}", markup=False, soft_wrap=True)
            failed += run_shown(part, store, whole=whole.cells(), **how)
        found = outcome(found.reproduction, found.scale, store, found.text)


def _print_claims(chosen: list[Reproduction], scale: str, as_json: bool) -> None:
    from recollect.reports.claims import claims_record, claims_text

    for each in chosen:
        each.check_scale(scale)
    if as_json:
        print_json([claims_record(each, scale) for each in chosen])
        return
    text = "\n\n".join(claims_text(each, scale) for each in chosen)
    console().print(text, markup=False, soft_wrap=True)


def _print_list(as_json: bool) -> None:
    from recollect.papers.reproduction import REPRODUCTIONS

    entries = [REPRODUCTIONS[name] for name in REPRODUCTIONS]
    if as_json:
        print_json(
            [
                {
                    "name": each.name,
                    "title": each.title,
                    "paper": each.paper,
                    "place": each.place,
                    "claims": [claim.sentence for claim in each.claims],
                    "scales": list(each.scales),
                    "differs": each.differs,
                    "unpublished": [str(setting) for setting in each.unpublished],
                }
                for each in entries
            ]
        )
        return
    rows = [[e.name, e.title, f"{e.paper}, {e.place}", str(len(e.claims))] for e in entries]
    print_table(["name", "what it shows", "paper", "claims"], rows)


def _print(outcomes: list[Outcome], as_json: bool) -> None:
    from recollect.reports.claims import claims_table, tally
    from recollect.reports.reproductions import record

    if as_json:
        print_json([record(each) for each in outcomes])
        return
    out = console()
    print_table(*claims_table(outcomes))
    out.print()
    out.print(tally(outcomes), markup=False)


def _draw(outcomes: list[Outcome], folder: Path, forms: tuple[str, ...]) -> dict[str, list[Path]]:
    """Write the figures of those that have results; returns where, by the reproduction's name."""
    from recollect.cli.report import written
    from recollect.reports.reproduction_figures import reproduction_figures
    from recollect.reports.style import save

    paths: dict[str, list[Path]] = {}
    for each in outcomes:
        for name, figure in reproduction_figures(each).items():
            files = [folder / f"{name}.{form}" for form in forms]
            for path in files:
                save(figure, path)
            written(*files)
            paths.setdefault(each.reproduction.name, []).append(files[-1])
    return paths


def _write_page(outcomes: list[Outcome], page: Path, names: list[str]) -> None:
    from recollect.cli.report import written
    from recollect.reports.reproductions import write_page

    figures = _draw(outcomes, page.parent / "figures", ("png",))
    write_page(outcomes, figures, page, asked=names)
    written(page)
