"""What is typed at the command line, run in this process."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from recollect.cli.main import main

STUDY = f"{Path(__file__).with_name('tiny_study.py')}:tiny"


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


def typed(*words: object) -> Answer:
    """Run the program with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        patch.object(sys, "argv", ["recollect", *map(str, words)]),
        patch.object(sys, "path", list(sys.path)),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return Answer(code, out.getvalue(), err.getvalue())
