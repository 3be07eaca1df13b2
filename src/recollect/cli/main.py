"""The program `recollect`."""

from __future__ import annotations

import errno
import sys

import typer

from recollect.cli import (
    bench,
    catalogue,
    check,
    probe,
    report_page,
    reproduce,
    run,
    sample,
    show,
    slice,
    store,
    suite,
    train_lm,
)
from recollect.cli.streams import close_streams, open_streams
from recollect.errors import CallsExit, UserError, show_warnings_plainly

UNREAD, UNWRITTEN = 141, 1
"""Exit codes for a closed pipe, and for output that cannot be written."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Error numbers of a full or broken disk."""

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
app.command("run")(run.run)
app.command("show")(show.show)
app.command("plot")(show.plot)
app.command("report")(report_page.report)
app.command("suite")(suite.suite)
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
    """Run the command line.

    Wrong input gives one message and exit code 2; output that cannot be written gives one message
    and exit code 1. A closed pipe, as after `| head`, ends the program silently.
    """
    open_streams()
    show_warnings_plainly()
    code: str | int | None = 0
    full: OSError | None = None
    try:
        app()
    except (UserError, CallsExit) as error:
        typer.echo(f"Error: {error}", err=True)
        code = 2
    except BrokenPipeError:
        code = UNREAD
    except OSError as error:
        if error.errno not in FULL:
            raise
        full = error
    except SystemExit as end:
        code = UNREAD if isinstance(end.__context__, BrokenPipeError) else end.code
    problem = close_streams() or full
    if isinstance(problem, BrokenPipeError):
        code = UNREAD
    elif problem is not None:
        typer.echo(f"Error: cannot write: {problem.strerror}", err=True)
        code = UNWRITTEN
    sys.exit(code)
