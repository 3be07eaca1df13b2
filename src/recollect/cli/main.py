"""The program `recollect`."""

from __future__ import annotations

import sys

import typer

from recollect.cli import (
    bench,
    catalogue,
    check,
    probe,
    reproduce,
    sample,
    slice,
    store,
    study,
    train_lm,
)
from recollect.errors import UserError

app = typer.Typer(
    name="recollect",
    help="Measure how well sequence-mixing architectures recall what they read.",
    epilog="A first result in minutes: recollect run demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(study.run)
app.command("show")(study.show)
app.command("plot")(study.plot)
app.command("tasks")(catalogue.tasks)
app.command("mixers")(catalogue.mixers)
app.command("check")(check.check)
app.command("bench")(bench.bench)
app.command("reproduce")(reproduce.reproduce)
app.command("slice")(slice.slice_text)
app.command("probe")(probe.probe_model)
app.command("train-lm")(train_lm.train_lm)
app.command("sample")(sample.sample)
app.command("export")(store.export)
app.command("merge")(store.merge)


def main() -> None:
    """Run the command line; wrong input is one message and exit code 2."""
    try:
        app()
    except UserError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)
