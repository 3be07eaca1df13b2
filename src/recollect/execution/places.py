"""Where the trials of a study run, from the words of its user."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from recollect.errors import UserError
from recollect.execution.executor import EXECUTORS, Placement
from recollect.execution.workers import usable_cores
from recollect.training.device import resolve_device

POPULATION = 64
"""How many trials a GPU trains as one program, if not told otherwise."""
ALL_GPUS = "cuda:all"


def place(
    *,
    device: str = "auto",
    workers: int | None = None,
    population: int | None = None,
    on: str | None = None,
    options: Mapping[str, str] | None = None,
) -> tuple[str, Placement]:
    """The name of an executor, and what it is told.

    Args:
        device: as in `rc.run`.
        workers: as in `rc.run`.
        population: as in `rc.run`.
        on: the executor. None: worker processes on CPUs and on several GPUs, this process on one
            GPU and for `workers=0`.
        options: further words of the executor.

    Raises:
        UserError: for words that do not fit together, and for a GPU that is not there.
    """
    devices = devices_of(device)
    if workers is not None and workers < 0:
        raise UserError(f"workers={workers}: expected 0 (this process) or more")
    if population is not None and population < 1:
        raise UserError(f"population={population}: expected at least 1")
    name = on or _usual(devices, workers)
    EXECUTORS[name]  # which says what there is, if it is none
    if name == "population":
        _check_is_alone(devices, workers)
    return name, Placement(
        devices=devices,
        workers=0 if name == "population" else _workers(workers, devices),
        population=population or (1 if devices[0] == "cpu" else POPULATION),
        options=options or {},
    )


def devices_of(words: str) -> tuple[str, ...]:
    """The devices of "cuda:0,cuda:1", "cuda:all", or one word as `resolve_device` has it.

    Raises:
        UserError: for a device that is not there, and for CPU and GPUs together.
    """
    if words == ALL_GPUS:
        resolve_device("cuda")
        return tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))
    devices = tuple(str(resolve_device(word.strip())) for word in words.split(","))
    if len({device.partition(":")[0] for device in devices}) > 1:
        raise UserError(f"device={words!r}: expected the CPU or GPUs, not both")
    return devices


def _usual(devices: tuple[str, ...], workers: int | None) -> str:
    """The executor, if none was asked for."""
    is_one_gpu = len(devices) == 1 and devices[0] != "cpu"
    return "population" if workers == 0 or is_one_gpu else "processes"


def _check_is_alone(devices: tuple[str, ...], workers: int | None) -> None:
    if workers:
        raise UserError(
            f"workers={workers}: on {devices[0]} trials run in this process; leave it out, or take"
            " on='processes'"
        )
    if len(devices) > 1:
        raise UserError(
            f"device={','.join(devices)!r}: this process trains on one device; leave out workers=0"
            " or on='population'"
        )


def _workers(asked: int | None, devices: tuple[str, ...]) -> int:
    if asked == 0:
        raise UserError("workers=0: on='processes' needs worker processes; leave one of them out")
    if devices == ("cpu",):
        return asked or usable_cores()
    if asked is not None and asked != len(devices):
        raise UserError(
            f"workers={asked}: there is a process for each of {', '.join(devices)}; leave it out"
        )
    return len(devices)
