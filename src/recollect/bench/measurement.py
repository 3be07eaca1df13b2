"""What a benchmark leaves: a quantity of something in some setting, or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch

Setting = Mapping[str, int]
"""In which it was measured: width, length, batch ..., by name."""


@dataclass(frozen=True)
class Measurement:
    """A quantity, measured a number of times.

    Attributes:
        benchmark: which one.
        subject: what was measured: a task, a mixer, a command.
        setting: in which setting.
        quantity: what of it.
        unit: of the three numbers.
        median: of all repeats.
        low: the lowest.
        high: the highest.
        repeats: how often it was measured.
    """

    benchmark: str
    subject: str
    setting: Setting
    quantity: str
    unit: str
    median: float
    low: float
    high: float
    repeats: int


@dataclass(frozen=True)
class LeftOut:
    """What was not measured, and why.

    Attributes:
        benchmark: as of a measurement.
        subject: as of a measurement.
        setting: as of a measurement.
        quantity: what is missing; empty: all of it.
        reason: in words.
    """

    benchmark: str
    subject: str
    setting: Setting
    quantity: str
    reason: str


Result = Measurement | LeftOut


@dataclass(frozen=True)
class Place:
    """What the measurements of one subject in one setting have in common."""

    benchmark: str
    subject: str
    setting: Setting

    def measured(self, quantity: str, unit: str, values: Sequence[float]) -> Measurement:
        """One quantity, from its value in every repeat."""
        return Measurement(
            self.benchmark,
            self.subject,
            self.setting,
            quantity,
            unit,
            median=median(values),
            low=min(values),
            high=max(values),
            repeats=len(values),
        )

    def left_out(self, reason: str, quantity: str = "") -> LeftOut:
        """A quantity that was not measured, or all of them."""
        return LeftOut(self.benchmark, self.subject, self.setting, quantity, reason)


def seconds(work: Callable[[], object], repeats: int, device: str) -> list[float]:
    """How long some work takes, each time that it is repeated, after a time that does not count."""
    return [stopwatch(work, device) for _ in range(repeats + 1)][1:]


def stopwatch(work: Callable[[], object], device: str) -> float:
    """Seconds of one piece of work, with what the device does of it in the background."""
    start = perf_counter()
    work()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - start
