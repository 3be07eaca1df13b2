"""How many trials are trained at a time, and where: in worker processes or as one program."""

from __future__ import annotations

from recollect.errors import UserError
from recollect.studies.workers import usable_cores

POPULATION = 64
"""How many trials a GPU trains as one program, if not told otherwise."""


def worker_count(workers: int | None, place: str) -> int:
    """How many processes train; 0: this one.

    Args:
        workers: what was asked for, if anything.
        place: the type of the device.

    Raises:
        UserError: for a number that the device does not allow.
    """
    if workers is not None and workers < 0:
        raise UserError(f"workers={workers}: expected 0 (this process) or more")
    if place == "cpu":
        return usable_cores() if workers is None else workers
    if workers:
        raise UserError(f"workers={workers}: on {place} trials run in this process; leave it out")
    return 0


def population_size(population: int | None, place: str, workers: int) -> int:
    """How many trials of one shape are trained as one program at most.

    Args:
        population: what was asked for, if anything.
        place: the type of the device.
        workers: processes that train.

    Raises:
        UserError: for a number below 1, and for more than one trial in a worker process.
    """
    if population is None:
        return 1 if place == "cpu" else POPULATION
    if population < 1:
        raise UserError(f"population={population}: expected at least 1")
    if population > 1 and workers:
        raise UserError(
            f"population={population}: worker processes train one trial at a time; take workers=0"
        )
    return population
