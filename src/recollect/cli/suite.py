"""`recollect suite`: a set of tasks on which every mixer is tuned in the same way."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recollect.cli.output import Adapt, Json, console, print_json, print_table
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
    from collections.abc import Sequence

    import pandas as pd

    from recollect.models.config import ModelConfig

LONGEST_STEM = 120
"""Most characters of a file's name before its digest and suffix."""


def suite(
    name: Annotated[
        str | None, typer.Argument(metavar="[SUITE]", help="A suite; default: list all.")
    ] = None,
    mixers: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MIXER]...",
            help="Mixers to tune: names of the catalogue, file.py:Class, hf:mamba2; default: none,"
            " only show stored results.",
        ),
    ] = None,
    budget: Annotated[
        str,
        typer.Option(
            metavar="quick|standard|paper",
            help="quick: one seed, minutes per mixer on two cores; standard: three seeds, hours;"
            " paper: sizes of the papers, for a GPU.",
        ),
    ] = "standard",
    width: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="d_model of all mixers; default: 64, or that of the suite's paper (mad at the"
            " budget paper: 128).",
        ),
    ] = None,
    adapt: Adapt = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a value, such as model.short_conv=3; repeatable.",
        ),
    ] = None,
    store: StoreOption = STORE,
    workers: Workers = None,
    device: Device = "auto",
    on: On = None,
    address: Address = None,
    gpus_per_job: GpusPerJob = None,
    retry_failed: RetryFailed = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write the table (CSV, Markdown) and the figure to a folder."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tune mixers on a set of tasks, and print one table of all mixers in the store.

    Stored trials are not run again, so the same command resumes after an interruption, and further
    mixers are added to the table.
    """
    from recollect.files import check_folder, make_folder
    from recollect.reports.suites import suite_notes, suite_table
    from recollect.studies.store import Store
    from recollect.suites.results import not_run, replaced, suite_frame
    from recollect.suites.suite import suite_model, suite_parts, suite_studies

    if name is None:
        _print_suites(as_json)
        return
    suite_parts(name, budget)
    if adapt and not any(map(_is_own, mixers or [])):
        raise UserError(f"--adapt {adapt[0]} needs a class to adapt: name it as MIXER")
    plain = [_plain(text, adapt or []) for text in mixers or []]
    models = [suite_model(name, budget, model, width) for model in plain]
    studies = suite_studies(name, models, budget, settings or []) if models else ()
    for study in studies:
        study.check()
    if out is not None:
        check_folder(out)
    make_folder(store.parent)
    with Store(store, must_exist=not studies) as opened:
        failed = {}
        for study in studies:
            listed = opened.cells(study.name) if study.name in opened.studies() else ()
            cells = study.cells()
            failed[study.name] = run_shown(
                study,
                opened,
                workers=workers,
                device=device,
                on=on,
                options=cluster_options(on, address=address, gpus_per_job=gpus_per_job),
                retry_failed=retry_failed,
                whole=(*(cell for cell in listed if cell not in cells), *cells),
            )
        found = suite_frame(opened, name, budget, settings or [])
        hidden = replaced(opened, name, budget, settings or [])
        missing = not_run(opened, name, budget, settings or [])
    caption = _caption(name, budget, settings or [])
    if as_json:
        asked = {"suite": name, "budget": budget, "settings": settings or []}
        left_out = {"notes": suite_notes(found), "not_shown": hidden, "not_run": missing}
        print_json({**asked, "results": found.to_dict("records"), **left_out})
    else:
        print_table(*suite_table(found))
        for line in (caption, *suite_notes(found)):
            console().print(line, style="dim", markup=False)
    if missing:
        err = f"not run yet, so not in the table: {', '.join(missing)}"
        console(stderr=True).print(err, markup=False, soft_wrap=True)
    if hidden:
        console(stderr=True).print(
            f"not shown, because a later run had a mixer of the same name: {', '.join(hidden)}; run"
            " the suite with such a mixer again to show it in place of the later one, without"
            " training it again",
            markup=False,
            soft_wrap=True,
        )
    if out is not None:
        _write(found, out, _stem(name, budget, settings or []), caption)
    exit_if_failed(failed, store)


def _plain(text: str, adapt: list[str]) -> ModelConfig:
    """A mixer in the backbone that all suites use."""
    from recollect.cli.find import parse_mixer
    from recollect.papers.zoo import plain_model

    return plain_model(parse_mixer(text, adapt if _is_own(text) else ()))


def _is_own(text: str) -> bool:
    """Whether a mixer is a class of the user's."""
    from recollect.cli.find import find_mixer

    return isinstance(find_mixer(text.partition("(")[0]), type)


def _print_suites(as_json: bool) -> None:
    from recollect.suites.suite import BUDGETS, SUITES, suite_parts

    names = {
        name: {budget: [part.name for part in suite_parts(name, budget)] for budget in BUDGETS}
        for name in SUITES
    }
    if as_json:
        print_json(names)
        return
    rows = [[name, SUITES[name].title, ", ".join(names[name]["standard"])] for name in SUITES]
    print_table(["suite", "measures", "tasks (standard budget)"], rows)
    console(stderr=True).print("recollect suite NAME MIXER... tunes mixers on one of them")


def _caption(name: str, budget: str, settings: Sequence[str]) -> str:
    """What the table shows."""
    from recollect.suites.suite import study_settings

    changes = study_settings(settings)
    changed = f", with {', '.join(changes)}" if changes else ""
    return (
        f"suite {name}, {budget} budget{changed}: test accuracy (range over seeds), share of the"
        " step budget used"
    )


def _stem(name: str, budget: str, settings: Sequence[str]) -> str:
    """The name of the files without suffix; suites of other studies have other names."""
    from recollect.config import digest
    from recollect.suites.suite import study_settings

    changes = study_settings(settings)
    words = "-".join([name, budget, *changes])
    plain = re.sub(r"[^\w.,=+-]", "_", words)[:LONGEST_STEM]
    return plain if plain == words else f"{plain}-{digest(changes)[:8]}"


def _write(found: pd.DataFrame, folder: Path, stem: str, caption: str) -> None:
    """Write the frame as CSV, the table as Markdown, and the figure if there is a result."""
    from recollect.cli.report import written
    from recollect.files import make_folder, replacing
    from recollect.reports.style import save
    from recollect.reports.suites import suite_figure, suite_markdown
    from recollect.text_output import write_text

    make_folder(folder)
    with replacing(folder / f"{stem}.csv") as temporary:
        found.to_csv(temporary, index=False)
    write_text(folder / f"{stem}.md", suite_markdown(found, caption))
    paths = [folder / f"{stem}.{form}" for form in ("csv", "md")]
    has_result = found["accuracy"].notna().any()
    for form in ("pdf", "png") if has_result else ():
        save(suite_figure(found), folder / f"{stem}.{form}")
        paths.append(folder / f"{stem}.{form}")
    written(*paths)
    if not has_result:
        console(stderr=True).print("no figure: no trial has a result yet")
