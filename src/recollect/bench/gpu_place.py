"""What the sections of the GPU check share: where and how large, the time that is left, and what
becomes of an item that fails."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from recollect.errors import summary
from recollect.training.device import resolve_device

Line = dict[str, Any]
"""Whether what it tells of is `ok` (None: not tried), and anything else, by name."""
ENOUGH = 4.0
"""Seconds that have to be left to begin with another item."""


@dataclass(frozen=True)
class Place:
    """Where is measured.

    Attributes:
        device: the GPU, or the CPU to try the check.
        quick: whether the smallest sizes will do.
        end: when the time is over, by the monotonic clock.
    """

    device: torch.device
    quick: bool
    end: float

    @classmethod
    def of(cls, device: str, quick: bool, seconds: float) -> Place:
        """From now on for so many seconds.

        Raises:
            UserError: where there is no such device.
        """
        return cls(resolve_device(device), quick, time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()

    def each(
        self, items: Iterable[Mapping[str, Any]], measure: Callable[..., Line]
    ) -> Iterator[Line]:
        """A line for each item, which `measure` gets by name; one that fails leaves the others
        alone."""
        for item in items:
            if self.left < ENOUGH:
                yield {**item, "left_out": "no time was left for it", "ok": None}
                continue
            try:
                line = measure(**item)
            except torch.OutOfMemoryError:
                line = {"left_out": "memory ran out", "ok": None}
            except Exception as error:
                line = {"error": f"{type(error).__name__}: {summary(error)}", "ok": False}
            yield {**item, **line}
            self.clear()

    def clear(self) -> None:
        """Free what nobody holds, and begin to look for the next peak of memory."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_mb(self) -> float | None:
        """The most memory since `clear`, of tensors on a GPU."""
        if self.device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self.device) / 1e6

    def per_second(self, work: Callable[[], int], seconds: float) -> float:
        """How often a second `work` does what it does as often as it returns."""
        work()
        self.wait()
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            done += work()
            self.wait()
        return done / (time.perf_counter() - began)

    def wait(self) -> None:
        """For what the device does in the background."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
