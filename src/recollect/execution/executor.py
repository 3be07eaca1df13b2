"""The interface of executors, and their registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from recollect.execution.job import Job, Outcome
from recollect.execution.run_jobs import OnRecord
from recollect.registry import Registry


@dataclass(frozen=True)
class Placement:
    """Where jobs run.

    Attributes:
        devices: "cpu", or GPUs of this machine, assigned to processes in turn. On a cluster "cpu",
            "cuda" or "auto".
        workers: number of training processes; 0: this process, or on a cluster as many as fit.
        population: largest number of jobs of one shape that a process runs as one program; 0: a
            number that suits the cluster's devices.
        options: further settings of the executor, as strings.
    """

    devices: tuple[str, ...] = ("cpu",)
    workers: int = 1
    population: int = 1
    options: Mapping[str, str] = field(default_factory=dict)


class Executor(Protocol):
    """Runs jobs. Leaving its context ends running jobs.

    With an attribute `in_turn = True` it gets the jobs of one cell at a time: one that runs a
    program at a time then finishes cell after cell.
    """

    @property
    def free(self) -> int:
        """Number of jobs that can be submitted now."""

    def submit(self, job: Job) -> None:
        """Add a job; `free` must be at least 1."""

    def wait(self, seconds: float) -> Iterator[Outcome]:
        """Yield the jobs that have ended since the last call, in any order.

        Args:
            seconds: longest time to wait for something to happen.

        Raises:
            FatalError: for an error that would also end the following jobs.
        """

    def __enter__(self) -> Executor: ...

    def __exit__(self, *error: object) -> None: ...


MakeExecutor = Callable[[Placement, OnRecord], Executor]

EXECUTORS: Registry[MakeExecutor] = Registry("executor", "recollect.execution")


def register_executor(name: str) -> Callable[[MakeExecutor], MakeExecutor]:
    """Register an executor for `run(study, on=name)`.

    The decorated function or class takes a placement and a callback, which the executor must call
    at each validation in the thread that calls `wait`.
    """

    def register(make: MakeExecutor) -> MakeExecutor:
        EXECUTORS.add(name, make)
        return make

    return register
