"""Shared by the sections of the GPU check: device and sizes, remaining time, and failing items."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from recollect.errors import summary
from recollect.training.device import resolve_device

Line = dict[str, Any]
"""A result: `ok` (None: not tried), and further values by name."""
ENOUGH = 4.0
"""Seconds that must be left to start another item."""


@dataclass(frozen=True)
class GpuPlace:
    """The device, sizes and time limit of a section.

    Attributes:
        device: the GPU, or the CPU to try the program.
        quick: use the smallest sizes.
        end: the time limit, by the monotonic clock.
        part: which part of the items is done here.
        parts: the number of parts.
    """

    device: torch.device
    quick: bool
    end: float
    part: int = 0
    parts: int = 1

    @classmethod
    def of(
        cls, device: str, quick: bool, seconds: float, part: int = 0, parts: int = 1
    ) -> GpuPlace:
        """A place whose time limit is `seconds` from now.

        Raises:
            UserError: if the device does not exist.
        """
        return cls(resolve_device(device), quick, time.monotonic() + seconds, part, parts)

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.end - time.monotonic()

    def each(
        self, items: Iterable[Mapping[str, Any]], measure: Callable[..., Line]
    ) -> Iterator[Line]:
        """Yield a line for each item of this part; `measure` gets the item's values by name.

        An item that fails does not affect the others.
        """
        for item in islice(items, self.part, None, self.parts):
            if self.left < ENOUGH:
                yield {**item, "left_out": "no time left", "ok": None}
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
        """Free unused memory, and reset the peak of memory."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_mb(self) -> float | None:
        """Peak memory of tensors on the GPU since `clear`, in MB; None on the CPU."""
        if self.device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self.device) / 1e6

    def per_second(self, work: Callable[[], int], seconds: float) -> float:
        """Repetitions per second of `work`, which returns the repetitions done in a call."""
        work()
        self.wait()
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            done += work()
            self.wait()
        return done / (time.perf_counter() - began)

    def wait(self) -> None:
        """Wait until the device has finished its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
