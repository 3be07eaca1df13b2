"""`startup`: the time of short commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from recollect.bench.measurement import Place, Result, seconds
from recollect.bench.settings import BenchSettings

COMMANDS = ("--help", "tasks")


def bench_startup(settings: BenchSettings) -> Iterator[Result]:
    """Seconds of short commands, each run as a process."""
    for word in COMMANDS:
        times = seconds(partial(_recollect, word), settings.repeats, "cpu")
        yield Place("startup", f"recollect {word}", {}).measured("time", "s", times)


def _recollect(word: str) -> None:
    command = [sys.executable, "-m", "recollect.cli", word]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
