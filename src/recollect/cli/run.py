"""`recollect run`: run a study with progress, and print its table."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.cli.output import Adapt, Json, console, listed, numbers, print_reading, whole_number
from recollect.cli.where import (
    STORE,
    Address,
    GpusPerJob,
    On,
    RetryFailed,
    StoreOption,
    Workers,
    cluster_options,
)

if TYPE_CHECKING:
    from recollect.studies.store import Store
    from recollect.studies.study import Study

FAILED, INTERRUPTED = 1, 130
"""Exit codes of a run with failed trials, and of a program ended by Ctrl-C."""


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
            help="Only these mixers: labels of the study, or further ones (kda, file.py:Class,"
            " package.module:Class, hf:mamba2).",
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
            help="Size of a shipped study; default: laptop. paper-text: the protocol in the paper's"
            " text, where its code differs (zoology-figure2).",
        ),
    ] = None,
    workers: Workers = None,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="auto|cpu|cuda",
            help="Where to train; cuda:1 is the second GPU; cuda:0,cuda:1 or cuda:all: several"
            " GPUs, with one process each.",
        ),
    ] = "auto",
    population: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help="Trials of one shape that a process trains together; default: 64 on a GPU, 1 on"
            " the CPU, where more needs --workers 0.",
        ),
    ] = None,
    on: On = None,
    address: Address = None,
    gpus_per_job: GpusPerJob = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Run only the I-th of N parts of about equal work, such as 2/8; `recollect merge`"
            " combines the stores of all parts.",
        ),
    ] = None,
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Keep the trained models beside the store.")
    ] = False,
    artifacts: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|URL",
            help="Where to keep checkpoints while the study runs, such as s3://bucket/study (extra"
            " `cluster`); default: beside the store.",
        ),
    ] = None,
    observe: Annotated[
        bool,
        typer.Option(
            "--observe",
            help="Observe the models during training, for `recollect plot --kind dynamics`; stored"
            " trials without observations are run again.",
        ),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete the study's stored trials and start over.")
    ] = False,
    retry_failed: RetryFailed = False,
    track: Annotated[
        str | None,
        typer.Option(
            metavar="trackio|wandb|tensorboard",
            help="Log each trial as a run of a tracker, grouped by study (docs/trackers.md).",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the table and figures to a folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a study and print its table.

    Stored trials are not run again, so the same command resumes after an interruption. If trials
    fail, the exit code is 1.
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

    named = listed("--mixers", mixers)
    found, labels = with_own_mixers(find_study(study, scale), named, adapt or [])
    chosen = narrow(
        found,
        mixers=labels,
        tasks=listed("--tasks", tasks),
        widths=numbers("--widths", widths),
        depths=numbers("--depths", depths),
        seeds=seeds,
    )
    chosen = override(chosen, settings or [])
    if observe:
        chosen = chosen.replace(observe=True)
    chosen.check()
    options = cluster_options(on, address=address, gpus_per_job=gpus_per_job)
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
    exit_if_failed({chosen.name: failed}, store)


def run_shown(study: Study, store: Store, track: str | None = None, **options: Any) -> int:
    """Run a study with progress on standard error and tracking.

    Returns the number of failed trials.
    """
    from recollect.reports.progress import display
    from recollect.studies.listeners import all_of
    from recollect.studies.runner import run_study
    from recollect.tracking.trackers import tracking

    err = console(stderr=True)
    try:
        with display(err) as shown, tracking(track, study.name, store.path) as tracked:
            return run_study(study, store, on_event=all_of(shown.show, tracked), **options)
    except KeyboardInterrupt:
        err.print("interrupted: finished trials are stored, and the same command resumes the study")
        raise typer.Exit(INTERRUPTED) from None


def exit_if_failed(failed: Mapping[str, int], store: Path) -> None:
    """If trials have failed, say what to do and exit with an error code.

    Args:
        failed: the number of failed trials of each study.
        store: the file of results.
    """
    from recollect.reports.tables import plural

    count = sum(failed.values())
    if count:
        where = "" if store == STORE else f" --store {shlex.quote(str(store))}"
        shown = [
            f"  recollect show {shlex.quote(study)} --failed{where}"
            for study, number in failed.items()
            if number
        ]
        console(stderr=True).print(
            f"{plural(count, 'trial')} failed; the same command with --retry-failed tries again."
            " This says why:",
            *shown,
            sep="\n",
            markup=False,
            soft_wrap=True,
        )
        raise typer.Exit(FAILED)
