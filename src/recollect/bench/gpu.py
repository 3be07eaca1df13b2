"""Check and measure this package on a GPU; results are lines of JSON, each written at once.

    python -m recollect.bench.gpu --out gpu.jsonl
    python -m recollect.bench.gpu --out cpu.jsonl --device cpu --quick

Each section runs in its own process with a time limit, so that a CUDA error or an endless loop does
not affect the others. Checks of many architectures are divided among several processes, because
most of their time goes into compiling kernels. All sections together take at most eight minutes. A
line has its `section` and `ok`, the result of a check; the last line of a section says how the
section ended.
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
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from recollect.bench import gpu_checks, gpu_speed
from recollect.bench.gpu_place import GpuPlace, Line
from recollect.errors import summary, unknown


@dataclass(frozen=True)
class Section:
    """A part of the check.

    Attributes:
        lines: yields its results.
        seconds: its time limit.
        divided: whether several processes share its items.
    """

    lines: Callable[[GpuPlace], Iterator[Line]]
    seconds: int
    divided: bool = False


SECTIONS = {
    "device": Section(gpu_speed.device, 30),
    "numerics": Section(gpu_checks.numerics, 100, divided=True),
    "population": Section(gpu_checks.population, 100, divided=True),
    "study": Section(gpu_checks.study, 70),
    "speed": Section(gpu_speed.speed, 140),
    "memory": Section(gpu_speed.memory, 50),
}
SECONDS = 470
"""Time limit of all sections together."""
AT_THE_END = 5
"""Seconds before its limit at which a section should end by itself."""
PROCESSES = min(8, max(1, (os.cpu_count() or 1) // 2))
"""Processes of a section that is divided."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 0 if all checks are ok."""
    given = _parser().parse_args(arguments)
    wanted = [name for name in given.only.split(",") if name] or list(SECTIONS)
    for name in wanted:
        if name not in SECTIONS:
            raise unknown("section", name, SECTIONS)
    out = Path(given.out).resolve()
    if given.section:
        part, parts = given.part
        place = GpuPlace.of(given.device, given.quick, given.seconds, part, parts)
        return _run_section(given.section, out, place)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("")
    began = time.monotonic()
    for name in wanted:
        left = given.patience * SECONDS - (time.monotonic() - began)
        limit = min(given.patience * SECTIONS[name].seconds, left)
        _write(out, name, _in_processes(name, limit, given, out))
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
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help=argparse.SUPPRESS)
    return parser


def _in_processes(name: str, limit: float, given: argparse.Namespace, out: Path) -> Line:
    """Run a section in its processes; returns a line on how it ended."""
    if limit < 2 * AT_THE_END:
        return {"end": "no time left", "ok": None}
    words = [sys.executable, "-m", "recollect.bench.gpu", "--section", name, "--out", str(out)]
    words += ["--device", given.device, "--seconds", str(limit - AT_THE_END)]
    words += ["--quick"] if given.quick else []
    parts = PROCESSES if SECTIONS[name].divided else 1
    began = time.monotonic()
    with ExitStack() as at_the_end:
        started = []
        for part in range(parts):
            errors = at_the_end.enter_context(TemporaryFile("w+"))
            process = subprocess.Popen(  # a new session, so that its children can be killed with it
                [*words, "--part", str(part), str(parts)],
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
            at_the_end.callback(_kill, process)
            started.append((process, errors))
        ends = [_end(process, errors, began + limit) for process, errors in started]
    line: Line = {"seconds": time.monotonic() - began, "ok": not any(ends)}
    failed = next((end for end in ends if end), None)
    return {"end": "done", **line} if failed is None else {**line, **failed}


def _end(process: subprocess.Popen[Any], errors: IO[str], end: float) -> Line:
    """Wait for a process until a time; returns how it failed, empty if it did not."""
    try:
        code = process.wait(timeout=max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        _kill(process)
        how = "time limit reached"
    else:
        if code == 0:
            return {}
        how = f"exit code {code}"
    errors.seek(0)
    return {"end": how, "stderr": errors.read()[-1000:]}


def _kill(process: subprocess.Popen[Any]) -> None:
    """Kill a process with its children, if it has not ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


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
    """Append a line at once: several processes write to the file."""
    with out.open("a") as file:
        file.write(json.dumps({"section": section, **line}, default=str) + "\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that its processes end too
    sys.exit(main())
