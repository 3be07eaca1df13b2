"""`recollect show` and `plot`: the tables and figures of stored studies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recollect.cli.output import Json
from recollect.cli.where import STORE, StoreOption
from recollect.errors import UserError, unknown
from recollect.reports.kinds import ALL_KINDS, TRADEOFF

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from recollect.studies.store import Store

FORMATS = ("pdf", "png", "svg")

StudyInStore = Annotated[
    str | None,
    typer.Argument(metavar="[STUDY]", help="A study in the store; default: the latest."),
]


def show(
    study: StudyInStore = None,
    store: StoreOption = STORE,
    trials: Annotated[
        bool, typer.Option("--trials", help="Print trials in place of cells.")
    ] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="Print failed trials with their tracebacks.")
    ] = False,
    former: Annotated[
        bool,
        typer.Option("--former", help="Print cells with results that the study no longer has."),
    ] = False,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table as CSV.")
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table as Parquet.")
    ] = None,
    latex: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table of cells as LaTeX.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table of cells as Markdown.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Columns of the table of cells, in their order, such as"
            " mixer,d_model,'test accuracy'; for the terminal, --latex and --markdown.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the table of a stored study, or write it to files."""
    from recollect.cli import report
    from recollect.reports import tables
    from recollect.studies.results import cells_frame, failures_frame, former_frame, trials_frame
    from recollect.studies.store import Store

    if trials + failed + former > 1:
        raise UserError("--trials, --failed and --former are different tables: choose one of them")
    for option, path in (("--latex", latex), ("--markdown", markdown)):
        if (trials or failed or former) and path is not None:
            raise UserError(
                f"{option} writes only the table of cells: leave out --trials, --failed and"
                " --former, or use --csv"
            )
    if columns is not None and (trials or failed or former or csv or parquet or as_json):
        raise UserError(
            "--columns is for the table of cells in the terminal, --latex and --markdown: leave out"
            " --trials, --failed, --former, --csv, --parquet and --json"
        )
    table: Callable[[Store, str], pd.DataFrame] = cells_frame
    if trials or failed or former:
        table = trials_frame if trials else failures_frame if failed else former_frame
    with Store(store, must_exist=True) as opened:
        name = study or report.latest_study(opened)
        frame = table(opened, name)
        chosen = None
        if columns is not None:
            chosen = tables.named_columns(columns, tables.readable(frame)[0])
        if csv is not None:
            tables.write_csv(frame, csv)
        if parquet is not None:
            tables.write_parquet(frame, parquet)
        if latex is not None:
            tables.write_latex(frame, latex, study=name, columns=chosen)
        if markdown is not None:
            tables.write_markdown(frame, markdown, columns=chosen)
        if trials:
            report.print_trials(frame, as_json=as_json)
        elif failed:
            report.print_failed(frame, name, as_json=as_json)
        elif former:
            report.print_former(frame, name, as_json=as_json)
        else:
            report.print_study(opened, name, as_json=as_json, columns=chosen)
        report.written(csv, parquet, latex, markdown)


def plot(
    study: StudyInStore = None,
    store: StoreOption = STORE,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(ALL_KINDS),
            help="The figure; default: all that the results allow, except tradeoff, which needs"
            " --bench, and capacity and state, which first measure the models' recurrent states.",
        ),
    ] = None,
    bench: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="For --kind tradeoff: the file of `recollect bench mixers --out FILE`.",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="For --kind accuracy: the metric to show."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR|FILE", help="A folder, or a file for a single figure.")
    ] = Path(),
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="pdf|png|svg", help="File format; default: pdf."),
    ] = None,
) -> None:
    """Draw the figures of a stored study."""
    from recollect.cli import report
    from recollect.cli.find import import_from_here
    from recollect.studies.store import Store

    if kind is not None and kind not in ALL_KINDS:
        raise unknown("kind of figure", kind, ALL_KINDS)
    if kind == TRADEOFF and bench is None:
        raise UserError(
            "--kind tradeoff needs --bench FILE, which `recollect bench mixers --out FILE` writes"
        )
    if kind != TRADEOFF and bench is not None:
        raise UserError(f"--bench {bench} is for --kind tradeoff: give both or neither")
    if metric is not None and kind != "accuracy":
        raise UserError(f"--metric {metric} is for --kind accuracy: give both or neither")
    if form is not None and form not in FORMATS:
        raise unknown("format", form, FORMATS)
    is_file = bool(out.suffix) and not out.is_dir()
    if is_file and kind is None:
        raise UserError(f"--out {out} is one file: choose its figure with --kind")
    if is_file and form is not None and out.suffix != f".{form}":
        raise UserError(f"--out {out} does not end in .{form}: change it, or leave out --format")
    import_from_here()  # some figures measure models
    with Store(store, must_exist=True) as opened:
        name = study or report.latest_study(opened)
        drawn = [kind] if kind else report.drawable(opened, name)
        paths = {each: out if is_file else out / f"{each}.{form or FORMATS[0]}" for each in drawn}
        report.draw(opened, name, paths, bench, metric)
    report.written(*paths.values())
