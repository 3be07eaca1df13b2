"""Results of benchmarks: measured quantities, and reasons for missing ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch

Setting = Mapping[str, int]
"""The setting of a measurement: width, length, batch and so on, by name."""


@dataclass(frozen=True)
class Measurement:
    """A quantity that was measured several times.

    Attributes:
        benchmark: the name of the benchmark.
        subject: the measured task, mixer or command.
        setting: the setting.
        quantity: the quantity.
        unit: the unit of the three numbers.
        median: the median of all repeats.
        low: the lowest repeat.
        high: the highest repeat.
        repeats: the number of repeats.
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
    """A missing measurement and its reason.

    Attributes:
        benchmark: as in `Measurement`.
        subject: as in `Measurement`.
        setting: as in `Measurement`.
        quantity: the missing quantity; empty: all quantities.
        reason: the reason in words.
    """

    benchmark: str
    subject: str
    setting: Setting
    quantity: str
    reason: str


Result = Measurement | LeftOut


@dataclass(frozen=True)
class Place:
    """The common part of all measurements of one subject in one setting."""

    benchmark: str
    subject: str
    setting: Setting

    def measured(self, quantity: str, unit: str, values: Sequence[float]) -> Measurement:
        """A measurement, from the values of all repeats."""
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
        """A missing quantity, or all of them."""
        return LeftOut(self.benchmark, self.subject, self.setting, quantity, reason)


def seconds(work: Callable[[], object], repeats: int, device: str) -> list[float]:
    """Seconds of each repetition of some work, after one repetition that does not count."""
    return [stopwatch(work, device) for _ in range(repeats + 1)][1:]


def stopwatch(work: Callable[[], object], device: str) -> float:
    """Seconds of one piece of work, including asynchronous work of the device."""
    start = perf_counter()
    work()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - start
