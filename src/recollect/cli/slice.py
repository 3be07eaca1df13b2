"""`recollect slice`: how much of the loss gap between language models comes from recall."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.cli.option_names import as_typed
from recollect.cli.output import (
    Json,
    console,
    print_json,
    print_reading,
    print_table,
    progress_bars,
)
from recollect.language.kept import FOLDER, VARIABLE

if TYPE_CHECKING:
    from recollect.language.compare import Comparison

OPTIONS = {"context": "--context", "stride": "--stride", "n": "--n"}
AROUND = ("begins_with", "leaves_out")
"""Settings that differ between models."""
IN_TRAINING = (
    "Documents of the text that are in the training text too: {:,}. For their AR hits, an n-gram's"
    " count in training includes the hit itself. To measure on other text, give --text TEXT@test"
    " and --train-text TEXT@train."
)
CURVE = "\nshare of the loss gap on AR hits (unclipped), by the bound on the training count:"
FIGURES = {"train-count": ("train_count", "repeated"), "distance": ("distance", "hits")}


def slice_text(
    text: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="The text to measure on: a file, a folder, datasets:NAME or python-stdlib; add"
            " @train, @valid or @test for that part of it.",
        ),
    ],
    train_text: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="The models' training text, in which n-grams are counted."
        ),
    ],
    models: Annotated[
        list[str],
        typer.Option(
            "--model",
            metavar="MODEL",
            help="A model folder of Recollect or transformers, or a name on the hub; repeatable."
            " The others are compared with the first.",
        ),
    ],
    n: Annotated[int, typer.Option("--n", metavar="N", min=1, help="Length of the n-grams.")] = 2,
    max_train_counts: Annotated[
        list[int] | None,
        typer.Option(
            "--max-train-count",
            metavar="N",
            min=0,
            help="A repeated n-gram is an AR hit if it occurs at most N times in the training text;"
            " repeatable, slices use the first. Default: 1250 and 10.",
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Tokens of the text that a model reads at a time, without BOS; default: 2048, or"
            " the longest that all models allow.",
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Tokens between the starts of two contexts; default: the context.",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda", help="Where to run models.")
    ] = "auto",
    keep: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            envvar=VARIABLE,
            help="Folder that caches tokens, counts and losses.",
        ),
    ] = Path(FOLDER),
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write tables and figures to a folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure recall on real text: the share of a loss gap that lies on AR hits.

    An AR hit is the last token of an n-gram that occurred earlier in the same context but rarely in
    training. The share is printed for many bounds on the count in training.
    """
    from recollect.cli.find import import_from_here
    from recollect.files import check_folder
    from recollect.language.ar_hits import MAX_TRAIN_COUNTS
    from recollect.language.compare import compare
    from recollect.language.sources import check_outside

    for folder in filter(None, (keep, out)):
        check_folder(folder)
        for read in (text, train_text):
            check_outside(read, folder)
    import_from_here()
    with as_typed(OPTIONS), progress_bars() as on_progress:
        found = compare(
            models,
            text=text,
            train_text=train_text,
            folder=keep,
            n=n,
            max_train_counts=list(dict.fromkeys(max_train_counts or MAX_TRAIN_COUNTS)),
            context=context,
            stride=stride,
            device=device,
            on_progress=on_progress,
            on_text=print_reading,
        )
    shared = found.settings["documents_in_train_text"]
    if shared:
        console(stderr=True).print(IN_TRAINING.format(shared), markup=False, soft_wrap=True)
    if out is not None:
        _write(found, out)
    if as_json:
        print_json(_document(found))
    else:
        _print(found)


def _document(found: Comparison) -> dict[str, Any]:
    from recollect.reports.tables import records

    return {
        "settings": found.settings,
        "gap": records(found.gap),
        "curve": records(found.curve),
        "slices": records(found.slices),
    }


def _print(found: Comparison) -> None:
    from recollect.reports.language_tables import beginnings_text, readable_curve, readable_gap

    print_table(*readable_gap(found.gap))
    if found.gap["model"].nunique() > 1:
        console().print(CURVE, style="dim", markup=False)
        print_table(*readable_curve(found.curve))
    shared = [f"{name}={value}" for name, value in found.settings.items() if name not in AROUND]
    lines = ["", beginnings_text(*(found.settings[name] for name in AROUND)), ", ".join(shared)]
    console().print("\n".join(lines), style="dim", markup=False)


def _write(found: Comparison, folder: Path) -> None:
    from recollect.cli.report import written
    from recollect.reports.language_figures import curve_figure, slice_figure
    from recollect.reports.style import save
    from recollect.reports.tables import write_csv

    tables = {"gap.csv": found.gap, "curve.csv": found.curve, "slices.csv": found.slices}
    for name, table in tables.items():
        write_csv(table, folder / name)
    bound = int(found.gap["max_train_count"].iloc[0])
    drawn = {
        name: slice_figure(found.slices, by, among, max_train_count=bound)
        for name, (by, among) in FIGURES.items()
    }
    if found.gap["model"].nunique() > 1:
        drawn["curve"] = curve_figure(found.curve)
    paths = {folder / f"{name}.{form}": name for name in drawn for form in ("pdf", "png")}
    for path, name in paths.items():
        save(drawn[name], path)
    written(*(folder / name for name in tables), *paths)
