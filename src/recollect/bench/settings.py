"""The settings of benchmarks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from recollect.config import Config
from recollect.models.config import ModelConfig
from recollect.training.device import resolve_device

LONGEST = 32768
"""The longest sequence that can be measured, in tokens."""
Positive = Annotated[int, Field(gt=0)]
Length = Annotated[int, Field(gt=0, le=LONGEST)]


class BenchSettings(Config):
    """The settings of all benchmarks; each benchmark uses some of them.

    Attributes:
        models: the architectures to measure, at their widths.
        lengths: sequence lengths in tokens; None: each benchmark's default.
        batch: the batch size; None: each benchmark's default.
        threads: the number of threads of every library in measured processes.
        device: "cpu", "cuda" or "cuda:1"; "auto" becomes one of the first two.
        repeats: the repetitions of each measurement.
        limit_seconds: measurements that would take longer, all repeats together, are left out.
    """

    models: tuple[ModelConfig, ...]
    lengths: tuple[Length, ...] | None = Field(default=None, min_length=1)
    batch: Positive | None = None
    threads: Positive = 1
    device: str = "auto"
    repeats: Positive = 5
    limit_seconds: float = Field(default=60.0, gt=0)

    @field_validator("device")
    @classmethod
    def _is_there(cls, device: str) -> str:
        return str(resolve_device(device))

    @field_validator("lengths")
    @classmethod
    def _ascend(cls, lengths: tuple[int, ...] | None) -> tuple[int, ...] | None:
        return None if lengths is None else tuple(sorted(set(lengths)))
