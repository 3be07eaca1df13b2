"""Choice of executor, devices, workers and population from the user's settings."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

from recollect.errors import UserError
from recollect.execution.executor import EXECUTORS, Placement
from recollect.execution.workers import usable_cores
from recollect.training.device import device_name, resolve_devices

if TYPE_CHECKING:
    import torch

POPULATION = 64
"""Default number of trials that a GPU trains as one program."""


def place(
    on: str | None,
    device: str | torch.device,
    workers: int | None,
    population: int | None,
    options: Mapping[str, str],
) -> tuple[str, Placement]:
    """Choose an executor and its placement.

    Args:
        on: name of the executor; None: chosen by the devices.
        device: as in `resolve_devices`.
        workers: number of processes on the CPU; 0: this process; None: one per core.
        population: size of a population; None: the default.
        options: further settings of the executor.

    Returns:
        The name of the executor and the placement.

    Raises:
        UserError: for settings that do not fit together.
    """
    if on is not None:
        EXECUTORS[on]  # an unknown name raises
    device = device_name(device)
    for name, value in (("workers", workers), ("population", population)):
        if value is not None and (not isinstance(value, Integral) or isinstance(value, bool)):
            raise UserError(f"{name}={value!r}: expected a whole number")
    if on == "ray":
        return on, _on_cluster(device, workers, population, options)
    devices = resolve_devices(device)
    on_cpu = devices == ("cpu",)
    if workers is not None and workers < 0:
        raise UserError(f"workers={workers}: expected 0 (this process) or more")
    if workers and not on_cpu:
        raise UserError(f"workers={workers}: each GPU has exactly one process; leave workers out")
    if workers == 0 and (len(devices) > 1 or on == "processes"):
        raise UserError("workers=0: these settings need worker processes; leave workers out")
    if on == "population" and (workers or len(devices) > 1):
        raise UserError("on='population': trials run in this process; leave out workers")
    one_gpu = not on_cpu and len(devices) == 1
    in_this = workers == 0 or on == "population" or (on is None and one_gpu)
    count = 0 if in_this else _processes(workers, devices, on_cpu)
    together = _population(population, on_cpu, count if on is None else 0)
    name = on or ("population" if in_this else "processes")
    return name, Placement(devices, count, together, dict(options))


def _on_cluster(
    device: str, workers: int | None, population: int | None, options: Mapping[str, str]
) -> Placement:
    """Placement on a cluster; 0 means that the cluster's resources decide."""
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"device={device!r}: Ray chooses the GPU: expected 'auto', 'cpu' or 'cuda'")
    for name, value in (("workers", workers), ("population", population)):
        if value is not None and value < 1:
            raise UserError(f"{name}={value}: expected at least 1 on a cluster")
    return Placement((device,), workers or 0, population or 0, dict(options))


def _processes(workers: int | None, devices: tuple[str, ...], on_cpu: bool) -> int:
    """Number of worker processes."""
    if not on_cpu:
        return len(devices)
    return usable_cores() if workers is None else workers


def _population(population: int | None, on_cpu: bool, workers: int) -> int:
    """Largest number of trials of one shape that are trained as one program."""
    if population is None:
        return 1 if on_cpu else POPULATION
    if population < 1:
        raise UserError(f"population={population}: expected at least 1")
    if population > 1 and workers and on_cpu:
        raise UserError(
            f"population={population}: worker processes on the CPU train one trial at a time,"
            " because that is faster; use workers=0 for a population"
        )
    return population


def executor_options(on: str | None, **given: Any) -> dict[str, str]:
    """Settings that only a Ray cluster has, without those that are None.

    Raises:
        UserError: if one is given for another executor.
    """
    found = {name: str(value) for name, value in given.items() if value is not None}
    if found and on != "ray":
        name, value = next(iter(found.items()))
        raise UserError(f"{name}={value} requires on='ray'")
    return found
