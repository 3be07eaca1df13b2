"""`recollect reproduce`: run figures and tables of papers again, and test their claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.cli.output import Json, console, print_json, print_table
from recollect.cli.reproduction_files import check_page, draw, write_page
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
from recollect.papers.scale import DEFAULT_SCALE

if TYPE_CHECKING:
    from recollect.papers.reproduction import Outcome, Reproduction
    from recollect.studies.store import Store

ALL = "all"
"""Stands for all reproductions except those that train language models."""
USED_BY_CLAIMS = ("names", "scale", "claims", "as_json")
"""The arguments of `reproduce` that matter to --claims."""


def reproduce(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|all]...",
            help="Figures and tables, see --list; all: all except those that train language"
            " models.",
        ),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Only list the reproductions.")] = False,
    scale: Annotated[
        str,
        typer.Option(
            metavar="quick|laptop|workstation|paper|paper-text",
            help="laptop: a smaller version of the experiment; quick: the part of it that takes an"
            " hour on two cores; workstation: language models that take hours on one GPU; paper:"
            " the paper's protocol; paper-text: the protocol in the paper's text, where its code"
            " differs (zoology-figure2).",
        ),
    ] = DEFAULT_SCALE,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Training text of language models: JSON lines, Parquet, a folder of many files or"
            " datasets:NAME; default at laptop scale: python-stdlib.",
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
        typer.Option("--claims", help="Only print the claims and their margins."),
    ] = False,
    decide: Annotated[
        bool,
        typer.Option(
            "--decide",
            help="Run more trials for undecided claims: up to 10 seeds in a fixed order, and, where"
            " a model may have failed, all learning rates from 1e-4 to 1e-1 on every seed.",
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the figures to a folder.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Run nothing; write the stored results as a page: FILE.md is Markdown with figures"
            " beside it; FILE.html is one file with interactive tables and figures, and needs the"
            " extra `report`.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Repeat figures and tables of papers, and test the papers' claims.

    Stored trials are not run again, so the same command resumes after an interruption. If trials
    fail, the exit code is 1, and claims about them are not judged.
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
        raise UserError("--page runs nothing, but --decide runs more seeds: give only one of them")
    if claims:
        _refuse_ignored(context)
    if page is not None:
        check_page(page)
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
    failed = Counter[str]()
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
        with opened.file.at_one_moment():
            outcomes = [outcome(each, scale, opened, text) for each in chosen]
            if page is not None:
                write_page(outcomes, opened, page, names or [])
        if decide:
            decided = [_decide(each, opened, how) for each in outcomes]
            outcomes = [each for each, _ in decided]
            failed += sum((counts for _, counts in decided), Counter[str]())
    _print(outcomes, as_json)
    if out is not None:
        draw(outcomes, out, ("pdf", "png"))
    exit_if_failed(failed, store)


def _refuse_ignored(context: typer.Context) -> None:
    """Refuse options that --claims would ignore.

    Raises:
        UserError: if one is given.
    """
    for option in context.command.params:
        source = context.get_parameter_source(str(option.name))
        is_given = source is not None and source.name == "COMMANDLINE"
        if is_given and option.name not in USED_BY_CLAIMS:
            raise UserError(
                f"--claims only prints the claims and has no use for {option.opts[0]}: leave out"
                " one of them"
            )


def _chosen(names: Sequence[str], scale: str) -> list[Reproduction]:
    """The named reproductions, each once; `all` at the scale "quick" means those that have it.

    Raises:
        UserError: if no reproduction is named, or an unknown one.
    """
    from recollect.papers.reproduction import REPRODUCTIONS
    from recollect.papers.scale import QUICK

    if not names:
        raise UserError(
            f"no reproduction named: expected {ALL}, or one of {', '.join(REPRODUCTIONS)}"
        )
    every = [
        name
        for name in REPRODUCTIONS
        if REPRODUCTIONS[name].language is None and (scale != QUICK or REPRODUCTIONS[name].is_quick)
    ]
    chosen = [each for name in names for each in (every if name == ALL else [name])]
    return [REPRODUCTIONS[each] for each in dict.fromkeys(chosen)]


def _run(
    chosen: list[Reproduction], scale: str, text: str | None, store: Store, how: dict[str, Any]
) -> Counter[str]:
    """Run missing trials, with progress on standard error.

    Returns the number of failed trials of each study.
    """
    from recollect.cli.language_models import train_shown

    err, failed = console(stderr=True), Counter[str]()
    for i, each in enumerate(chosen):
        place = f" ({i + 1} of {len(chosen)})" if len(chosen) > 1 else ""
        for study in each.studies(scale):
            err.print(f"{each.name}{place}: {study.title}", markup=False, soft_wrap=True)
            failed[study.name] += run_shown(study, store, **how)
        for plan in each.plans(scale, text):
            err.print(f"{each.name}{place}: {plan.title}", markup=False, soft_wrap=True)
            train_shown(plan, store, **how)
    return failed


def _decide(found: Outcome, store: Store, how: dict[str, Any]) -> tuple[Outcome, Counter[str]]:
    """Run more trials until no undecided claim can be decided by more runs.

    Returns the new outcome and the number of failed trials of each study.
    """
    from recollect.papers.deciding import more_runs
    from recollect.papers.reproduction import outcome

    err, failed, before = console(stderr=True), Counter[str](), set[str]()
    while True:
        studies = found.reproduction.studies(found.scale)
        asked = list(more_runs(studies, found.findings))
        cells = {f"{part.name} {cell.label}" for part, _ in asked for cell in part.cells()}
        if cells <= before:
            return found, failed
        before |= cells
        for part, whole in asked:
            err.print(f"{part.name}: {part.title}", markup=False, soft_wrap=True)
            failed[part.name] += run_shown(part, store, whole=whole.cells(), **how)
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
