"""Where is computed: what a user's word for it means, and how a result names it."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from recollect.errors import UserError


def resolve_device(device: str) -> torch.device:
    """The device that a user's word names.

    Raises:
        UserError: for a word that names none, or a GPU where there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device={device!r}: this machine has no CUDA device; use 'cpu' or 'auto'")
    try:
        return torch.device(device)
    except RuntimeError:
        raise UserError(f"device={device!r}: expected 'auto', 'cpu' or 'cuda'") from None


def describe_device(device: torch.device) -> str:
    """A device in words, as it is recorded with a result."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{processor_name()}, {threads} thread{'s' if threads > 1 else ''}"


def processor_name() -> str:
    """This machine's processor, or its architecture where the system tells no name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
