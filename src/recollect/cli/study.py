"""`recollect run`, `show` and `plot`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.cli.output import Adapt, Json, console, names, numbers, print_reading, whole_number
from recollect.errors import UserError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from recollect.studies.store import Store
    from recollect.studies.study import Study

STORE = Path("recollect.db")
FORMATS = ("pdf", "png", "svg")
FAILED, INTERRUPTED = 1, 130
"""The exit codes of a run some trial of which has failed, and of programs that Ctrl-C ended."""

StoreOption = Annotated[
    Path, typer.Option("--store", metavar="FILE", help="The file of results.", show_default=True)
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        parser=whole_number,
        metavar="N",
        help="Processes that train on the CPU, one for each core if left out; 0: this one.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="auto|cpu|cuda", help="Where to train; cuda:1 is the second GPU."
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Try again the trials that have failed.")
]
StudyInStore = Annotated[
    str | None,
    typer.Argument(metavar="[STUDY]", help="A study in the store; the latest if left out."),
]


def run(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            help="A shipped study, or a function of your own that returns one:"
            " package.module:function or file.py:function.",
        ),
    ],
    store: StoreOption = STORE,
    mixers: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Only these mixers of the study, or a class of your own in its place:"
            " file.py:Class, package.module:Class, hf:mamba2.",
        ),
    ] = None,
    adapt: Adapt = None,
    tasks: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these tasks, such as 64x4,128x8.")
    ] = None,
    widths: Annotated[
        str | None, typer.Option(metavar="N,M", help="Only these widths (d_model).")
    ] = None,
    depths: Annotated[
        str | None, typer.Option(metavar="N,M", help="Only these depths (n_layers).")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(parser=whole_number, metavar="N", help="Only the first N seeds."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Set a value, such as train.steps=500; repeatable."
        ),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="laptop|paper|paper-text",
            help="Size of a shipped study; laptop if left out. paper-text: as the paper's text has"
            " it, where its code differs (zoology-figure2).",
        ),
    ] = None,
    workers: Workers = None,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="auto|cpu|cuda",
            help="Where to train; cuda:1 is the second GPU; cuda:0,cuda:1 or cuda:all: several, a"
            " process for each.",
        ),
    ] = "auto",
    population: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help="Trials of one shape that a process trains as one program: 64 on a GPU if left"
            " out; on the CPU, with --workers 0, 1.",
        ),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            metavar="processes|population|ray",
            help="What runs the trials: processes of this machine, this process, or a Ray cluster"
            " (extra `ray`, docs/cluster.md).",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="The head of the Ray cluster; if left out that of RAY_ADDRESS, or else Ray is"
            " started on this machine.",
        ),
    ] = None,
    gpus_per_job: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="With --on ray: the share of a GPU, such as 0.5."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Only the cells of one of N parts of about equal work, such as 2/8; `recollect"
            " merge` puts the stores of all parts together.",
        ),
    ] = None,
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Keep the trained models beside the store.")
    ] = False,
    artifacts: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|URL",
            help="Where checkpoints lie while the study runs, such as s3://bucket/study (extra"
            " `cluster`); beside the store if left out.",
        ),
    ] = None,
    observe: Annotated[
        bool,
        typer.Option(
            "--observe",
            help="Observe the models in training, for `recollect plot --kind dynamics`; stored"
            " trials that were not are run again.",
        ),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget the study's stored trials and start over.")
    ] = False,
    retry_failed: RetryFailed = False,
    track: Annotated[
        str | None,
        typer.Option(
            metavar="trackio|wandb|tensorboard",
            help="Log each trial as a run there, the study as a group (docs/trackers.md).",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the table and figures to a folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a study and print its table.

    What is in the store already is not run again: after an interruption the same command goes on.
    Where trials have failed the exit code is 1.
    """
    from recollect.cli.find import find_study, with_own_mixers
    from recollect.cli.report import print_left_out, print_study, write_all
    from recollect.execution.places import place
    from recollect.files import check_folder, make_folder
    from recollect.language.text_task import Text
    from recollect.reports.notes import former_count
    from recollect.studies.narrow import narrow, override, whole_cells
    from recollect.studies.part import Part
    from recollect.studies.store import Store

    found, labels = with_own_mixers(find_study(study, scale), names(mixers), adapt or [])
    chosen = narrow(
        found,
        mixers=labels,
        tasks=names(tasks),
        widths=numbers("--widths", widths),
        depths=numbers("--depths", depths),
        seeds=seeds,
    )
    chosen = override(chosen, settings or [])
    if observe:
        chosen = chosen.replace(observe=True)
    chosen.check()
    options = _options(on, address=address, gpus_per_job=gpus_per_job)
    place(on, device, workers, population, options)
    asked = None if part is None else Part.parse(part)
    if asked is not None:
        cells = chosen.cells()
        console(stderr=True).print(f"part {part}: {len(asked.of(cells))} of {len(cells)} cells")
    for text in (task for task in chosen.tasks if isinstance(task, Text)):
        print_reading(text.data.corpus)
    if out is not None:
        check_folder(out)
    make_folder(store.parent)
    with Store(store) as opened:
        before = former_count(opened, chosen.name)
        failed = run_shown(
            chosen,
            opened,
            workers=workers,
            device=device,
            population=population,
            on=on,
            options=options,
            artifacts=artifacts,
            keep_weights=keep_weights,
            fresh=fresh,
            retry_failed=retry_failed,
            track=track,
            whole=whole_cells(found, chosen, settings or []),
            part=asked,
        )
        if settings:
            print_left_out(former_count(opened, chosen.name) - before)
        print_study(opened, chosen.name, as_json=as_json)
        if out is not None:
            write_all(opened, chosen.name, out)
    exit_if_failed(failed)


