"""Where trials run, by what was asked for: which executor, on which devices, how many at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recollect.errors import UserError
from recollect.execution.executor import EXECUTORS, Placement
from recollect.execution.workers import usable_cores
from recollect.training.device import resolve_devices

POPULATION = 64
"""How many trials a GPU trains as one program, if not told otherwise."""


def place(
    on: str | None,
    device: str,
    workers: int | None,
    population: int | None,
    options: Mapping[str, str],
) -> tuple[str, Placement]:
    """The name of an executor, and where it is to run jobs.

    Args:
        on: the executor that was asked for, if any.
        device: as `resolve_devices` takes it.
        workers: the processes on the CPU that were asked for, if any; 0: this one.
        population: the size of a population that was asked for, if any.
        options: further settings of the executor.

    Raises:
        UserError: for what does not fit together.
    """
    if on is not None:
        EXECUTORS[on]  # an unknown name raises
    if on == "ray":
        return on, _on_cluster(device, workers, population, options)
    devices = resolve_devices(device)
    on_cpu = devices == ("cpu",)
    if workers is not None and workers < 0:
        raise UserError(f"workers={workers}: expected 0 (this process) or more")
    if workers and not on_cpu:
        raise UserError(f"workers={workers}: each GPU has one process; leave it out")
    if workers == 0 and (len(devices) > 1 or on == "processes"):
        raise UserError("workers=0: trials run in several processes; leave it out")
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
    """For jobs on other machines, which have their own devices; what is 0 the cluster tells."""
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"device={device!r}: Ray chooses the GPU: expected 'auto', 'cpu' or 'cuda'")
    for name, value in (("workers", workers), ("population", population)):
        if value is not None and value < 1:
            raise UserError(f"{name}={value}: expected at least 1 on a cluster")
    return Placement((device,), workers or 0, population or 0, dict(options))


def _processes(workers: int | None, devices: tuple[str, ...], on_cpu: bool) -> int:
    """How many processes train, besides this one."""
    if not on_cpu:
        return len(devices)
    return usable_cores() if workers is None else workers


def _population(population: int | None, on_cpu: bool, workers: int) -> int:
    """How many trials of one shape are trained as one program at most."""
    if population is None:
        return 1 if on_cpu else POPULATION
    if population < 1:
        raise UserError(f"population={population}: expected at least 1")
    if population > 1 and workers and on_cpu:
        raise UserError(
            f"population={population}: worker processes on the CPU train one trial at a time, which"
            " is faster there; take workers=0"
        )
    return population


def executor_options(on: str | None, **given: Any) -> dict[str, str]:
    """The settings of an executor, of those that only a Ray cluster has; without those that are
    None.

    Raises:
        UserError: where one is given for another executor.
    """
    found = {name: str(value) for name, value in given.items() if value is not None}
    if found and on != "ray":
        name, value = next(iter(found.items()))
        raise UserError(f"{name}={value} is for on='ray': give both")
    return found
