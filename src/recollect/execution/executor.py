"""What an executor is, and the catalogue of executors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from recollect.execution.job import Job, Outcome
from recollect.execution.run_jobs import OnRecord
from recollect.registry import Registry


@dataclass(frozen=True)
class Placement:
    """Where jobs are to run.

    Attributes:
        devices: "cpu", or GPUs of this machine; processes take them in turn. For a cluster "cpu",
            "cuda", or "auto".
        workers: processes that train; 0: this one, or on a cluster as many as it has room for.
        population: how many jobs of one shape a process runs as one program at most; 0: as many as
            suit a cluster's devices.
        options: further settings of an executor, as they were typed.
    """

    devices: tuple[str, ...] = ("cpu",)
    workers: int = 1
    population: int = 1
    options: Mapping[str, str] = field(default_factory=dict)


class Executor(Protocol):
    """What runs jobs. Leaving its context ends those that run."""

    @property
    def free(self) -> int:
        """How many more jobs it takes at the moment."""

    def submit(self, job: Job) -> None:
        """Take a job; there must be room for it."""

    def wait(self, seconds: float) -> Iterator[Outcome]:
        """The jobs that have ended since the last call, in any order; waits for news at most so
        long.

        Raises:
            FatalError: where those that follow would fare no better.
        """

    def __enter__(self) -> Executor: ...

    def __exit__(self, *error: object) -> None: ...


MakeExecutor = Callable[[Placement, OnRecord], Executor]

EXECUTORS: Registry[MakeExecutor] = Registry("executor", "recollect.execution")


def register_executor(name: str) -> Callable[[MakeExecutor], MakeExecutor]:
    """Let `run(study, on=name)` run jobs in what a function makes of a placement and of what is
    to be called at each validation, in the thread that waits."""

    def register(make: MakeExecutor) -> MakeExecutor:
        EXECUTORS.add(name, make)
        return make

    return register
