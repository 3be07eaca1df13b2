"""Standard streams that accept any text, even if they are closed."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

STANDARD = (0, 1, 2)
"""File descriptors of standard input, output and error."""


def open_streams() -> None:
    """Open closed standard streams on the null device, and make output accept any text.

    Otherwise the next opened file, such as a store, would get the descriptor of a closed stream,
    and a library that prints would write into it. Characters that the encoding lacks are written as
    escapes (`\\xe9`, `\\u5317`).
    """
    for number in STANDARD:
        try:
            os.fstat(number)
        except OSError:
            _lead_nowhere(number)
    sys.stdout = sys.stdout or io.TextIOWrapper(io.FileIO(1, "w", closefd=False))
    sys.stderr = sys.stderr or io.TextIOWrapper(io.FileIO(2, "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def close_streams() -> OSError | None:
    """Flush the output streams; returns the error if that fails (closed pipe, full disk)."""
    problem = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            problem = error
            with suppress(OSError, ValueError):  # else Python would try to flush again at exit
                _lead_nowhere(stream.fileno())
    return problem


def _lead_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == number:
        os.set_inheritable(number, True)
        return
    os.dup2(nowhere, number)
    os.close(nowhere)
