"""Kernel launches of a training step of each architecture, with one layer of a mixer or one period
of a pattern, as `launches.json` keeps them.

    python tests/gpu/launches.py

remakes the file. A step with many launches takes as long as the host needs for them, however fast
the GPU is; `benchmarks/launches.py` estimates what they take.
"""

from __future__ import annotations

import json
from pathlib import Path

from programs import NAMES, counted, trace_population, trace_step

PATH = Path(__file__).with_name("launches.json")
FALL = 0.1
"""Counts that fall by more than this part are noted anew, or a later rise would not be seen."""

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


def make() -> None:
    """Count all, and write the file."""
    counts = {
        name: {
            "alone": trace_step(counted(name)).launches,
            "population": trace_population(counted(name)).launches,
        }
        for name in NAMES
    }
    PATH.write_text(json.dumps(counts, indent=1) + "\n")


if __name__ == "__main__":
    make()
