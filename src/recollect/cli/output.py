"""Output of commands, and parsing of their arguments."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.errors import UserError
from recollect.plain import finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.progress import Progress, TaskID

    from recollect.language.corpus import Corpus
    from recollect.language.progress import OnProgress

LOG_WIDTH = 200
"""Line width if the output is not a terminal; wide, so that table rows stay on one line."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Adapt = Annotated[
    list[str] | None,
    typer.Option(
        "--adapt",
        metavar="KEY=VALUE",
        help="How to build and call a class of your own, as in rc.adapt: d_model=dim,"
        " forward.attn_mask=causal, layout=LBD; repeatable.",
    ),
]


def console(*, stderr: bool = False) -> Console:
    """A console on standard output or standard error, without automatic highlighting."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # `main` handles it

    file = sys.stderr if stderr else sys.stdout
    width: int | None = LOG_WIDTH
    if file.isatty():  # rich reads COLUMNS=0 as a width of zero
        width = get_terminal_size().columns if os.environ.get("COLUMNS") == "0" else None
    return Plain(stderr=stderr, highlight=False, width=width)


def print_reading(corpus: Corpus) -> None:
    """Print on standard error how a text was read."""
    line = f"{corpus.name}: {corpus.reading}"
    console(stderr=True).print(line, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON document on standard output; NaN and infinity become null."""
    takes_all = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(finite(value), indent=2, allow_nan=False, ensure_ascii=not takes_all)
    sys.stdout.write(text + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output, fitted to its width."""
    from recollect.reports.text_table import fitted

    out = console()
    columns = [*map(_as_written, columns)]
    rows = [[*map(_as_written, row)] for row in rows]
    out.print(fitted(columns, rows, out.width), crop=False)


def _as_written(text: str) -> str:
    """Escape characters that standard output cannot encode, so that the printed width is known."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def progress_bars() -> Iterator[OnProgress]:
    """Yield a function `show(what, done, total)` that draws progress bars on standard error.

    Nothing is drawn if standard error is not a terminal.
    """
    from rich.progress import Progress, TextColumn

    err = console(stderr=True)
    columns = TextColumn("{task.description}", markup=False), *Progress.get_default_columns()[1:]
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:
        yield shown_in(bars)


def shown_in(bars: Progress) -> OnProgress:
    """Return a function `show(what, done, total)` that draws a bar for each `what`, below those
    before it."""
    tasks: dict[str, TaskID] = {}

    def show(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done)

    return show


def options_text(options: dict[str, dict[str, Any]]) -> str:
    """Options as in `seq_len, vocab_size=8192`; an option without a value is required."""
    return ", ".join(
        f"{name}={option['default']}" if "default" in option else name
        for name, option in options.items()
    )


def names(text: str | None) -> list[str]:
    """Split a list at its commas, except at those within brackets."""
    parts = re.split(r",(?![^(]*\))(?![^\[]*\])", text or "")
    return [part.strip() for part in parts if part.strip()]


def listed(option: str, text: str | None) -> list[str]:
    """The names that were given for an option, separated by commas; empty without the option.

    Raises:
        UserError: if the option was given without one, as happens with an unset shell variable.
    """
    found = names(text)
    if text is not None and not found:
        raise UserError(f"{option} is empty: give at least one value, or leave it out")
    return found


def whole_number(text: str) -> int:
    """Parse an option that takes a whole number of at least 0.

    Raises:
        typer.BadParameter: for anything else.
    """
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r}, expected 0, 1, 2, ...")
    return int(text)


def numbers(option: str, text: str | None) -> list[int]:
    """Parse a list of whole numbers separated by commas.

    Raises:
        UserError: if an item is not a whole number, or none was given for the option.
    """
    parts = listed(option, text)
    try:
        return [int(part) for part in parts]
    except ValueError:
        raise UserError(
            f"{option}={text}: expected whole numbers separated by commas, such as 64,128"
        ) from None
