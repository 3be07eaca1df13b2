"""Check and measure this package on a GPU; results are lines of JSON, each written at once.

    python -m recollect.bench.gpu --out gpu.jsonl
    python -m recollect.bench.gpu --out cpu.jsonl --device cpu --quick

Each section runs in its own process with a time limit, so that a CUDA error or an endless loop does
not affect the others. All sections together take at most eight minutes. A line has its `section`
and `ok`, the result of a check; the last line of a section says how the section ended.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from recollect.bench import gpu_checks, gpu_speed
from recollect.bench.gpu_place import GpuPlace, Line
from recollect.errors import summary, unknown


@dataclass(frozen=True)
class Section:
    """A part of the check.

    Attributes:
        lines: yields its results.
        seconds: its time limit.
    """

    lines: Callable[[GpuPlace], Iterator[Line]]
    seconds: int


SECTIONS = {
    "device": Section(gpu_speed.device, 30),
    "numerics": Section(gpu_checks.numerics, 80),
    "population": Section(gpu_checks.population, 80),
    "study": Section(gpu_checks.study, 70),
    "speed": Section(gpu_speed.speed, 140),
    "memory": Section(gpu_speed.memory, 50),
}
SECONDS = 470
"""Time limit of all sections together."""
AT_THE_END = 5
"""Seconds before its limit at which a section should end by itself."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 0 if all checks are ok."""
    given = _parser().parse_args(arguments)
    wanted = [name for name in given.only.split(",") if name] or list(SECTIONS)
    for name in wanted:
        if name not in SECTIONS:
            raise unknown("section", name, SECTIONS)
    out = Path(given.out).resolve()
    if given.section:
        return _run_section(
            given.section, out, GpuPlace.of(given.device, given.quick, given.seconds)
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("")
    began = time.monotonic()
    for name in wanted:
        left = given.patience * SECONDS - (time.monotonic() - began)
        limit = min(given.patience * SECTIONS[name].seconds, left)
        _write(out, name, _in_its_process(name, limit, given, out))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    failed = [line for line in lines if line["ok"] is False]
    for line in failed:
        sys.stderr.write(f"not ok: {json.dumps(line)}\n")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m recollect.bench.gpu", description=__doc__)
    parser.add_argument("--out", required=True, help="the file to write")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try this program")
    parser.add_argument("--quick", action="store_true", help="use the smallest sizes")
    parser.add_argument("--only", default="", help=f"sections to run, of {','.join(SECTIONS)}")
    parser.add_argument("--patience", type=float, default=1.0, help="factor on all time limits")
    parser.add_argument("--section", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=60.0, help=argparse.SUPPRESS)
    return parser


def _in_its_process(name: str, limit: float, given: argparse.Namespace, out: Path) -> Line:
    """Run a section in a process; returns a line on how it ended."""
    if limit < 2 * AT_THE_END:
        return {"end": "no time left", "ok": None}
    words = [sys.executable, "-m", "recollect.bench.gpu", "--section", name, "--out", str(out)]
    words += ["--device", given.device, "--seconds", str(limit - AT_THE_END)]
    words += ["--quick"] if given.quick else []
    began = time.monotonic()
    with TemporaryFile("w+") as errors:
        process = subprocess.Popen(  # a new session, so that its children can be killed with it
            words, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
        )
        try:
            code: int | None = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        line: Line = {"seconds": time.monotonic() - began, "ok": code == 0}
        if code == 0:
            return {"end": "done", **line}
        errors.seek(0)
        end = "time limit reached" if code is None else f"exit code {code}"
        return {"end": end, **line, "stderr": errors.read()[-1000:]}


def _run_section(name: str, out: Path, place: GpuPlace) -> int:
    """The main function of a section's process."""
    try:
        for line in SECTIONS[name].lines(place):
            _write(out, name, line)
    except Exception as error:
        _write(out, name, {"error": f"{type(error).__name__}: {summary(error)}", "ok": False})
        return 1
    return 0


def _write(out: Path, section: str, line: Line) -> None:
    with out.open("a") as file:
        file.write(json.dumps({"section": section, **line}, default=_plain) + "\n")


def _plain(value: Any) -> str:
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
