"""`recollect reproduce`: figures and tables of papers, run again and held against their claims."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recollect.cli.output import Json, console, print_json, print_table
from recollect.cli.study import STORE, Device, StoreOption, Workers, run_shown
from recollect.errors import UserError

if TYPE_CHECKING:
    from recollect.papers.reproduction import Outcome, Reproduction
    from recollect.studies.store import Store

ALL = "all"


def reproduce(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|all]", help="A figure or table, see --list; or all of them."),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List what there is; run nothing.")
    ] = False,
    scale: Annotated[
        str,
        typer.Option(
            metavar="laptop|paper", help="The question shrunk to a laptop, or the paper's protocol."
        ),
    ] = "laptop",
    store: StoreOption = STORE,
    workers: Workers = None,
    device: Device = "auto",
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
    """
    from recollect.files import check_folder, make_folder
    from recollect.papers.reproduction import REPRODUCTIONS, outcome
    from recollect.papers.scale import is_paper
    from recollect.studies.store import Store
    from recollect.training.trial import resolve_device

    if listed:
        _print_list(as_json)
        return
    if name is None:
        raise UserError(f"which? {ALL}, or one of {', '.join(REPRODUCTIONS)}")
    chosen = [REPRODUCTIONS[each] for each in (REPRODUCTIONS if name == ALL else [name])]
    is_paper(name, scale)  # refuses an unknown one before anything is made, as the next does
    resolve_device(device)
    for folder in (out, page.parent if page else None):
        if folder is not None:
            check_folder(folder)
    if page is None:
        make_folder(store.parent)
    with Store(store, must_exist=page is not None) as opened:
        if page is None:
            _run(chosen, scale, opened, workers=workers, device=device)
        outcomes = [outcome(each, scale, opened) for each in chosen]
    _print(outcomes, as_json)
    if out is not None:
        _draw(outcomes, out, ("pdf", "png"))
    if page is not None:
        _write_page(outcomes, page)


def _run(
    chosen: list[Reproduction],
    scale: str,
    store: Store,
    *,
    workers: int | None,
    device: str,
) -> None:
    """Run what is missing, study by study, with progress on standard error."""
    err = console(stderr=True)
    for i, each in enumerate(chosen):
        for study in each.studies(scale):
            place = f" ({i + 1} of {len(chosen)})" if len(chosen) > 1 else ""
            err.print(f"{each.name}{place}: {study.title}", markup=False, soft_wrap=True)
            run_shown(study, store, workers=workers, device=device)


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
    from recollect.reports import reproductions

    if as_json:
        print_json([reproductions.record(each) for each in outcomes])
        return
    out = console()
    print_table(*reproductions.claims_table(outcomes))
    out.print()
    out.print(reproductions.tally(outcomes), markup=False)


def _draw(outcomes: list[Outcome], folder: Path, forms: tuple[str, ...]) -> dict[str, Path]:
    """Write the figures of those that have results; returns where, by name."""
    from recollect.cli.report import written
    from recollect.reports.reproduction_figures import reproduction_figure
    from recollect.reports.style import save

    paths = {}
    for each in outcomes:
        figure = reproduction_figure(each)
        if figure is None:
            continue
        for form in forms:
            paths[each.reproduction.name] = path = folder / f"{each.reproduction.name}.{form}"
            save(figure, path)
            written(path)
    return paths


def _write_page(outcomes: list[Outcome], page: Path) -> None:
    from recollect.cli.report import written
    from recollect.reports.reproductions import write_page

    figures = _draw(outcomes, page.parent / "figures", ("png",))
    write_page(outcomes, figures, page)
    written(page)