def show(
    study: StudyInStore = None,
    store: StoreOption = STORE,
    trials: Annotated[bool, typer.Option("--trials", help="Every trial, not every cell.")] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="The trials that failed, each with its traceback.")
    ] = False,
    former: Annotated[
        bool, typer.Option("--former", help="The cells with results that the study had before.")
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
    as_json: Json = False,
) -> None:
    """Print the table of a stored study, or write it to files."""
    from recollect.cli import report
    from recollect.reports import tables
    from recollect.studies.results import cells_frame, failures_frame, former_frame, trials_frame
    from recollect.studies.store import Store

    if trials + failed + former > 1:
        raise UserError("--trials, --failed and --former are different tables: choose one")
    for option, path in (("--latex", latex), ("--markdown", markdown)):
        if (trials or failed or former) and path is not None:
            raise UserError(
                f"{option} writes the table of cells: leave out --trials, --failed and --former, or"
                " take --csv"
            )
    table: Callable[[Store, str], pd.DataFrame] = cells_frame
    if trials or failed or former:
        table = trials_frame if trials else failures_frame if failed else former_frame
    with Store(store, must_exist=True) as opened:
        name = study or report.latest_study(opened)
        frame = table(opened, name)
        if csv is not None:
            tables.write_csv(frame, csv)
        if parquet is not None:
            tables.write_parquet(frame, parquet)
        if latex is not None:
            tables.write_latex(frame, latex)
        if markdown is not None:
            tables.write_markdown(frame, markdown)
        if trials:
            report.print_trials(frame, as_json=as_json)
        elif failed:
            report.print_failed(frame, name, as_json=as_json)
        elif former:
            report.print_former(frame, name, as_json=as_json)
        else:
            report.print_study(opened, name, as_json=as_json)
        report.written(csv, parquet, latex, markdown)


def plot(
    study: StudyInStore = None,
    store: StoreOption = STORE,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="accuracy|learning-rate|training|dynamics|attention-map|gaps|tradeoff|capacity",
            help="Which figure; if left out all that the results allow but tradeoff, which needs"
            " --bench, and capacity, which measures the models' states.",
        ),
    ] = None,
    bench: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What `recollect bench mixers --out FILE` has written."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What --kind accuracy shows in place of accuracy."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR|FILE", help="A folder, or a file for a single figure.")
    ] = Path(),
    form: Annotated[
        str | None, typer.Option("--format", metavar="pdf|png|svg", help="pdf if left out.")
    ] = None,
) -> None:
    """Draw the figures of a stored study."""
    from recollect.cli import report
    from recollect.reports.study_figures import ALL_KINDS, TRADEOFF
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
        raise UserError(f"--out {out} is no {form}: leave out --format, or give .{form}")
    with Store(store, must_exist=True) as opened:
        name = study or report.latest_study(opened)
        drawn = [kind] if kind else report.drawable(opened, name)
        paths = {each: out if is_file else out / f"{each}.{form or FORMATS[0]}" for each in drawn}
        report.draw(opened, name, paths, bench, metric)
    report.written(*paths.values())


def run_shown(study: Study, store: Store, track: str | None = None, **options: Any) -> int:
    """Run a study with its progress on standard error, and told to a tracker; returns how many
    trials have failed."""
    from recollect.reports.progress import display
    from recollect.studies.listeners import all_of
    from recollect.studies.runner import run_study
    from recollect.tracking.trackers import tracking

    err = console(stderr=True)
    try:
        with display(err) as shown, tracking(track, study.name, store.path) as tracked:
            return run_study(study, store, on_event=all_of(shown.show, tracked), **options)
    except KeyboardInterrupt:
        err.print("interrupted: what was finished is stored, the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None


def _options(on: str | None, **given: str | None) -> dict[str, str]:
    """The settings of an executor that were given."""
    found = {name: value for name, value in given.items() if value is not None}
    if found and on != "ray":
        raise UserError(f"--{next(iter(found)).replace('_', '-')} is for --on ray: give both")
    return found


def exit_if_failed(failed: int) -> None:
    """End with the exit code of a run some trial of which has failed, and say what to do."""
    if failed:
        trials = f"{failed} trial{'s' if failed > 1 else ''}"
        console(stderr=True).print(
            f"{trials} failed: `recollect show --failed` says why; the same command with"
            " --retry-failed tries again"
        )
        raise typer.Exit(FAILED)
