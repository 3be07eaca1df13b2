"""Device resolution: what the name of a device means, and how a result describes it."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from recollect.errors import UserError
from recollect.ops.forms import described_form


def device_name(device: str | torch.device) -> str:
    """Name of a device.

    Raises:
        UserError: for what is no device and no name.
    """
    return device if isinstance(device, str) else str(resolve_device(device))


def resolve_device(device: str | torch.device) -> torch.device:
    """Device for a name: "cpu", "cuda", "cuda:1", or "auto" (a GPU if there is one).

    Raises:
        UserError: for an unknown name or a GPU that does not exist.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise UserError(f"device={device!r}: expected 'auto', 'cpu', 'cuda' or 'cuda:N'")
    if found.type == "cuda":
        _check_is_there(found)
    return found


def resolve_devices(device: str) -> tuple[str, ...]:
    """Devices for a name as in `resolve_device`, "cuda:0,cuda:1" or "cuda:all".

    Raises:
        UserError: for an unknown name, a repeated GPU, or a GPU that does not exist.
    """
    if device == "cuda:all":
        resolve_device("cuda")
        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    found = tuple(str(resolve_device(each.strip())) for each in device.split(","))
    if len(found) > 1 and ("cpu" in found or "cuda" in found or len({*found}) < len(found)):
        raise UserError(
            f"device={device!r}: expected different GPUs, each with its number, such as"
            " 'cuda:0,cuda:1'"
        )
    return found


def _check_is_there(gpu: torch.device) -> None:
    if not torch.cuda.is_available():
        raise UserError(f"device='{gpu}': this machine has no CUDA device; use 'cpu' or 'auto'")
    count = torch.cuda.device_count()
    if gpu.index is not None and gpu.index >= count:
        raise UserError(f"device='{gpu}': this machine has cuda:0 to cuda:{count - 1}")


def describe_device(device: torch.device) -> str:
    """Description of a device, as recorded with a result.

    It names a reduced precision of float32 products, which a user's file may have set.
    """
    precision = torch.get_float32_matmul_precision()
    reduced = "" if precision == "highest" else f", float32 products at {precision!r} precision"
    if device.type == "cuda":
        name = f"{torch.cuda.get_device_name(device)}, recurrences by {described_form()}"
    else:
        threads = torch.get_num_threads()
        name = f"{processor_name()}, {threads} thread{'s' if threads > 1 else ''}"
    return name + reduced


def processor_name() -> str:
    """Model name of this machine's processor, or its architecture if the system has no name for
    it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
