"""What commands print, and how they read what is typed."""

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
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from recollect.language.corpus import Corpus

LOG_WIDTH = 200
"""Characters in a line where the output is no terminal, so that tables keep their rows whole."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Adapt = Annotated[
    list[str] | None,
    typer.Option(
        "--adapt",
        metavar="KEY=VALUE",
        help="How a class of your own is built and called, as rc.adapt has it: d_model=dim,"
        " forward.attn_mask=causal, layout=LBD; repeatable.",
    ),
]


def console(*, stderr: bool = False) -> Console:
    """Standard output, or standard error, with no numbers or paths coloured by guess."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # `main` knows what to do

    file = sys.stderr if stderr else sys.stdout
    width: int | None = LOG_WIDTH
    if file.isatty():  # rich takes COLUMNS=0 for a terminal of no width
        width = get_terminal_size().columns if os.environ.get("COLUMNS") == "0" else None
    return Plain(stderr=stderr, highlight=False, width=width)


def print_reading(corpus: Corpus) -> None:
    """How a text was read, on standard error."""
    line = f"{corpus.name}: {corpus.reading}"
    console(stderr=True).print(line, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON document on standard output; what is not a number (NaN, infinite) is null."""
    takes_all = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(finite(value), indent=2, allow_nan=False, ensure_ascii=not takes_all)
    sys.stdout.write(text + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output, as wide as that allows."""
    from recollect.reports.text_table import fitted

    out = console()
    columns = [*map(_as_written, columns)]
    rows = [[*map(_as_written, row)] for row in rows]
    out.print(fitted(columns, rows, out.width), crop=False)


def _as_written(text: str) -> str:
    """A text with escapes for what the encoding of standard output lacks, so that its width is
    known."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """What is called with something that takes time, how far it is and how far it goes; each has a
    bar on standard error, none in a log."""
    from rich.progress import Progress, TaskID

    err = console(stderr=True)
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield show


def options_text(options: dict[str, dict[str, Any]]) -> str:
    """`seq_len, vocab_size=8192`: those without a value must be given."""
    return ", ".join(
        f"{name}={option['default']}" if "default" in option else name
        for name, option in options.items()
    )


def names(text: str | None) -> list[str]:
    """The parts of a list separated by commas; those within parentheses separate nothing."""
    parts = re.split(r",(?![^(]*\))", text or "")
    return [part.strip() for part in parts if part.strip()]


def whole_number(text: str) -> int:
    """A number of things, for an option to be parsed with.

    Raises:
        typer.BadParameter: for anything else; it names the option.
    """
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r}, expected 0, 1, 2, ...")
    return int(text)


def numbers(option: str, text: str | None) -> list[int]:
    """The whole numbers of a list separated by commas.

    Raises:
        UserError: for anything else in it.
    """
    try:
        return [int(part) for part in names(text)]
    except ValueError:
        raise UserError(
            f"{option}={text}: expected whole numbers separated by commas, such as 64,128"
        ) from None
