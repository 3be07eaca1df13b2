"""Standard streams that every text can be written to, wherever they lead, or nowhere."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

STANDARD = (0, 1, 2)
"""The numbers of standard input, output and error."""


def open_streams() -> None:
    """Have the three standard streams, and have them take any text.

    A closed one leads nowhere: its number must not go to the next file that is opened, such as a
    store, which a library that prints would write into. What an encoding lacks is written as an
    escape (`\\xe9`, `\\u5317`), not refused.
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
    """Write what is still held back; returns what stood in the way: a reader who had gone, or a
    full disk."""
    problem = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            problem = error
            with suppress(OSError, ValueError):  # or Python would try again at its exit
                _lead_nowhere(stream.fileno())
    return problem


def _lead_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == number:
        os.set_inheritable(number, True)
        return
    os.dup2(nowhere, number)
    os.close(nowhere)
