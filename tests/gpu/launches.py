"""Kernel launches of a training step of each architecture, as `launches.json` keeps them.

    python tests/gpu/launches.py

remakes the file, and prints the table of docs/performance.md. A step with many launches takes as
long as the host needs for them, however fast the GPU is.
"""

from __future__ import annotations

import json
from pathlib import Path

from fake_gpu import Trace
from programs import NAMES, config, trace_population, trace_step
from torch import Tensor

PATH = Path(__file__).with_name("launches.json")
FALL = 0.1
"""Counts that fall by more than this part are noted anew, or a later rise would not be seen."""

MS_PER_LAUNCH = 4e-3
"""Of PyTorch's, from Python."""
BYTES_PER_MS, PRODUCTS_PER_MS = 2.5e9, 2e10
"""Of an H100's memory, and multiply-adds of its float32 matrix products."""
HEAD = ("mixer", "launches", "launching (ms)", "computing (ms)", "launches, population")

Counts = dict[str, dict[str, int]]


def read() -> Counts:
    """By architecture: those of one model, `alone`, and of a `population` of any size."""
    return json.loads(PATH.read_text()) if PATH.exists() else {}


def complaint(name: str, kind: str, launches: int, allowed: int) -> str:
    """What is wrong with a count, "" for nothing."""
    if launches > allowed:
        return (
            f"a training step of {name} ({kind}) has {launches} kernel launches, more than the"
            f" {allowed} of {PATH.name}: find what launches them, or, if they are worth it, remake"
            f" the file: python tests/gpu/{Path(__file__).name}"
        )
    if launches < (1 - FALL) * allowed:
        return (
            f"a training step of {name} ({kind}) has only {launches} kernel launches, not the"
            f" {allowed} of {PATH.name}: remake the file: python tests/gpu/{Path(__file__).name}"
        )
    return ""


class Estimate(Trace):
    """How long an H100 would compute, one operator after the other.

    Attributes:
        ms: of computing.
    """

    ms = 0.0

    def forget(self) -> None:
        super().forget()
        self.ms = 0.0

    def _launch(self, name: str, given: list[Tensor], made: list[Tensor]) -> None:
        super()._launch(name, given, made)
        there = [x for x in (*given, *made) if x.device.type == "cuda"]
        self.ms += sum(map(_bytes, there)) / BYTES_PER_MS
        if name in ("mm", "bmm", "addmm", "baddbmm"):
            *_, x, y = given
            self.ms += x.numel() * y.shape[-1] / PRODUCTS_PER_MS


def make() -> None:
    """Count all, write the file, print the table."""
    counts: Counts = {}
    rows = [HEAD, ["---"] * len(HEAD)]
    for name in NAMES:
        alone = trace_step(config(name), estimate := Estimate()).launches
        counts[name] = {"alone": alone, "population": trace_population(config(name)).launches}
        launching = alone * MS_PER_LAUNCH
        row = [name, alone, f"{launching:.2g}", f"{estimate.ms:.2g}", counts[name]["population"]]
        rows.append([f"{each:,}" if isinstance(each, int) else each for each in row])
    PATH.write_text(json.dumps(counts, indent=1) + "\n")
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))


def _bytes(x: Tensor) -> int:
    """Those that an operator reads or writes: a number that is repeated counts once."""
    numbers = 1
    for size, stride in zip(x.shape, x.stride(), strict=True):
        numbers *= size if stride else 1
    return numbers * x.element_size()


if __name__ == "__main__":
    make()
