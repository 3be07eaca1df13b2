"""What is measured and how often, as a config."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from recollect.config import Config
from recollect.models.config import ModelConfig
from recollect.training.device import resolve_device

LONGEST = 32768
"""Tokens of the longest sequence that is measured."""
Positive = Annotated[int, Field(gt=0)]
Length = Annotated[int, Field(gt=0, le=LONGEST)]


class BenchSettings(Config):
    """What all benchmarks are told; each takes what concerns it.

    Attributes:
        models: the architectures that are measured, at their widths.
        lengths: of sequences, in tokens; None: each benchmark's own.
        batch: sequences at once; None: each benchmark's own.
        threads: of every library, in the processes in which is measured.
        device: "cpu", "cuda" or "cuda:1"; "auto" becomes one of the first two.
        repeats: how often everything is measured.
        limit_seconds: what is expected to take longer, all repeats together, is left out.
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
